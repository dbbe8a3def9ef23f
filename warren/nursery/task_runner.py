"""One task on its node: waits for one event, looks it up in the table, performs the effects.

rules/lifecycle.py decides the transitions; this file only performs them. An effect may yield the
next event, which is taken before any other. Everything of the task lives in the nursery of
`TaskRunner.run`: cancel that, and nothing of the task is left.
"""

from __future__ import annotations

import logging
import math

import trio

from warren.model.check import Sample
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.service import ServiceSpec
from warren.model.task import End, Phase, Reason, TaskRecord, TaskStatus
from warren.model.usage import Usage
from warren.nursery.dependencies import Dependencies
from warren.nursery.instance_probes import InstanceProbes
from warren.nursery.recorder import Recorder
from warren.nursery.task_instances import TaskInstances
from warren.nursery.weak_callback import weak_callback
from warren.rules.lifecycle import (
    KEEPS_INSTANCE,
    YIELDS,
    Effect,
    Event,
    State,
    initial,
    phase_of,
    step,
)
from warren.rules.restart import GiveUp, StartAgain, decide

BLOCKED_RETRY = 1.0  # seconds until a task that cannot start now tries again
SETTLED_WITHIN = 0.005  # seconds until an end is on disk, where the next start takes longer
_log = logging.getLogger("warren.task")


