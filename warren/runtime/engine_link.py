"""In touch with an engine: dialled again whenever it is lost; its containers are not affected.

    dial -> version -> events from here on -> what there is (catch up) -> up
      ^------- lost, silent or refused: wait, longer each time ------------'

Whatever happened while it was away is in what there is by then; what happens from then on is in
the events. A sign of life is asked for now and then, as an engine that hangs closes nothing.
One that is soon lost again and again is dialled ever less often, and told as back once it stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
import trio

from warren.engine.answers import EngineEvent
from warren.engine.client import EngineClient, lines
from warren.engine.differences import end_events, kind_of, release_of
from warren.engine.errors import EngineAwayError, EngineError
from warren.engine.places import EnginePlaces, sockets
from warren.resilience.backoff import Backoff
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds
IDLE_PAUSE = 10.0  # while nothing of ours is in it
FIRST_LOOK = 3.0  # seconds that a start of the supervisor waits for an engine that is slow
ALIVE_EVERY = 5.0
STEADY = 10.0  # seconds up until it is taken to stay
FLEETING = 2  # times in a row that it was lost before that, until it is told as back when it stays
_log = logging.getLogger("warren.engine")


class EngineLink:
    """The link to one engine. `catch_up` is awaited with the client each time it is there again,
    and before it counts as up; `hear` is called with events. `used` says how many instances of ours
    are in it; `label` is what its containers of ours have."""

    def __init__(
        self,
        places: EnginePlaces,
        conditions: Conditions,
        *,
        label: str,
        used: Callable[[], int],
        catch_up: Callable[[EngineClient], Awaitable[None]],
        hear: Callable[[EngineEvent], None],
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = places.name
        self.kind = places.name
        self.version = ""
        self.trouble = places.trouble or "has not been asked yet"
        self._places = places
        self._conditions = conditions
        self._label = label
        self._used = used
        self._catch_up = catch_up
        self._hear = hear
        self._tell = tell
        self._client: EngineClient | None = None
        self._came = trio.Event()
        self._looked = trio.Event()
        self._doubted = trio.Event()
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._is_steady = False
        self._short = 0  # times in a row that it was lost before it was steady

    def __repr__(self) -> str:
        return f"<EngineLink {self.name} {'up' if self._client else self.trouble}>"

    @property
    def client(self) -> EngineClient | None:
        """None while it is away."""
        return self._client

    async def wait_up(self) -> EngineClient:
        """Wait for it."""
        while self._client is None:
            await self._came.wait()
        return self._client

    @asynccontextmanager
    async def here(self) -> AsyncGenerator[EngineClient]:
        """Wait for it; what fails in the block as it is away makes it be looked at."""
        client = await self.wait_up()
        try:
            yield client
        except EngineAwayError:
            self.doubt()
            raise

    def doubt(self) -> None:
        """It did not answer somebody: ask for a sign of life now."""
        self._doubted.set()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep in touch, until cancelled. Started once it was tried for the first time."""
        boundary = Boundary(f"the link to {self.name}", self._conditions)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, boundary)
            with trio.move_on_after(FIRST_LOOK):
                await self._looked.wait()
            task_status.started()

    async def _keep(self, boundary: Boundary) -> None:
        while True:
            async with boundary:
                try:
                    await self._dial()
                except* EngineError as group:
                    self._note_away(str(_first(group)))
                finally:
                    self._looked.set()
            if self._used():
                await self._backoff.wait()
            else:
                with trio.move_on_after(max(self._backoff.next(), IDLE_PAUSE)):
                    await self._doubted.wait()
            self._doubted = trio.Event()

    async def _dial(self) -> None:
        found = sockets(self._places)
        if not found:
            there = ", ".join(self._places.paths)
            raise EngineAwayError(self._places.trouble or f"no engine listens at {there}")
        for path in found[:-1]:
            try:
                return await self._hold(path)
            except* EngineAwayError:
                if self._client is not None:
                    raise
        return await self._hold(found[-1])

    async def _hold(self, path: str) -> None:
        async with aclosing(EngineClient(path)) as client:
            try:
                version = await client.connect()
            except EngineAwayError as error:
                raise EngineAwayError(f"{path}: {error}") from None
            self.kind, self.version = kind_of(version), release_of(version)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen, client, int(time.time()))
                    await self._catch_up(client)
                    self._note_up(client)
                    nursery.start_soon(self._stay_sure, client)
                    nursery.start_soon(self._prove_steady)
            finally:
                self._client = None

    async def _listen(self, client: EngineClient, since: int) -> None:
        """Whatever has happened since: of what follows nothing is missed, whenever it begins."""
        filters = {"type": ["container"], "label": [self._label], "event": end_events(self.kind)}
        query = {"since": str(since), "filters": msgspec.json.encode(filters).decode()}
        async with (
            client.stream("GET", "/events", query=query) as chunks,
            aclosing(lines(chunks)) as items,
        ):
            async for item in items:
                try:
                    event = msgspec.json.decode(item, type=EngineEvent)
                except msgspec.MsgspecError as error:
                    raise EngineAwayError(f"an event cannot be read: {error}") from None
                self._hear(event)
        raise EngineAwayError("it has closed the stream of events")

    async def _stay_sure(self, client: EngineClient) -> None:
        while True:
            with trio.move_on_after(ALIVE_EVERY):
                await self._doubted.wait()
            self._doubted = trio.Event()
            await client.ping()

    async def _prove_steady(self) -> None:
        await trio.sleep(STEADY)
        self._is_steady = True
        self._backoff.reset()
        if self._short >= FLEETING:
            self._say_up()
        self._short = 0

    def _note_up(self, client: EngineClient) -> None:
        self._client = client
        self.trouble = ""
        self._is_steady = False
        self._came.set()
        self._looked.set()
        if self._short < FLEETING:
            self._say_up()
        self._tell()

    def _say_up(self) -> None:
        self._conditions.clear(self._condition)
        _log.info("%s %s is there", self.name, self.version)

    def _note_away(self, said: str) -> None:
        was_up = not self.trouble
        if was_up:
            self._short += not self._is_steady
        self._came = trio.Event()
        is_news, self.trouble = said != self.trouble, said
        if was_up or self._used():
            self._conditions.set(self._condition, f"{said}{_left_alone(self._used())}")
        if is_news:
            self._tell()

    @property
    def _condition(self) -> str:
        return f"{self.name} does not answer"


def _left_alone(count: int) -> str:
    if not count:
        return ""
    return (
        "; its 1 task here is left as it is"
        if count == 1
        else (f"; its {count} tasks here are left as they are")
    )


def _first(group: BaseExceptionGroup[EngineError]) -> EngineError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group is never empty")
