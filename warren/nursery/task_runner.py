"""One task on its node: waits for one event, looks it up in the table, performs the effects.

rules/lifecycle.py decides the transitions; this file only performs them. Everything of the task
lives in the nursery of `TaskRunner.run`: cancel that, and nothing of the task is left.
"""

from __future__ import annotations

import logging
import math

import trio

from warren.model.check import Sample
from warren.model.event import EventFacts, EventKind
from warren.model.identity import TaskId
from warren.model.interfaces import (
    CannotRunError,
    Launch,
    PortTakenError,
    RunningInstance,
    ShortageError,
)
from warren.model.probe import ProbeKind
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, Phase, Reason, TaskRecord, TaskStatus
from warren.nursery.adoption import EndedError, age_of
from warren.nursery.adoption import adopt as adopt_instance
from warren.nursery.dependencies import Dependencies
from warren.nursery.instance_probes import InstanceProbes
from warren.nursery.instance_runner import InstanceRunner, News
from warren.nursery.recorder import Recorder
from warren.nursery.start_reasons import StartReasons
from warren.nursery.weak_callback import weak_callback
from warren.resilience.start_limit import StartPermit
from warren.rules.end_reasons import settle
from warren.rules.lifecycle import Effect, Event, State, step
from warren.rules.restart import GiveUp, decide

BLOCKED_RETRY = 1.0  # seconds until a task that waits for a port asks again
_NEWS: dict[News, Event] = {
    "started": Event.STARTED,
    "exited": Event.EXITED,
    "gone": Event.GONE,
}
_log = logging.getLogger("warren.task")


