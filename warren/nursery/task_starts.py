"""The starts of one task: when it may, with which ports, and what it waits for until then (S26).

Places for starts are few on a node (resilience/start_limit.py): one is taken before a start, and
released once the program runs or never will.
"""

from __future__ import annotations

from functools import partial

import trio

from warren.model.event import EventKind
from warren.model.interfaces import NotYetError, PortTakenError, RunningInstance, ShortageError
from warren.model.task import Instance
from warren.nursery.adoption import adopt, claim
from warren.nursery.dependencies import Dependencies
from warren.nursery.instance_runner import Acquire
from warren.nursery.recorder import Recorder
from warren.nursery.start_reasons import StartReasons
from warren.resilience.start_limit import StartPermit


class TaskStarts:
    """Waits for a start's time and place, then returns how to come by the instance."""

    def __init__(self, recorder: Recorder, around: Dependencies) -> None:
        self._recorder = recorder
        self._around = around
        self._key = str(recorder.record.id)
        self._place = StartPermit(around.starts, recorder.record.id.service)
        self._reasons = StartReasons()

    def __repr__(self) -> str:
        return f"<TaskStarts {self._key}: {self.pending_reason or 'waits for nothing'}>"

    @property
    def pending_reason(self) -> str | None:
        """What the next start waits for."""
        return self._place.why_waiting() or self._reasons.reason

    def may_start_now(self) -> bool:
        """Whether a place is free; then it is taken."""
        return self._place.take_nowait()

    async def wait(self, delay: float) -> None:
        """Wait for `delay` seconds, and then for a place."""
        await trio.sleep(delay)
        await self._place.take()

    def launch(self) -> Acquire | None:
        """Launch a new instance; None where one of its ports is taken. Needs a place."""
        spec = self._recorder.record.spec
        try:
            ports = claim(self._around.ports, self._key, spec)
        except PortTakenError as error:
            self._place.give_back()
            self._note(str(error))
            return None
        launch = self._recorder.launch(ports)

        async def start() -> RunningInstance:
            try:
                record = self._recorder.record_instance
                return await self._around.runtime.start(launch, record=record)
            finally:
                self._place.give_back()

        return start

    def adopt(self, instance: Instance) -> Acquire:
        """Adopt the instance that an earlier supervisor has left. Needs no place."""
        return partial(adopt, self._around, self._recorder.record, instance)

    def note_shortage(self, error: ShortageError) -> None:
        """A start has failed as the node is short of something: no failure of the task."""
        self._note(str(error))
        self._around.starts.note_short(str(error))

    def note_not_yet(self, error: NotYetError) -> None:
        """A start has to wait for what its runtime lacks: no failure of the task, nor of others."""
        self._note(str(error))

    def note_over(self) -> None:
        """The start has succeeded or failed: the task waits for nothing."""
        self._reasons.clear()

    def close(self) -> None:
        """The task's run is over: release its place and its ports."""
        self._place.give_back()
        self._around.ports.release(self._key)

    def _note(self, why: str) -> None:
        if self._reasons.note(why):
            self._recorder.announce(EventKind.PENDING, f"pending: {why}")
