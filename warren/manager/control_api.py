"""The operator's edits: each is a few changes, refused whole or committed whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from warren.manager.read_api import Inside, ReadApi
from warren.model.cluster import (
    AddEvent,
    Change,
    DropNode,
    Entry,
    PutService,
    PutTask,
    ServiceRow,
    TaskRow,
)
from warren.model.errors import ConflictError, InvalidError, NotFoundError
from warren.model.event import EventFacts, EventKind
from warren.model.plural import counted
from warren.model.principal import Principal
from warren.model.service import ServiceSpec, has_same_tasks
from warren.model.task import Phase
from warren.model.view import Action, Applied, NodeState, ServiceView
from warren.rules.admission import admit
from warren.rules.spec_changes import edit_facts, in_words
from warren.state.slot_index import RUN_AGAIN


class ControlApi(ReadApi):
    """Implements `Cluster` for one principal, which is in the event of every edit."""

    def __init__(self, inside: Inside, principal: Principal) -> None:
        super().__init__(inside)
        self._principal = principal

    async def create(self, spec: ServiceSpec) -> ServiceView:
        await self._commit_log.ready()
        spec = admit(spec)
        if spec.name in self._commit_log.cluster.services:
            self._refuse_removing(spec.name)
            raise ConflictError(f"service {spec.name} exists already; want another name, or update")
        self._refuse_unread(spec.name)
        self._commit_log.commit(self._created(spec))
        return await self._edited(spec.name)

    async def update(self, spec: ServiceSpec, *, base: int = 0) -> ServiceView:
        await self._commit_log.ready()
        spec = admit(spec)
        row = self._editable(spec.name)
        if base and base != row.version:
            said = f"service {spec.name} was changed meanwhile: it is at version {row.version}"
            raise ConflictError(f"base: {base}: {said}")
        self._commit_log.commit(self._changed(row, spec))
        return await self._edited(spec.name)

    async def scale(self, name: str, replicas: int) -> ServiceView:
        await self._commit_log.ready()
        row = self._editable(name)
        spec = admit(msgspec.structs.replace(row.spec, replicas=replicas))
        self._commit_log.commit(self._changed(row, spec))
        return await self._edited(name)

    async def restart(self, name: str) -> ServiceView:
        await self._commit_log.ready()
        row = self._editable(name)
        version = row.version + 1
        new = msgspec.structs.replace(
            row,
            version=version,
            revision=version,
            restarts_asked=row.restarts_asked + 1,
            updated_at=self._commit_log.now(),
        )
        event = self._event(name, EventKind.RESTARTED, "restart asked")
        self._commit_log.commit([PutService(new), event])
        return await self._edited(name)

    async def remove(self, name: str) -> None:
        await self._commit_log.ready()
        row = self._row(name)
        self._commit_log.commit(self._removing(row))
        await self._commit_log.settle()

    async def remove_node(self, name: str, *, force: bool = False) -> None:
        await self._commit_log.ready()
        row = self._commit_log.cluster.nodes.get(name)
        if row is None:
            raise NotFoundError(f"no such node: {name}")
        state = self._dispatcher.state(row)
        if state is not NodeState.DOWN and not force:
            left = self._commit_log.cluster.count_on(name)
            tasks = f"its {left} task{'' if left == 1 else 's'} would be lost"
            raise ConflictError(f"node {name} is {state.value}, {tasks}; want it down, or --force")
        said, facts = f"node {name} is removed", EventFacts(node=name)
        event = self._event(name, EventKind.REMOVED, said, facts, service="")
        self._commit_log.commit([DropNode(name), event])
        self._dispatcher.dismiss(name)
        await self._commit_log.settle()

    async def apply(
        self, specs: Sequence[ServiceSpec], *, prune: bool = False, dry_run: bool = False
    ) -> list[Applied]:
        await self._commit_log.ready()
        _refuse_twins(specs)
        wanted = [admit(spec) for spec in specs]
        changes, done = list[Change](), list[Applied]()
        for spec in wanted:
            action, made = self._made_so(spec)
            changes += made
            done.append(Applied(spec.name, action))
        if prune:
            names = {spec.name for spec in wanted}
            for row in self._commit_log.cluster.services.values():
                if row.name not in names and not row.is_removing:
                    changes += self._removing(row)
                    done.append(Applied(row.name, Action.REMOVED))
        if not dry_run:
            self._commit_log.commit(changes)
            await self._commit_log.settle()
        return done

    def _shown(self, spec: ServiceSpec) -> ServiceSpec:
        return spec

    async def _edited(self, name: str) -> ServiceView:
        """The service as it is wanted now, once that is durable; without its tasks: they may be
        thousands, and an edit needs none of them."""
        row = self._row(name)
        await self._commit_log.settle()
        return ServiceView(
            spec=row.spec,
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def run_again(self, services: Iterable[str]) -> None:
        """Run jobs of these services that have ended for good again, as new tasks."""
        cluster = self._commit_log.cluster
        rows = [row for name in services for row in cluster.current(name) if row.has_ended]
        self._commit_log.commit([PutTask(_had_its_life(row)) for row in rows])

    def begin_anew(self, services: Iterable[str]) -> None:
        """All tasks of these were stopped, unknown to this manager: others follow them."""
        cluster = self._commit_log.cluster
        rows = [row for name in services for row in cluster.current(name)]
        self._commit_log.commit([PutTask(_had_its_life(row)) for row in rows])

    def begin_anew_on(self, node: str) -> None:
        """The same of the tasks of a node, which does not come back."""
        cluster = self._commit_log.cluster
        rows = [cluster.tasks[task] for task in cluster.on_node(node)]
        self._commit_log.commit([PutTask(_had_its_life(row)) for row in rows])

    def _made_so(self, spec: ServiceSpec) -> tuple[Action, list[Change]]:
        if spec.name not in self._commit_log.cluster.services:
            self._refuse_unread(spec.name)
            return Action.CREATED, self._created(spec)
        row = self._editable(spec.name)
        if row.spec == spec:
            return Action.UNCHANGED, []
        action = Action.SCALED if has_same_tasks(row.spec, spec) else Action.UPDATED
        return action, self._changed(row, spec)

    def _created(self, spec: ServiceSpec) -> list[Change]:
        now = self._commit_log.now()
        row = ServiceRow(
            spec=spec,
            version=1,
            revision=1,
            created_at=now,
            updated_at=now,
            first_number=self._commit_log.last_number(spec.name) + 1,
        )
        facts = EventFacts(replicas=spec.replicas)
        said = f"{counted(spec.replicas, 'replica')} wanted"
        return [PutService(row), self._event(spec.name, EventKind.CREATED, said, facts)]

    def _changed(self, row: ServiceRow, spec: ServiceSpec) -> list[Change]:
        """An edit; nothing where nothing changes."""
        if row.spec == spec:
            return []
        version = row.version + 1
        is_scaled = has_same_tasks(row.spec, spec)
        new = msgspec.structs.replace(
            row,
            spec=spec,
            version=version,
            revision=row.revision if is_scaled else version,
            updated_at=self._commit_log.now(),
        )
        facts = edit_facts(row.spec, spec)
        kind = EventKind.SCALED if is_scaled else EventKind.UPDATED
        return [PutService(new), self._event(row.name, kind, in_words(facts), facts)]

    def _removing(self, row: ServiceRow) -> list[Change]:
        if row.is_removing:
            return []
        new = msgspec.structs.replace(row, is_removing=True, updated_at=self._commit_log.now())
        return [PutService(new), self._event(row.name, EventKind.REMOVING, "removal asked")]

    def _editable(self, name: str) -> ServiceRow:
        row = self._row(name)
        self._refuse_removing(name)
        return row

    def _refuse_removing(self, name: str) -> None:
        if self._commit_log.cluster.services[name].is_removing:
            raise ConflictError(f"service {name} is being removed; want to wait until it is gone")

    def _event(
        self,
        subject: str,
        kind: EventKind,
        message: str,
        facts: EventFacts | None = None,
        *,
        service: str | None = None,
    ) -> AddEvent:
        """By the principal; about a service of the subject's name, if nothing else is said."""
        entry = Entry(
            at=self._commit_log.now(),
            kind=kind,
            subject=subject,
            message=message,
            service=subject if service is None else service,
            by=str(self._principal),
            facts=facts,
        )
        return AddEvent(entry)


def _had_its_life(row: TaskRow) -> TaskRow:
    # Earlier failures do not count for the next one: it starts at once, however often it ran.
    if row.has_ended:  # and stays what it is: complete, say
        return msgspec.structs.replace(row, stop_reason=RUN_AGAIN)
    status = msgspec.structs.replace(row.status, phase=Phase.STOPPED, ready=False, failed_before=0)
    return msgspec.structs.replace(row, status=status, failed_before=0)


def _refuse_twins(specs: Sequence[ServiceSpec]) -> None:
    seen = set[str]()
    for spec in specs:
        if spec.name in seen:
            raise InvalidError(f"services.{spec.name}: is given twice")
        seen.add(spec.name)