class TaskRunner:
    """A task, driven by `run`. `status()` is its present state; `ended` is set at its end. Its
    events are numbered from `after` on."""

    def __init__(self, record: TaskRecord, dependencies: Dependencies, *, after: int = 0) -> None:
        self.id: TaskId = record.id
        self.ended = trio.Event()
        self._around = dependencies
        self._recorder = Recorder(record, dependencies, weak_callback(self.status), after=after)
        self._state = State.WAITING
        self._wait = BLOCKED_RETRY
        self._pending = StartReasons()
        self._cause: End | None = None  # why we end the instance, where we do
        self._stop_message: str | None = None
        self._is_left = False
        self._may_leave = False
        self._place = StartPermit(dependencies.starts, record.id.service)
        self._life: InstanceRunner | None = None
        self._instance_probes = InstanceProbes(
            self._recorder,
            dependencies,
            is_running=weak_callback(self._is_running),
            fail=weak_callback(self._note_failed),
        )
        self._nursery: trio.Nursery | None = None
        self._send, self._events = trio.open_memory_channel[Event](math.inf)  # a few at a time

    def __repr__(self) -> str:
        return f"<TaskRunner {self.id} {self._state.value}>"

    @property
    def record(self) -> TaskRecord:
        """The recorded state of the task."""
        return self._recorder.record

    @property
    def is_ready(self) -> bool:
        """Whether the task takes traffic."""
        return self._instance_probes.is_ready

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
        is_starting, is_running = self._state is State.STARTING, self._state is State.RUNNING
        is_old = self._life is None or self._life.is_adopted
        is_had = self._state in (State.WAITING, State.STARTING) and is_old
        is_kept = is_running or (is_had and self.record.instance is not None)
        self._instance_probes.exchange(spec, revision, is_kept=is_kept)
        if self._life is not None and (is_starting or is_running):
            self._life.exchange_probes(self._instance_probes.probing)

    def stop(self, message: str = "stop asked", *, may_leave: bool = False) -> None:
        """Ask for the task's end, with a reason for people. Harmless twice.

        Its record stays: unless it is dropped, the next supervisor on this journal goes on with the
        same task, as a shutdown is no end of a task. With `may_leave` an instance that cannot be
        adopted now for a shortage is left to it as well; else its adoption is waited for.
        """
        if may_leave:
            self._may_leave = True
            if self._life is not None:
                self._life.give_way()
        if self._stop_message is None:
            self._stop_message = message
        self._send.send_nowait(Event.STOP)

    def leave(self) -> None:
        """End `run` and nothing else: programs run on, and the record says so (S21)."""
        self._is_left = True
        if self._life is not None:
            self._life.leave()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def status(self) -> TaskStatus:
        """The present state of the task."""
        record = self.record
        phase = record.phase
        if self._state is State.STOPPING:
            phase = Phase.STOPPING
        elif self._state is State.ENDED and not phase.is_end:
            phase = Phase.STOPPED
        return TaskStatus(
            id=self.id,
            phase=phase,
            sequence=self._recorder.sequence,
            ready=self.is_ready,
            restarts=record.history.total,
            failed_before=record.failed_before,
            instance=record.instance,
            last_end=record.last_end,
            pending_reason=self._place.why_waiting() or self._pending.reason,
            restart_at=record.restart_at,
            probes=self._instance_probes.statuses(),
            revision=record.revision,
            is_proving=bool(record.proving),
        )

    def samples(self) -> dict[ProbeKind, list[Sample]]:
        """The last outcomes of every probe of the current instance, oldest first (S24)."""
        return self._instance_probes.samples()

    async def run(self) -> None:
        """The task's whole life. Our own bugs end the task as CRASHED, with a traceback."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._drive()
                nursery.cancel_scope.cancel()
        except Exception as error:
            _log.exception("task %s crashed: this is a bug in Warren", self.id)
            self._state = State.ENDED
            self._recorder.note_crash(error)
        finally:
            self._is_left |= self._life is not None and self._life.is_out_of_reach
            self._nursery = self._life = None  # they refer back to this
            self._place.give_back()
            self._recorder.settle()
            self._around.ports.release(str(self.id))
            if self._state is not State.ENDED and not self._is_left:
                self._state = State.ENDED  # cancelled; its instance has been killed
                if self.record.instance is not None:
                    self._recorder.note_end(self._end(Reason.STOP_ASKED, "cancelled"))
            self.ended.set()

    async def _drive(self) -> None:
        instance = self.record.instance
        if self._is_left:
            return
        if self.record.phase.is_end:
            self._state = State.ENDED
        elif instance is not None:
            self._state = State.STARTING
            self._spawn_life(adopt=instance)
        else:
            await self._around.turns.take()
            self._set_alarm(self._recorder.wait_of_old())
        while self._state is not State.ENDED:
            event = await self._events.receive()
            await self._around.turns.take()
            with self._recorder.together():
                self._take(event)

    def _take(self, event: Event) -> None:
        self._state, effects = step(self._state, event)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Effect.START:
                self._start()
            case Effect.ABANDON_START:
                self._tell_stopping()
                self._the_life.abandon_start()
            case Effect.BEGIN_PROBES:
                self._begin_probes()
            case Effect.END_PROBES:
                self._the_life.end_probes()
            case Effect.STOP_INSTANCE:
                self._stop_instance()
            case Effect.CLEAR_INSTANCE:
                self._the_life.clear()
            case Effect.DECIDE:
                self._decide()
            case Effect.SET_ALARM:
                self._set_alarm(self._wait)
            case Effect.FINISH:
                self._finish()

    # Instances

    def _start(self) -> None:
        self._wait = BLOCKED_RETRY
        try:
            ports = self._around.ports.claim(str(self.id), self.spec.ports)
        except PortTakenError as error:
            self._place.give_back()
            self._note_pending(str(error))
            self._take(Event.BLOCKED)
            return
        self._spawn_life(launch=self._recorder.launch(ports))

    def _spawn_life(self, *, adopt: Instance | None = None, launch: Launch | None = None) -> None:
        assert self._nursery is not None
        self._cause = None
        probing = self._instance_probes.begin({} if adopt is None else self.record.proven)
        age = None if adopt is None else age_of(self._around, adopt)

        async def acquire() -> RunningInstance:
            if adopt is not None:
                return await adopt_instance(self._around, self.record, adopt)
            assert launch is not None
            try:
                return await self._around.runtime.start(launch, record=self._record_instance)
            finally:
                self._place.give_back()

        self._life = InstanceRunner(acquire, probing, self._recorder.target, self._hear, age=age)
        if self._may_leave:
            self._life.give_way()
        self._nursery.start_soon(self._live, self._life)
        if self._recorder.is_due:  # a start may take long
            self._nursery.start_soon(self._recorder.settle_soon)

    def _note_pending(self, why: str) -> None:
        if self._pending.note(why):
            self._recorder.announce(EventKind.PENDING, f"pending: {why}")

    async def _record_instance(self, instance: Instance) -> None:
        self._recorder.write(instance=instance)
        await self._around.journal.settle()

    async def _live(self, life: InstanceRunner) -> None:
        try:
            if await life.run():
                return
            if life.is_out_of_reach:
                _log.warning("task %s runs on: a shortage keeps it from being adopted", self.id)
                self.leave()
                return
        except ShortageError as error:  # the node's, and no failure of the task
            self._note_pending(str(error))
            self._around.starts.note_short(str(error))
            self._send.send_nowait(Event.BLOCKED)
            return
        except (CannotRunError, PortTakenError) as error:
            self._cause = self._end(Reason.START_FAILED, f"could not start: {error}")
        except EndedError as error:
            self._cause = error.end
        self._send.send_nowait(Event.START_FAILED)

    def _hear(self, news: News) -> None:
        self._send.send_nowait(_NEWS[news])

    def _begin_probes(self) -> None:
        running = self._the_life.running
        assert running is not None
        self._pending.clear()
        phase = max(self.record.phase, Phase.RUNNING)
        self._recorder.write(phase=phase, instance=running.instance)
        kind = EventKind.ADOPTED if self._the_life.is_adopted else EventKind.STARTED
        pid = running.instance.pid
        message = f"{kind.value}, pid {pid}" if pid else kind.value
        self._recorder.announce(kind, message, facts=EventFacts(pid=pid))
        self._the_life.begin_probes()
        proven = self._instance_probes.probing.proven()
        if self.is_ready:
            self._recorder.note_ready(proven)
        elif self.record.ready_since is not None:  # killed between a verdict and its record
            self._recorder.note_unready(proven, "not ready: its probes have not passed")

    def _is_running(self) -> bool:
        return self._state is State.RUNNING

    def _note_failed(self, kind: ProbeKind) -> None:
        message = self._instance_probes.probing.failure(kind)
        self._cause = self._end(Reason.PROBE_FAILED, message)
        # At once and not through the channel: no request may follow the verdict (S6).
        self._take(Event.PROBE_FAILED)
        facts = EventFacts(probes=(kind,))
        self._recorder.announce(EventKind.PROBE_FAILED, message, Reason.PROBE_FAILED, facts)

    # Ends

    def _stop_instance(self) -> None:
        stop = self.spec.stop
        grace: float = stop.grace
        if self._state is State.FAILING:
            grace = grace if stop.failure_grace is None else stop.failure_grace
        else:
            self._tell_stopping()
        self._the_life.stop(stop.number, grace)

    def _tell_stopping(self) -> None:
        self._recorder.announce(EventKind.STOPPING, self._stop_message or "", Reason.STOP_ASKED)

    def _decide(self) -> None:
        self._pending.clear()
        end = settle(self._cause, self._life.end if self._life else None)
        decision = decide(
            self.spec.restart,
            self.record.history,
            end,
            now=self._around.wall(),
            ready_for=self._recorder.ready_for(),
            jitter=self._around.chance.random(),
        )
        if isinstance(decision, GiveUp):
            self._recorder.note_end(end, phase=decision.phase)
            self._recorder.tell_end(decision.phase, decision.message, end.reason, end)
            self._take(Event.GIVE_UP)
            return
        self._wait = decision.delay
        restart_at = self._around.wall() + decision.delay if decision.delay else None
        self._recorder.note_end(
            end,
            history=decision.history,
            restart_at=restart_at,
            restart_delay=decision.delay,
        )
        wait = f" in {decision.delay:.1f}s" if decision.delay else ""
        self._recorder.announce_restart(f"{end.message}; restarting{wait}", end, decision.delay)
        self._take(Event.AGAIN)

    def _finish(self) -> None:
        if self.record.phase.is_end:
            return  # the restart rule has given up, and published that
        message, end = self._stop_message or "stop asked", None
        if self.record.instance is not None:
            cause = self._end(Reason.STOP_ASKED, message)
            end = settle(cause, self._life.end if self._life else None)
            self._recorder.note_end(end)
        self._recorder.tell_end(Phase.STOPPED, message, Reason.STOP_ASKED, end)

    @property
    def _the_life(self) -> InstanceRunner:
        assert self._life is not None
        return self._life

    def _end(self, reason: Reason, message: str) -> End:
        return End(reason=reason, message=message, at=self._around.wall())

    def _set_alarm(self, delay: float) -> None:
        assert self._nursery is not None
        if not delay and not self.is_stopping and self._place.take_nowait():
            self._take(Event.DUE)
        else:
            self._nursery.start_soon(self._sleep, delay)

    async def _sleep(self, delay: float) -> None:
        await trio.sleep(delay)
        await self._place.take()
        self._send.send_nowait(Event.DUE)
