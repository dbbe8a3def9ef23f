"""The library's front door: a manager and its node in the caller's own program.

open_supervisor -> open_one_process -> manager, node      as `warren up`, without its sockets
Supervisor, Service                                       handles of what the manager holds
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

import msgspec
import trio

from warren.client.phrases import sentence
from warren.manager.program import Manager
from warren.model.errors import FieldError, NotFoundError, SpecError, WarrenError, shown
from warren.model.event import EventKind, TaskEvent
from warren.model.field_types import check_type
from warren.model.identity import NAME_WANTED, is_name
from warren.model.rpc import Cluster
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.model.view import WatchWanted
from warren.node.program import Node
from warren.resilience.boundary import survived
from warren.resilience.exception_groups import unwrapped
from warren.rules.admission import admit
from warren.rules.environment import undefined
from warren.store.up_record import UpRecord, note_end, read_note, write_note
from warren.wiring.one_process import OpenBetween, open_one_process
from warren.wiring.parts import NETWORK_CHECKS, NodeOptions, Publish
from warren.wiring.service import Lifetime, Service

if TYPE_CHECKING:
    import httpx

WATCH_BUFFER = 1000  # events that a watcher may be behind before it loses some
Transition = tuple[TaskStatus, TaskEvent]
_log = logging.getLogger("warren.supervisor")


@asynccontextmanager
async def open_supervisor(
    *,
    data_dir: Path | None = None,
    node: str = "local",
    publish: Publish | None = None,
    network_checks: int = NETWORK_CHECKS,
    exec_checks: int | None = None,
    http_transport: httpx.AsyncBaseTransport | None = None,
    samples_kept: int = 20,
) -> AsyncGenerator[Supervisor, None]:
    """A manager and its node in this program; leaving the block stops every task, gently, and an
    exception or a cancellation kills them. Either way nothing is left when it returns.

    `data_dir` keeps what the next supervisor needs to go on with the services after a `kill -9`;
    None is a temporary directory, removed at the end. `publish` is called on every transition
    and must be quick; what it raises is logged. `network_checks` and `exec_checks` are how many
    attempts may be in flight at once; None is two per core. Raises WarrenError where it cannot
    open, and what the block raises, by itself and not in a group.
    """
    check_type("data_dir", data_dir, Path, str, NoneType)
    check_type("node", node, str)
    if not is_name(node):
        raise FieldError("node", node, NAME_WANTED)
    for name, count in (("network_checks", network_checks), ("samples_kept", samples_kept)):
        _check_count(name, count)
    if exec_checks is not None:
        _check_count("exec_checks", exec_checks)
    if not (publish is None or callable(publish)):
        raise FieldError("publish", publish, "want a function of (status, event)")
    if not (http_transport is None or hasattr(http_transport, "handle_async_request")):
        raise FieldError("http_transport", http_transport, "want an httpx.AsyncBaseTransport")
    options = NodeOptions(
        node=node,
        network_checks=network_checks,
        exec_checks=exec_checks,
        http_transport=http_transport,
        samples_kept=samples_kept,
    )
    with unwrapped(), _directory(data_dir) as directory:
        opening = partial(open_one_process, directory, options, in_memory=data_dir is None)
        async with open_supervision(
            opening, data_dir=data_dir and directory, publish=publish
        ) as supervisor:
            yield supervisor


@asynccontextmanager
async def open_supervision(
    opening: Callable[
        [OpenBetween[Transitions]],
        AbstractAsyncContextManager[tuple[Manager, Node, Transitions]],
    ],
    *,
    data_dir: Path | None = None,
    publish: Publish | None = None,
) -> AsyncGenerator[Supervisor, None]:
    """A supervisor of what is opened so; see `open_supervisor`."""
    run = _Run(data_dir)
    async with opening(partial(_between, run, publish)) as (manager, node, transitions):
        supervisor = Supervisor(manager, node, transitions)
        try:
            yield supervisor
            await supervisor.remove_unclaimed()
        finally:
            supervisor.life.end()
            run.note_end()


class Supervisor:
    """Runs services on this machine. Made by `open_supervisor`. `services` are those started here;
    `cluster` is all that a client of a manager can do."""

    def __init__(self, manager: Manager, node: Node, transitions: Transitions) -> None:
        self.services: dict[str, Service] = {}
        self.cluster: Cluster = manager.operator
        self.life = Lifetime()
        self._starting = set[str]()
        self._manager = manager
        self._agent = node.agent
        self._transitions = transitions

    def __repr__(self) -> str:
        return f"<Supervisor{' that has ended' * self.life.is_over}: {len(self.services)} services>"

    async def start(self, spec: ServiceSpec) -> Service:
        """Start a service, going on with what an earlier supervisor left running of it. Returns
        when that is durable.

        Raises SpecError where the spec cannot be run here or the name is taken.
        """
        check_type("spec", spec, ServiceSpec)
        spec = admit(spec)
        before = self.services.get(spec.name)
        if spec.name in self._starting or (before is not None and not before.has_ended):
            raise SpecError(f"services.{spec.name}", "runs already; stop it first")
        for said in undefined(spec):
            _log.warning("%s", said)
        service = Service(spec, self._manager, self._agent, self.life)
        self._starting.add(spec.name)
        try:
            with self.life.within():
                await self._apply(spec, is_again=before is not None)
        finally:
            self._starting.discard(spec.name)
        self.services[spec.name] = service
        return service

    async def stop(self, name: str) -> None:
        """Stop a service and forget it, its output too. Raises NotFoundError for one that was not
        started here."""
        service = self.services.get(name)
        if service is None:
            raise NotFoundError(f"no service {shown(name)} was started here")
        await service.remove()
        if self.services.get(name) is service:  # else it was started anew meanwhile
            del self.services[name]

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[trio.MemoryReceiveChannel[Transition], None]:
        """Every transition from here on, as (status, event), from the node itself. A watcher that
        is more than WATCH_BUFFER behind loses the newest; the status is always complete."""
        with self._transitions.watched() as receive:
            yield receive

    async def remove_unclaimed(self) -> None:
        """Remove the services of an earlier run that no `start` has asked for."""
        for name in self._manager.commit_log.cluster.services.keys() - self.services.keys():
            try:
                await self.cluster.remove(name)
            except WarrenError as error:  # the disk is full, say: it is stopped all the same
                _log.error("service %s of an earlier run is not removed: %s", name, error)

    async def _apply(self, spec: ServiceSpec, *, is_again: bool) -> None:
        await self._wait_removed(spec.name)
        await self.cluster.apply([spec])
        if is_again:
            self._manager.operator.run_again([spec.name])

    async def _wait_removed(self, name: str) -> None:
        """Wait until a service that is being removed is gone."""
        services = self._manager.commit_log.cluster.services
        while name in services and services[name].is_removing:
            await self._manager.watchers.wait(WatchWanted(service=name))


class Transitions:
    """Tells every transition to whoever watches, and to `publish`."""

    def __init__(self, publish: Publish | None = None) -> None:
        self._outer = publish
        self._watchers = set[trio.MemorySendChannel[Transition]]()

    def __repr__(self) -> str:
        return f"<Transitions: {len(self._watchers)} watchers>"

    def publish(self, status: TaskStatus, event: TaskEvent) -> None:
        """From the node."""
        if _is_failure(status, event):
            _log.warning("%s %s", event.task, sentence(status, event))
        if self._outer is not None:
            with survived(f"`publish`, called with {event.message!r} of {event.task},"):
                self._outer(status, event)
        for watcher in self._watchers:
            try:
                watcher.send_nowait((status, event))
            except trio.WouldBlock:
                _log.warning("a watcher is behind and has lost an event: %s", event.message)

    @contextmanager
    def watched(self) -> Generator[trio.MemoryReceiveChannel[Transition], None, None]:
        """What comes as long as the block lasts."""
        send, receive = trio.open_memory_channel[Transition](WATCH_BUFFER)
        self._watchers.add(send)
        try:
            with send, receive:
                yield receive
        finally:
            self._watchers.discard(send)


def _is_failure(status: TaskStatus, event: TaskEvent) -> bool:
    """Whether a caller who watches nothing should read of it."""
    if event.kind is EventKind.RESTARTING:
        return status.last_end is not None and status.last_end.is_failure
    return event.kind is EventKind.FINISHED and status.phase in (Phase.FAILED, Phase.CRASHED)


class _Run:
    """A supervisor's run on a data directory, as the next one has to know it: after an end in order
    nothing of it runs on, after a `kill -9` everything does. None: there is no next one."""

    def __init__(self, data_dir: Path | None) -> None:
        self._directory = data_dir
        self._note = UpRecord()

    async def begin(self, manager: Manager) -> None:
        """Before anything is started: only what is asked for runs. Raises WarrenError."""
        if self._directory is None:
            return
        self._note = read_note(self._directory)
        if self._note.has_ended:
            rows = manager.commit_log.cluster.services.values()
            kept = [row.spec for row in rows if not row.is_removing]
            await manager.operator.apply(
                [msgspec.structs.replace(spec, replicas=0) for spec in kept]
            )
            manager.operator.begin_anew(spec.name for spec in kept)
        write_note(self._directory, msgspec.structs.replace(self._note, has_ended=False))

    def note_end(self) -> None:
        """It has ended, and not by a `kill -9`."""
        if self._directory is None:
            return
        try:
            note_end(self._directory, self._note)
        except WarrenError as error:  # the disk is full, say: the tasks are still stopped
            _log.error("%s; the next supervisor goes on with all services", error)


@asynccontextmanager
async def _between(
    run: _Run, publish: Publish | None, manager: Manager
) -> AsyncGenerator[Transitions, None]:
    await run.begin(manager)
    yield Transitions(publish)


def _check_count(field: str, count: int) -> None:
    check_type(field, count, int)
    if count < 1:
        raise FieldError(field, count, "want at least 1")


@contextmanager
def _directory(chosen: Path | None) -> Generator[Path, None, None]:
    if chosen is not None:
        yield Path(os.path.realpath(chosen))
        return
    with tempfile.TemporaryDirectory(prefix="warren-") as made:
        yield Path(made)
