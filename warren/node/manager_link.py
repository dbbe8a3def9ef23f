"""A node's link to its manager: dialled again whenever it is lost; tasks go on without it.

dial -> enroll -> the whole report -> reports as they come, a sign of life now and then -> leave
  ^------------- lost, refused or silent: wait, longer each time, with jitter ----------'
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import NoReturn

import msgspec
import trio

from warren.model.errors import (
    ConflictError,
    InvalidError,
    LinkLostError,
    RefusedError,
    WarrenError,
)
from warren.model.plural import counted
from warren.model.report import NodeHello, Report
from warren.model.rpc import Gate, NodeSession
from warren.node.agent import NodeAgent
from warren.node.outbox import halves
from warren.nursery.dependencies import Describer
from warren.resilience.backoff import Backoff
from warren.resilience.boundary import Boundary

RENEW_EVERY = 5.0  # seconds; a third of the manager's lease
RENEW_PAUSE = 0.5  # at the least, however often the conditions change
ANSWER_WITHIN = 10.0  # seconds: a peer that is silent for longer is gone
UNTOLD = "reports refused"  # a condition, until the node enrols again
# Seconds that news wait, for more to come. A restart is several; of a manager in the same process
# the write, which holds up all else, comes after it and not in between.
GATHERED = 0.02
SAME_FOR = 1.0  # seconds at least between two enrolments for another description
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0  # with jitter 4: well within the lease, though an attempt or two fail
_log = logging.getLogger("warren.node")

Dial = Callable[[], AbstractAsyncContextManager[Gate]]


class ManagerLink:
    """The link of one node. `run` keeps it up until `leave`; `is_up` and `trouble` are its state.

    The first manager it reaches is the node's own, and is passed to `remember`; it accepts nothing
    from another one.
    """

    def __init__(
        self,
        dial: Dial,
        agent: NodeAgent,
        hello: NodeHello,
        *,
        chance: random.Random,
        remember: Callable[[str], None] = lambda manager: None,
        describer: Describer | None = None,
    ) -> None:
        self._dial = dial
        self._agent = agent
        self._hello = hello
        self._remember = remember
        self._describer = describer
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, chance=chance)
        self._boundary = Boundary("the link to the manager", agent.conditions)
        self._has_met = False
        self._given_up = 0
        self._leaving = trio.Event()
        self._has_left = trio.Event()
        self.is_up = False
        self.trouble: str | None = None

    def __repr__(self) -> str:
        return f"<ManagerLink of {self._hello.name}: {'up' if self.is_up else self.trouble}>"

    async def leave(self) -> None:
        """Notify the manager that this supervisor stops, so that it does not take the link for
        lost. Returns when it has answered; nothing is reported after that."""
        self._leaving.set()
        await self._has_left.wait()

    async def run(self) -> NoReturn:
        """Dial, and dial again, for ever."""
        while True:
            async with self._boundary:
                try:
                    async with self._dial() as gate:
                        await self._hold(gate)
                except* WarrenError as group:
                    self._note_trouble(_first(group))
            await self._backoff.wait()

    async def _hold(self, gate: Gate) -> None:
        if self._describer is not None:
            self._hello = msgspec.structs.replace(self._hello, description=self._describer.now())
        with _patience("enrolling"):
            session = await gate.enroll(self._hello, self._agent)
        self._know(session.manager)
        self._given_up = 0
        self._agent.conditions.clear(UNTOLD)
        self._hello = msgspec.structs.replace(self._hello, epoch=session.epoch)
        await self._report_whole(session)
        self._note_up()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew, session)
                nursery.start_soon(self._report, session)
                nursery.start_soon(self._await_other_description, nursery.cancel_scope)
                await self._leaving.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.is_up = False
        if self._leaving.is_set():
            await self._part(session)

    async def _await_other_description(self, scope: trio.CancelScope) -> None:
        """What this node announces has changed, which is told by enrolling again."""
        described = self._hello.description
        if self._describer is not None and described is not None:
            await trio.sleep(SAME_FOR)
            await self._describer.wait_other(described)
            scope.cancel()

    async def _part(self, session: NodeSession) -> NoReturn:
        try:
            with _patience("letting this node go"):
                await session.leave()
        except LinkLostError:
            raise  # it is dialled again, and notified then
        except WarrenError as error:  # it is of an older version, say
            _log.info("the manager does not accept the leave: %s", error)
        self._has_left.set()
        await trio.sleep_forever()

    def _know(self, manager: str) -> None:
        """Raises ConflictError for another manager; it has refused this node itself, as a rule.
        One of an older version has no id, and may be any."""
        known = self._hello.manager
        if known and manager != known:
            wanted = "" if manager else "; want that one, of a version that tells its id"
            raise ConflictError(f"manager: {manager!r}: this node belongs to {known}{wanted}")
        if manager and not known:
            self._hello = msgspec.structs.replace(self._hello, manager=manager)
            self._remember(manager)

    async def _report_whole(self, session: NodeSession) -> None:
        outbox = self._agent.outbox
        while outbox.has_events():
            await self._tell(session, outbox.batch())
        for report in outbox.whole(self._agent.statuses()):
            await self._tell(session, report)

    async def _tell(self, session: NodeSession, report: Report) -> None:
        await self._agent.settle()  # everything reported is on disk
        await self._send(session, report)
        self._agent.outbox.acknowledge(report)

    async def _send(self, session: NodeSession, report: Report) -> None:
        """A manager of an earlier version may refuse what it cannot read. It would be no better
        told again, and what comes after it would never be heard: it is told without that."""
        try:
            with _patience("taking a report"):
                await session.report_task_health(report)
        except InvalidError as error:
            pieces = halves(report)
            if not (pieces or report.events or report.statuses):
                raise
            for piece in pieces:
                await self._send(session, piece)
            if not pieces:
                self._give_up(error)

    def _give_up(self, error: InvalidError) -> None:
        self._given_up += 1
        said = f"{counted(self._given_up, 'item')} of reports that the manager cannot read"
        self._agent.conditions.set(UNTOLD, f"{said} will not be told again, the last: {error}")

    async def _report(self, session: NodeSession) -> NoReturn:
        outbox = self._agent.outbox
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            await outbox.wait()
            await outbox.gather(GATHERED)
            report = outbox.batch()
            try:
                await self._tell(session, report)
            except RefusedError as error:  # its disk is full, say; it is sent again
                _log.warning("the manager does not take a report: %s", error)
                await backoff.wait()
                continue
            backoff.reset()

    async def _renew(self, session: NodeSession) -> NoReturn:
        conditions = self._agent.conditions
        while True:
            changed = conditions.changed
            with _patience("answering"):
                await session.renew(conditions.current(), self._agent.places())
            await trio.sleep(RENEW_PAUSE)
            with trio.move_on_after(RENEW_EVERY - RENEW_PAUSE):
                await changed.wait()

    def _note_up(self) -> None:
        if self.trouble is not None:
            _log.warning("the manager is back")
        elif not self._has_met:
            _log.info("linked to the manager as node %s", self._hello.name)
        self._has_met = True
        self.is_up = True
        self.trouble = None
        self._boundary.note_well()
        self._backoff.reset()

    def _note_trouble(self, error: BaseException) -> None:
        if str(error) != self.trouble:
            _log.warning("no link to the manager, tasks go on: %s", error)
        self.trouble = str(error)


@contextmanager
def _patience(doing: str) -> Generator[None]:
    """Wait for the manager for ANSWER_WITHIN seconds, then take the link for lost."""
    with trio.move_on_after(ANSWER_WITHIN) as scope:
        yield
    if scope.cancelled_caught:
        raise LinkLostError(f"the manager has been {doing} for {ANSWER_WITHIN:.0f} s")


def _first(group: BaseExceptionGroup[WarrenError]) -> WarrenError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group is never empty")
