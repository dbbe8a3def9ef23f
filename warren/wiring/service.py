"""A handle of one service of a supervisor. What it does is the manager's doing; how its tasks are
is what the node knows now."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import trio

from warren.manager.program import Manager
from warren.model.cluster import Desired, Entry, ServiceRow, TaskRow
from warren.model.errors import SpecError, UnavailableError, WarrenError
from warren.model.field_types import check_type
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.model.view import WatchWanted
from warren.node.agent import NodeAgent
from warren.rules.health import Health, has_failed_for_good, summarize

_STOPPED, _REMOVED = "stop asked", "it was removed"
_log = logging.getLogger("warren.supervisor")


class ServiceEndedError(WarrenError):
    """A service that a caller waits for has ended. `str()` says which and why."""


class ServiceFailedError(WarrenError):
    """A task of a service that a caller waits for was given up. `str()` says why. Another follows
    it, at once or after a while: who wants to may wait on."""


class Lifetime:
    """Of a supervisor: what its handles are asked for ends with it."""

    def __init__(self) -> None:
        self.is_over = False
        self._asked = set[trio.CancelScope]()

    def __repr__(self) -> str:
        return f"<Lifetime {'over' if self.is_over else f'of {len(self._asked)} calls'}>"

    @contextmanager
    def within(self) -> Generator[None]:
        """Raises UnavailableError once it is over, also from the middle of the block."""
        self._refuse_over()
        with trio.CancelScope() as scope:
            self._asked.add(scope)
            try:
                yield
            finally:
                self._asked.discard(scope)
        if scope.cancelled_caught:
            self._refuse_over()

    def end(self) -> None:
        """It is over."""
        self.is_over = True
        for scope in self._asked:
            scope.cancel()

    def _refuse_over(self) -> None:
        if self.is_over:
            raise UnavailableError("the supervisor has ended: its block was left")


class Service:
    """A service that was started. Made by `Supervisor.start`.

    `update`, `scale` and `restart` return when they are durable, and `wait_ready` when they are
    done. All raise WarrenError where the manager refuses: SpecError for a bad spec,
    UnavailableError where its disk is full, or where the supervisor has ended.
    """

    def __init__(
        self, spec: ServiceSpec, manager: Manager, agent: NodeAgent, life: Lifetime
    ) -> None:
        self._spec = spec
        self._life = life
        self._manager = manager
        self._agent = agent
        self._cluster = manager.commit_log.cluster
        self._begun = manager.commit_log.store.last_seq
        self._wanted = WatchWanted(service=spec.name)
        self._stopped = ""  # why, by this handle

    def __repr__(self) -> str:
        return f"<Service {self.name}: {self.health()}>"

    @property
    def name(self) -> str:
        """The service's name."""
        return self._spec.name

    @property
    def spec(self) -> ServiceSpec:
        """What is wanted of it now, or was last."""
        row = self._row()
        if row is not None:
            self._spec = row.spec
        return self._spec

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs, and nothing will by itself."""
        if self._is_stopped(self._row()):
            return not self._cluster.slots(self.name).alive
        return self._cluster.is_over(self.name)

    def statuses(self) -> list[TaskStatus]:
        """The current tasks as they stand now, in the order of slots."""
        return [self._status(row) for row in self._cluster.current(self.name)]

    def health(self) -> Health:
        """How many of the replicas wanted are ready."""
        rows = self._cluster.current(self.name)
        tasks = [self._status(row) for row in rows if row.desired is Desired.RUN]
        failed = sum(has_failed_for_good(self.spec, task) for task in tasks)
        return summarize(self.spec.replicas, tasks, failed=failed)

    async def wait_ready(self) -> None:
        """Wait until every replica is ready, of the newest spec. Returns at once where none is
        wanted.

        Raises ServiceEndedError where it will never be: it was stopped, or ended for good; and
        ServiceFailedError when a task is given up meanwhile, after all its restarts.
        """
        known = self._failures()
        told = set[str]()
        while True:
            row = self._row()
            if self._is_stopped(row) or row is None or row.is_removing or self.has_ended:
                raise ServiceEndedError(f"service {self.name} has ended: {self._why_ended()}")
            if self._is_done(row) and self.health().healthy >= row.spec.replicas:
                return
            self._refuse_failed(known)
            self._tell_waiting(told)
            await self._wait_change()

    async def wait_ended(self) -> None:
        """Wait until it was stopped, or has ended for good."""
        while not self.has_ended:
            await self._wait_change()

    async def events(self) -> AsyncGenerator[Entry, None]:
        """What has happened to it since it was started here, and then what happens, without an
        end."""
        after = self._begun
        while True:
            with self._life.within():
                entries = await self._manager.operator.events(
                    after=after, about=self.name, wait=True
                )
            for entry in entries:
                after = entry.seq
                yield entry

    async def update(self, spec: ServiceSpec) -> None:
        """Change what is wanted of it: its tasks are replaced one slot at a time."""
        check_type("spec", spec, ServiceSpec)
        if spec.name != self.name:
            wanted = f"want {self.name}: a service keeps its name"
            raise SpecError("name", wanted, value=spec.name)
        with self._life.within():
            await self._manager.operator.update(spec)
        self._stopped = ""

    async def scale(self, replicas: int) -> None:
        """Change the number of replicas."""
        with self._life.within():
            await self._manager.operator.scale(self.name, replicas)
        self._stopped = ""

    async def restart(self) -> None:
        """Replace every task, one slot at a time."""
        with self._life.within():
            await self._manager.operator.restart(self.name)

    async def stop(self) -> None:
        """Stop every task, gently, and wait until nothing of them is left. Harmless twice (S15).
        `scale` starts it again."""
        row = self._row()
        if row is not None and not row.is_removing and row.spec.replicas:
            with self._life.within():
                await self._manager.operator.scale(self.name, 0)
        self._stopped = self._stopped or _STOPPED
        await self.wait_ended()

    async def remove(self) -> None:
        """Stop it, and remove everything of it."""
        row = self._row()
        if row is None:
            return
        with self._life.within():
            await self._manager.operator.remove(self.name)
        self._stopped = self._stopped or _STOPPED
        while (found := self._row()) is not None and found.created_at == row.created_at:
            await self._wait_change()

    def _refuse_failed(self, known: dict[int, int]) -> None:
        """Raises ServiceFailedError where a task has failed that is not among those known."""
        failures = self._failures()
        for slot, count in failures.items():
            end = self._cluster.slot(self.name, slot)[-1].status.last_end
            if count > known.get(slot, 0) and end is not None and end.is_failure:
                said = f"{self.name}.{slot} has failed: {end.message}"
                raise ServiceFailedError(f"service {self.name} is not ready: {said}")
        known.update(failures)  # they begin anew with a new spec, and with good running

    def _tell_waiting(self, told: set[str]) -> None:
        """Log why no node takes a task, once: that may last for ever."""
        for slot in self._cluster.slots(self.name).stuck:
            row = self._cluster.slot(self.name, slot)[-1]
            reason = row.status.pending_reason
            if reason and reason not in told:
                told.add(reason)
                _log.warning("%s is pending: %s", row.id, reason)

    def _failures(self) -> dict[int, int]:
        """How many tasks in a row have ended, by slot: those that failed, and also some that were
        stopped with their node."""
        return {
            row.id.slot: row.status.failed_before + (row.phase is Phase.FAILED)
            for row in self._cluster.current(self.name)
        }

    def _is_done(self, row: ServiceRow) -> bool:
        """Whether the manager has nothing left to wait for. The node may know better by now."""
        slots = self._cluster.slots(self.name)
        is_changing = slots.outdated or slots.unsettled
        return not is_changing and len(slots.ready) >= row.spec.replicas

    def _is_stopped(self, row: ServiceRow | None) -> bool:
        """Whether by this handle, and nobody has scaled it up again since."""
        return bool(self._stopped) and (row is None or row.is_removing or not row.spec.replicas)

    def _row(self) -> ServiceRow | None:
        return self._cluster.services.get(self.name)

    def _status(self, row: TaskRow) -> TaskStatus:
        return self._agent.status(row.id) or row.status

    async def _wait_change(self) -> None:
        with self._life.within():
            await self._manager.watchers.wait(self._wanted)

    def _why_ended(self) -> str:
        if self._stopped:
            return self._stopped
        row = self._row()
        if row is not None and row.is_removing:
            return "it is being removed"
        rows = self._cluster.current(self.name)
        if not rows:
            return _REMOVED
        ends = (f"{row.id} {row.phase}" for row in rows)
        reasons = (row.status.last_end.message for row in rows if row.status.last_end)
        return f"{', '.join(ends)}: {next(iter(reasons), 'no reason')}"
