"""One instance of a task, from its start until nothing of it is left (S15).

    acquire -> alive (probes beside) -> asked to go -> signal, grace -> kill the tree -> gone

However it ends, cancelled at any point included, the tree is killed and waited for; unless it is
left running (`leave`) for a later supervisor, or a shortage kept it from being adopted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import trio

from warren.model.interfaces import RunningInstance, Target
from warren.model.task import End
from warren.nursery.probe_loops import ProbeLoops

News = Literal["started", "exited", "gone"]
CHECKS_END = 1.0  # seconds that cancelled checks get at least, however short the grace
Acquire = Callable[[], Awaitable[RunningInstance]]


class InstanceRunner:
    """Drives one RunningInstance. `tell` is called with the news, synchronously, from `run`."""

    def __init__(
        self,
        acquire: Acquire,
        probing: ProbeLoops,
        target: Callable[[RunningInstance], Target],
        tell: Callable[[News], None],
        *,
        age: float | None = None,
    ) -> None:
        """`age` is how many seconds ago an instance to adopt had started; None for a new one."""
        self._acquire = acquire
        self._probing = probing
        self._target = target
        self._tell = tell
        self._age = age or 0.0
        self._may_ask = trio.Event()
        self._asking = trio.CancelScope()
        self._round = trio.CancelScope()
        self._asked = trio.Event()
        self._dismissed = trio.Event()
        self._farewell: tuple[int, float] | None = None
        self._is_left = False
        self._starting = trio.CancelScope()
        self.is_adopted = age is not None
        self.running: RunningInstance | None = None
        self.end: End | None = None

    def __repr__(self) -> str:
        return f"<InstanceRunner {self.running and self.running.instance.id} end={self.end!r}>"

    async def run(self) -> bool:
        """Run it to its end. False when its start was abandoned, or its adoption gave way. Raises
        CannotRunError from the start."""
        with self._starting:
            self.running = await self._acquire()
        if self.running is None:
            return False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, self.running)
                nursery.start_soon(self._probe, self.running)
                self._tell("started")
                await self._dismissed.wait()
                await self._say_farewell(self.running)
                nursery.cancel_scope.cancel()
        finally:
            if self._is_left:
                self.running.leave()
            else:
                with trio.CancelScope(shield=True):
                    await self.running.kill()
        self.end = await self.running.wait()
        self._tell("gone")
        return True

    def abandon_start(self) -> None:
        """Give up a start under way; the runtime ends what it had made."""
        self._starting.cancel()

    def give_way(self) -> None:
        """Give up an adoption too, where a shortage holds it up: nothing has changed then."""
        if self.is_adopted:
            self._starting.cancel()

    @property
    def is_out_of_reach(self) -> bool:
        """Whether it is one to adopt that could not be adopted."""
        return self.is_adopted and self.running is None

    def begin_probes(self) -> None:
        """Start probing. After the news `started`."""
        self._may_ask.set()

    def exchange_probes(self, probing: ProbeLoops) -> None:
        """Use these from now on; attempts under way are cancelled."""
        self._probing = probing
        self._round.cancel()

    def end_probes(self) -> None:
        """No further attempt, from this moment on (S6)."""
        self._asking.cancel()

    def stop(self, signal: int, grace: float) -> None:
        """Ask the process to go, wait for `grace` seconds, then kill. After `started`."""
        self._farewell = (signal, grace)
        self._dismissed.set()

    def leave(self) -> None:
        """When `run` is cancelled, which is next, let the instance run on."""
        self._is_left = True

    def clear(self) -> None:
        """Kill what is left."""
        self._dismissed.set()

    async def _watch(self, running: RunningInstance) -> None:
        await running.wait()
        self._tell("exited")

    async def _probe(self, running: RunningInstance) -> None:
        try:
            with self._asking:
                await self._may_ask.wait()
                started = trio.current_time() - self._age
                while True:  # a round for every exchange of the probes
                    self._round = trio.CancelScope()
                    with self._round:
                        await self._probing.run(self._target(running), started)
                        await trio.sleep_forever()
        finally:
            self._asked.set()

    async def _say_farewell(self, running: RunningInstance) -> None:
        self._asking.cancel()
        signal, grace = self._farewell or (0, 0.0)
        with trio.move_on_after(max(grace, CHECKS_END)):
            await self._asked.wait()  # every check is over before the signal (S15)
        if self._farewell is not None:
            await running.signal(signal)
            with trio.move_on_after(grace):
                await running.wait()
        if not self._asked.is_set():  # a check that does not end delays no kill
            await running.kill()
