"""What is recorded and published of a task: every change goes through here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import msgspec
import trio

from warren.model.check import Argv
from warren.model.event import NO_FACTS, EventFacts, EventKind, TaskEvent
from warren.model.identity import instance_id
from warren.model.interfaces import CommandResult, Launch, RunningInstance, Target
from warren.model.probe import ProbeKind, Verdict
from warren.model.task import End, Instance, Phase, Reason, TaskRecord, TaskStatus
from warren.nursery.adoption import left_to_wait
from warren.nursery.dependencies import Dependencies
from warren.rules.environment import environment, expand
from warren.rules.restart import GiveUp, StartAgain


class Recorder:
    """A task's record, kept in the journal, and its transitions, published in sequence.

    `status` returns the present state of the task, published with a transition.
    """

    def __init__(
        self,
        record: TaskRecord,
        around: Dependencies,
        status: Callable[[], TaskStatus],
        *,
        after: int,
    ) -> None:
        self.record = record
        self.sequence = after
        self._around = around
        self._status = status
        self._ready_at: float | None = None  # in Trio's time: wall clocks jump
        self.is_due = False  # something was written, and is not on disk yet
        self._is_together = self._is_launched = False

    def write(self, **changes: object) -> None:
        """Change the record, on disk too: at once, or at the end of what is done together."""
        self._change(**changes)
        self.is_due = True
        if not self._is_together:
            self._save()

    @contextmanager
    def together(self) -> Generator[None, None, None]:
        """Everything in this block, which awaits nothing, is one write at its end; or, where the
        task was launched in it, with its instance, if that is there soon."""
        self._is_together = True
        try:
            yield
        finally:
            is_next, self._is_launched = self._is_launched, False
            self._is_together = False
            if not is_next:
                self.settle()

    def settle(self) -> None:
        """Put on disk what was written."""
        if self.is_due:
            self._save()

    async def record_instance(self, instance: Instance) -> None:
        """Put on disk that this is the task's instance: its program waits for that."""
        self.write(instance=instance)
        await self._around.journal.settle()

    def _save(self) -> None:
        self.is_due = False
        self._around.journal.save(self.record)

    def _change(self, **changes: object) -> None:
        """Change the record; on disk with the next write."""
        self.record = msgspec.structs.replace(self.record, **changes)

    def announce(
        self,
        kind: EventKind,
        message: str,
        reason: Reason | None = None,
        facts: EventFacts = NO_FACTS,
    ) -> None:
        """Publish a transition."""
        self.sequence += 1
        facts = msgspec.structs.replace(facts, reason=reason)
        event = TaskEvent(
            at=self._around.wall(),
            task=self.record.id,
            kind=kind,
            message=message,
            reason="" if reason is None else reason.value,
            facts=None if facts == NO_FACTS else facts,
        )
        self._around.publish(self._status(), event)

    def note_running(self, instance: Instance, *, is_adopted: bool) -> None:
        """The task has an instance that runs."""
        self.write(phase=max(self.record.phase, Phase.RUNNING), instance=instance)
        kind = EventKind.ADOPTED if is_adopted else EventKind.STARTED
        pid = instance.pid
        message = f"{kind.value}, pid {pid}" if pid else kind.value
        self.announce(kind, message, facts=EventFacts(pid=pid))

    def note_failing(self, why: End, probe: ProbeKind, proven: Mapping[ProbeKind, Verdict]) -> None:
        """The instance is to be stopped, as it has failed this probe: also where this supervisor
        ends meanwhile (S16, S21)."""
        self.ready_for()
        self.write(failing=why, proven={**proven, probe: Verdict.UNHEALTHY})
        facts = EventFacts(probes=(probe,))
        self.announce(EventKind.PROBE_FAILED, why.message, why.reason, facts)

    def note_restart(self, end: End, again: StartAgain) -> None:
        """The instance has ended, and a new one follows."""
        delay = again.delay
        self.note_end(
            end,
            history=again.history,
            restart_at=self._around.wall() + delay if delay else None,
            restart_delay=delay,
        )
        wait = f" in {delay:.1f}s" if delay else ""
        facts = EventFacts(
            exit_code=end.exit_code,
            signal=end.signal,
            memory=end.memory,
            restarts=self.record.history.total,
            restart_in=delay or None,
        )
        message = f"{end.message}; restarting{wait}"
        self.announce(EventKind.RESTARTING, message, end.reason, facts)

    def note_given_up(self, end: End, why: GiveUp) -> None:
        """The instance has ended, and the task with it."""
        self.note_end(end, phase=why.phase)
        self.tell_end(why.phase, why.message, end.reason, end)

    def note_end(self, end: End, **changes: object) -> None:
        """The instance is gone, and what follows from it: one write, so that a `kill -9` cannot
        come between (S21). The next instance still has to prove exchanged probes."""
        self._ready_at = None
        if "phase" in changes:  # it was the last one: nothing is left to prove
            changes["proving"] = ()
        self.write(
            instance=None, last_end=end, ready_since=None, proven={}, failing=None, **changes
        )

    def tell_end(self, phase: Phase, message: str, reason: Reason, end: End | None = None) -> None:
        """Publish that the task has ended, with this end of its instance where it had one."""
        facts = EventFacts(phase=phase)
        if end is not None:
            facts = EventFacts(
                phase=phase, exit_code=end.exit_code, signal=end.signal, memory=end.memory
            )
        self.announce(EventKind.FINISHED, f"{phase}: {message}", reason, facts)

    def note_crash(self, error: Exception) -> None:
        """A bug of ours has ended the task, and its instance is gone."""
        end = End(reason=Reason.BUG, message=f"a bug in Warren: {error!r}", at=self._around.wall())
        self.note_end(end, phase=Phase.CRASHED)
        self.tell_end(Phase.CRASHED, "a bug in Warren; its traceback is in the log", end.reason)

    def note_ready(self, **changes: object) -> None:
        """The task is ready from now on; with `changes`, one write."""
        self._ready_at = trio.current_time()
        self.write(ready_since=self._around.wall(), **changes)
        self.announce(EventKind.READY, "ready")

    def resume_readiness(self) -> None:
        """A task that was ready when it was adopted still is: no news (S3)."""
        since = self.record.ready_since
        if since is not None:
            self._ready_at = trio.current_time() - max(0.0, self._around.wall() - since)

    def note_unready(self, message: str, *probes: ProbeKind, **changes: object) -> None:
        """The task is no longer ready, by these probes, and still runs."""
        self.ready_for()
        self._ready_at = None
        self.write(ready_since=None, **changes)
        self.announce(EventKind.UNREADY, message, Reason.PROBE_FAILED, EventFacts(probes=probes))

    def ready_for(self) -> float:
        """Seconds of readiness up to now; where they amount to good running, the failures are
        reset (S17), on disk with the next write."""
        if self._ready_at is None:
            return 0.0
        seconds = trio.current_time() - self._ready_at
        if seconds >= self.record.spec.restart.reset_after:
            history = msgspec.structs.replace(self.record.history, streak=0)
            self._change(history=history, failed_before=0)
        return seconds

    def wait_of_old(self) -> float:
        """Seconds until the next start, by a backoff that an earlier supervisor had begun."""
        wall = self._around.wall()
        wait = left_to_wait(self.record, wall)
        if self.record.restart_at is not None and self.record.restart_at > wall + wait:
            self.write(restart_at=wall + wait)  # a clock set back: correct the record
        return wait

    def launch(self, ports: Mapping[str, int]) -> Launch:
        """The next start of the task, counted. It is recorded with its instance, before the program
        runs; and with it how the last one ended, where this follows at once."""
        self._is_launched = self._is_together
        self._change(
            starts=self.record.starts + 1,
            phase=max(self.record.phase, Phase.STARTING),
            restart_at=None,
            restart_delay=None,
        )
        task, spec = self.record.id, self.record.spec
        token = f"{self._around.chance.getrandbits(32):08x}"
        name = instance_id(task, self.record.starts, token)
        env = self._environment(name, ports)
        return Launch(
            id=name,
            task=task,
            spec=spec,
            command=expand(spec.command or Argv(), env),
            args=None if spec.args is None else expand(spec.args, env),
            env=env,
            ports=ports,
        )

    def target(self, running: RunningInstance) -> Target:
        """The target of a running instance's checks; `$(NAME)` works in their commands too."""
        instance = running.instance
        env: dict[str, str] = {}  # made for the first command: most checks are none

        async def run(argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
            if not env:
                env.update(self._environment(instance.id, instance.ports))
            command = expand(argv, env)
            return await running.run(command, timeout=timeout, output_limit=output_limit)

        service = self.record.spec.name
        return Target(
            address=instance.address,
            ports=instance.ports,
            run=run,
            service=service,
            owns_listener=running.owns_listener,
        )

    def _environment(self, instance: str, ports: Mapping[str, int]) -> dict[str, str]:
        return environment(
            self.record.spec,
            task=self.record.id,
            instance=instance,
            node=self._around.node,
            ports=ports,
            inherited=self._around.inherited,
        )