class TaskRunner:
    """A task, driven by `run`. `status()` is its present state; `ended` is set at its end. Its
    events are numbered from `after` on."""

    def __init__(self, record: TaskRecord, dependencies: Dependencies, *, after: int = 0) -> None:
        self.id: TaskId = record.id
        self.ended = trio.Event()
        self._around = dependencies
        self._recorder = Recorder(record, dependencies, weak_callback(self.status), after=after)
        self._state = initial(record)
        self._decision: StartAgain | GiveUp | None = None  # what follows an instance's end
        self._failed: ProbeKind | None = None  # the probe that the present instance has failed
        self._stop_message: str | None = None
        self._is_left = self._is_shutdown = False
        self._send, self._events = trio.open_memory_channel[Event](math.inf)  # a few at a time
        self._probes = InstanceProbes(
            self._recorder,
            dependencies,
            is_running=weak_callback(self._is_running),
            fail=weak_callback(self._fail),
        )
        self._instances = TaskInstances(
            self._recorder, self._probes, dependencies, self._send.send_nowait
        )
        if record.stopping is not None and self._state is not State.ENDED:
            self.stop(record.stopping)

    def __repr__(self) -> str:
        return f"<TaskRunner {self.id} {self._state.value}>"

    @property
    def record(self) -> TaskRecord:
        """The recorded state of the task."""
        return self._recorder.record

    @property
    def is_ready(self) -> bool:
        """Whether the task takes traffic."""
        return self._probes.is_ready

    @property
    def is_stopping(self) -> bool:
        """Whether its end has been asked for."""
        return self._stop_message is not None

    @property
    def spec(self) -> ServiceSpec:
        return self.record.spec

    def exchange_probes(self, spec: ServiceSpec, revision: int) -> None:
        """Go on with a spec that differs only in its probes, or only in its revision. An instance
        is kept, one to be adopted too."""
        if spec == self.spec:
            self._recorder.write(revision=revision)
            return
        is_kept = self._state in KEEPS_INSTANCE
        self._probes.exchange(spec, revision, is_kept=is_kept)
        self._instances.use_probes()

    def stop(self, message: str = "stop asked", *, may_leave: bool = False) -> None:
        """Ask for the task's end, with a reason for people. Harmless twice.

        Its record stays: unless it is dropped, the next supervisor on this journal goes on with the
        same task, as a shutdown is no end of a task. With `may_leave` an instance that cannot be
        adopted now for a shortage is left to it as well; else its adoption is waited for.
        """
        if may_leave:
            self._instances.give_way()
        if self._stop_message is None:
            self._stop_message = message
            self._is_shutdown = may_leave
            if not may_leave and self.record.stopping is None:
                self._recorder.write(stopping=message)  # a `kill -9` of us makes it no other end
        self._send.send_nowait(Event.STOP)

    def leave(self) -> None:
        """End `run` and nothing else: programs run on, and the record says so (S21)."""
        self._is_left = True
        self._instances.leave()

    def status(self) -> TaskStatus:
        """The present state of the task."""
        record = self.record
        return TaskStatus(
            id=self.id,
            phase=phase_of(self._state, record.phase),
            sequence=self._recorder.sequence,
            ready=self.is_ready,
            restarts=record.history.total,
            failed_before=record.failed_before,
            instance=record.instance,
            last_end=record.last_end,
            pending_reason=self._instances.starts.pending_reason,
            restart_at=record.restart_at,
            probes=self._probes.statuses(),
            revision=record.revision,
            is_proving=bool(record.proving),
        )

    def samples(self) -> dict[ProbeKind, list[Sample]]:
        """The last outcomes of every probe of the current instance, oldest first (S24)."""
        return self._probes.samples()

    async def usage(self) -> Usage | None:
        """What the current instance uses (S27); None where there is none, or it cannot be known."""
        return await self._instances.usage()

    async def run(self) -> None:
        """The task's whole life. Our own bugs end the task as CRASHED, with a traceback."""
        try:
            async with trio.open_nursery() as nursery:
                self._instances.nursery = nursery
                await self._drive()
                nursery.cancel_scope.cancel()
        except Exception as error:
            _log.exception("task %s crashed: this is a bug in Warren", self.id)
            self._state = State.ENDED
            self._recorder.note_crash(error)
        finally:
            self._is_left |= self._instances.is_out_of_reach
            self._instances.close()
            self._recorder.settle()
            if self._state is not State.ENDED and not self._is_left:
                self._state = State.ENDED  # cancelled; its instance has been killed
                if self.record.instance is not None:
                    self._recorder.note_end(self._end(Reason.STOP_ASKED, "cancelled"))
            self.ended.set()

    async def _drive(self) -> None:
        if self._is_left:
            return
        if self._state is State.ADOPTING:
            self._instances.adopt()
        elif self._state is State.WAITING:
            self._take(self._await_start(self._recorder.wait_of_old()))
        while self._state is not State.ENDED:
            event = await self._next()
            with self._recorder.together():
                self._take(event)

    async def _next(self) -> Event:
        """The next event, in turn with other tasks. What a launch is to write can wait for a
        while, but not for that."""
        event: Event | None = None
        if self._recorder.is_due:
            with trio.move_on_after(SETTLED_WITHIN):
                event = await self._events.receive()
            if event is None or not self._around.turns.is_free:
                self._recorder.settle()
        if event is None:
            event = await self._events.receive()
        await self._around.turns.take()
        return event

    def _take(self, event: Event | None) -> None:
        """Take an event, and at once each that its effects yield, until there is none."""
        while event is not None:
            self._state, effects = step(self._state, event)
            event = None
            for effect in effects:
                event = self._perform(effect)
                assert event is None or event in YIELDS[effect]

    def _perform(self, effect: Effect) -> Event | None:
        """Perform it, and return the event that it yields."""
        match effect:
            case Effect.START:
                return self._instances.start()
            case Effect.ABANDON_START:
                self._instances.current.abandon_start()
            case Effect.RECORD_RUNNING:
                self._record_running()
            case Effect.BEGIN_PROBES:
                return self._begin_probes()
            case Effect.END_PROBES:
                self._instances.current.end_probes()
            case Effect.TELL_FAILURE:
                self._tell_failure()
            case Effect.TELL_STOP:
                message = self._stop_message or ""
                self._recorder.announce(EventKind.STOPPING, message, Reason.STOP_ASKED)
            case Effect.STOP_INSTANCE:
                self._instances.current.stop(self.spec.stop.number, self.spec.stop.grace)
            case Effect.STOP_FAILED:
                self._instances.current.stop(self.spec.stop.number, self._grace_left())
            case Effect.CLEAR_INSTANCE:
                self._instances.current.clear()
            case Effect.DECIDE:
                return self._decide()
            case Effect.RECORD_RESTART:
                assert isinstance(self._decision, StartAgain)
                self._recorder.note_restart(self._instances.end(), self._decision)
            case Effect.AWAIT_RESTART:
                return self._await_start(self.record.restart_delay or 0.0)
            case Effect.AWAIT_RETRY:
                return self._await_start(BLOCKED_RETRY)
            case Effect.RECORD_END:
                assert isinstance(self._decision, GiveUp)
                self._recorder.note_given_up(self._instances.end(), self._decision)
            case Effect.RECORD_STOP:
                self._record_stop()
        return None

    def _await_start(self, delay: float) -> Event | None:
        return self._instances.await_start(delay, at_once=not self.is_stopping)

    def _record_running(self) -> None:
        running = self._instances.current.running
        assert running is not None
        self._instances.starts.note_over()
        is_adopted = self._instances.current.is_adopted
        self._recorder.note_running(running.instance, is_adopted=is_adopted)

    def _is_running(self) -> bool:
        return self._state is State.RUNNING

    def _fail(self, kind: ProbeKind) -> None:
        self._failed = kind
        self._instances.cause = self._end(Reason.PROBE_FAILED, self._probes.probing.failure(kind))
        # At once and not through the channel: no request may follow the verdict (S6).
        self._take(Event.PROBE_FAILED)

    def _begin_probes(self) -> Event | None:
        if self.record.failing is not None:  # an earlier supervisor was stopping it (S21)
            self._instances.cause = self.record.failing
            return Event.PROBE_FAILED
        self._instances.current.begin_probes()
        self._probes.note_running()
        return None

    def _tell_failure(self) -> None:
        if self.record.failing is not None:
            return  # it was told before it was adopted
        cause, failed = self._instances.cause, self._failed
        assert cause is not None
        assert failed is not None
        self._recorder.note_failing(cause, failed, self._probes.probing.proven())

    def _grace_left(self) -> float:
        """Of the grace of a failure, which began with it."""
        failing = self.record.failing
        assert failing is not None
        spent = max(0.0, self._around.wall() - failing.at)
        return max(0.0, self.spec.stop.grace_after_failure - spent)

    def _decide(self) -> Event:
        self._instances.starts.note_over()
        self._decision = decide(
            self.spec.restart,
            self.record.history,
            self._instances.end(),
            now=self._around.wall(),
            ready_for=self._recorder.ready_for(),
            jitter=self._around.chance.random(),
        )
        return Event.GIVE_UP if isinstance(self._decision, GiveUp) else Event.AGAIN

    def _record_stop(self) -> None:
        message, end = self._stop_message or "stop asked", None
        if self.record.instance is not None:
            end = self._instances.end(self._end(Reason.STOP_ASKED, message))
            # What has failed a probe has ended by that: the next supervisor finds it gone, and so.
            if not (self._is_shutdown and self.record.failing is not None):
                self._recorder.note_end(end)
        self._recorder.tell_end(Phase.STOPPED, message, Reason.STOP_ASKED, end)

    def _end(self, reason: Reason, message: str) -> End:
        return End(reason=reason, message=message, at=self._around.wall())
