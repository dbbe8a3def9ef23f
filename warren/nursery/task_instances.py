"""The instances of one task, one after another: each is launched or adopted, and ends (S15).

await_start -> start --started--> runs --exited--> gone     an event of each is told
adopt ----------------^ |
                        `--start failed, or blocked by a shortage
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from warren.model.interfaces import CannotRunError, NotYetError, PortTakenError, ShortageError
from warren.model.task import End, Reason
from warren.model.usage import Usage
from warren.nursery.adoption import EndedError, age_of
from warren.nursery.dependencies import Dependencies
from warren.nursery.instance_probes import InstanceProbes
from warren.nursery.instance_runner import Acquire, InstanceRunner, News
from warren.nursery.probe_loops import ProbeLoops
from warren.nursery.recorder import Recorder
from warren.nursery.task_starts import TaskStarts
from warren.rules.end_reasons import settle
from warren.rules.lifecycle import Event

_NEWS: dict[News, Event] = {
    "started": Event.STARTED,
    "exited": Event.EXITED,
    "gone": Event.GONE,
}
_log = logging.getLogger("warren.task")


class TaskInstances:
    """Runs them in `nursery`, which is that of the task. `tell` is called with what happens to
    them; `cause` is why the present one is ended, where we end it."""

    nursery: trio.Nursery | None = None

    def __init__(
        self,
        recorder: Recorder,
        probes: InstanceProbes,
        around: Dependencies,
        tell: Callable[[Event], None],
    ) -> None:
        self.starts = TaskStarts(recorder, around)
        self.cause: End | None = None
        self._recorder = recorder
        self._probes = probes
        self._around = around
        self._tell = tell
        self._life: InstanceRunner | None = None
        self._may_leave = False

    def __repr__(self) -> str:
        return f"<TaskInstances {self._recorder.record.id}: {self._life!r}>"

    @property
    def current(self) -> InstanceRunner:
        """The present one, also once it has ended."""
        assert self._life is not None
        return self._life

    @property
    def is_out_of_reach(self) -> bool:
        """Whether it is one to adopt that could not be adopted."""
        return self._life is not None and self._life.is_out_of_reach

    def end(self, cause: End | None = None) -> End:
        """How the last one ended: for this cause, else for the one it was ended for."""
        return settle(cause or self.cause, self._life.end if self._life else None)

    async def usage(self) -> Usage | None:
        """What the present one uses; None where none runs, or it cannot be known."""
        running = self._life and self._life.running
        return await running.usage() if running else None

    def await_start(self, delay: float, *, at_once: bool) -> Event | None:
        """Tell DUE when one may start; returned where that is now, and `at_once` is fine."""
        assert self.nursery is not None
        if at_once and not delay and self.starts.may_start_now():
            return Event.DUE
        self.nursery.start_soon(self._wait, delay)
        return None

    async def _wait(self, delay: float) -> None:
        await self.starts.wait(delay)
        self._tell(Event.DUE)

    def start(self) -> Event | None:
        """Launch one: BLOCKED where one of its ports is taken."""
        acquire = self.starts.launch()
        if acquire is None:
            return Event.BLOCKED
        self._spawn(acquire, self._probes.begin({}))
        return None

    def adopt(self) -> None:
        """Adopt the one that an earlier supervisor has left (S21)."""
        record = self._recorder.record
        assert record.instance is not None
        probing = self._probes.begin(record.proven)
        self._spawn(
            self.starts.adopt(record.instance), probing, age=age_of(self._around, record.instance)
        )

    def use_probes(self) -> None:
        """Go on with exchanged probes."""
        if self._life is not None:
            self._life.exchange_probes(self._probes.probing)

    def give_way(self) -> None:
        """Leave one that cannot be adopted now for a shortage, from now on."""
        self._may_leave = True
        if self._life is not None:
            self._life.give_way()

    def leave(self) -> None:
        """Cancel the nursery, and let the present one run on."""
        if self._life is not None:
            self._life.leave()
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    def close(self) -> None:
        """The task's run is over."""
        self.nursery = self._life = None  # they refer back to the task
        self.starts.close()

    def _spawn(self, acquire: Acquire, probing: ProbeLoops, *, age: float | None = None) -> None:
        assert self.nursery is not None
        self.cause = None
        self._life = InstanceRunner(acquire, probing, self._recorder.target, self._hear, age=age)
        if self._may_leave:
            self._life.give_way()
        self.nursery.start_soon(self._live, self._life)

    async def _live(self, life: InstanceRunner) -> None:
        try:
            if await life.run():
                return
            if life.is_out_of_reach:
                task = self._recorder.record.id
                _log.warning("task %s runs on: a shortage keeps it from being adopted", task)
                self.leave()
                return
        except ShortageError as error:
            self.starts.note_shortage(error)
            self._tell(Event.BLOCKED)
            return
        except NotYetError as error:
            self.starts.note_not_yet(error)
            self._tell(Event.BLOCKED)
            return
        except (CannotRunError, PortTakenError) as error:
            said, at = f"could not start: {error}", self._around.wall()
            self.cause = End(reason=Reason.START_FAILED, message=said, at=at)
        except EndedError as error:
            failing = self._recorder.record.failing
            is_other = error.end.reason is Reason.REBOOTED
            self.cause = error.end if is_other else settle(failing, error.end)
        self._tell(Event.START_FAILED)

    def _hear(self, news: News) -> None:
        self._tell(_NEWS[news])
