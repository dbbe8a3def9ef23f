"""The composition root: the concrete parts that a supervisor and a manager run on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from warren.checks import Checker, ConcurrencyCaps
from warren.engine.places import EnginePlaces, usual_engines
from warren.manager.program import Manager, open_manager
from warren.model.errors import WarrenError
from warren.model.event import TaskEvent
from warren.model.node_description import NO_LABELS
from warren.model.task import TaskStatus
from warren.node.manager_link import Dial
from warren.node.program import Node, open_node
from warren.nursery.dependencies import Dependencies
from warren.process.descriptors import Descriptors
from warren.resilience.conditions import Conditions
from warren.resilience.start_limit import StartLimit
from warren.runtime.engine import EngineRuntime
from warren.runtime.port_allocator import PortAllocator
from warren.runtime.process import ProcessRuntime
from warren.runtime.runtimes import Runtimes
from warren.store.journal import SqliteJournal, known_manager
from warren.store.lock import locked
from warren.store.state import StateStore
from warren.wiring.data_dir import DATABASE, PlatformError
from warren.wiring.data_dir_watch import serve_keeping
from warren.wiring.describe import LiveDescriber

if TYPE_CHECKING:
    import httpx

NETWORK_CHECKS = 256  # in flight at once on a node (S10)
JOURNAL = "journal.sqlite"
PATIENCE = 2.0  # seconds


class StrangerError(WarrenError):
    """A manager's state is not that of the manager which the tasks of this node belong to."""


Publish = Callable[[TaskStatus, TaskEvent], None]


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """How this machine is a node. `network_checks` and `exec_checks` may be in flight at once, None
    is two per core; `samples_kept` outcomes are kept of every probe. With `new_manager` it belongs
    to the manager it reaches from now on. `soft_limit` of descriptors is what tasks get; None
    leaves them this process's own. `labels` and `address` are announced with what it has.
    `engines` None looks for Docker and Podman at their usual sockets."""

    node: str = "local"
    network_checks: int = NETWORK_CHECKS
    exec_checks: int | None = None
    http_transport: httpx.AsyncBaseTransport | None = None
    samples_kept: int = 20
    new_manager: bool = False
    soft_limit: int | None = None
    # 3.11 takes the value itself for mutable.
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    address: str = ""
    engines: tuple[EnginePlaces, ...] | None = None


@asynccontextmanager
async def open_manager_here(data_dir: Path | None) -> AsyncGenerator[Manager, None]:
    """The manager whose state is in this data directory; None: in memory. Raises WarrenError."""
    with ExitStack() as held:
        hold = data_dir and held.enter_context(locked(data_dir, role="manager"))
        store = held.enter_context(closing(StateStore.open(data_dir and data_dir / DATABASE)))
        async with (
            open_manager(store, wall=time.time, patience=PATIENCE) as manager,
            trio.open_nursery() as nursery,
        ):
            if hold is not None:
                nursery.start_soon(partial(serve_keeping, hold, manager.conditions, log=store.log))
            yield manager
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_node_here(
    data_dir: Path,
    dial: Dial,
    options: NodeOptions,
    *,
    stops_tasks: bool,
    publish: Publish | None = None,
) -> AsyncGenerator[Node, None]:
    """This machine as a node, its manager reached by `dial`. Raises WarrenError."""
    async with _open_surroundings(data_dir, options, publish) as (around, runtimes):
        if options.new_manager:
            around.journal.note_manager("")
        async with open_node(around, runtimes.logs, dial, stops_tasks=stops_tasks) as here:
            yield here


def refuse_stranger(data_dir: Path, manager: Manager) -> None:
    """Raises StrangerError where the node of this data directory belongs to another manager."""
    known, found = known_manager(data_dir / JOURNAL), manager.commit_log.store.manager_id
    if known not in ("", found):
        said = f"is of another manager ({found}) than the tasks here ({known}); it was lost,"
        done = "emptied or replaced. Nothing was started, and what runs was left alone. Put it back"
        wanted = "(warren db restore FILE), or begin anew, once, with --new-manager: tasks that are"
        raise StrangerError(
            f"{data_dir / DATABASE}: {said} {done} {wanted} not of it are then ended"
        )


@asynccontextmanager
async def _open_surroundings(
    directory: Path, options: NodeOptions, publish: Publish | None
) -> AsyncGenerator[tuple[Dependencies, Runtimes], None]:
    """The external parts of a node's tasks on this machine, its data directory locked."""
    if sys.platform != "linux":
        raise PlatformError(f"Warren runs on Linux; this is {sys.platform}")
    with (
        locked(directory, role="node") as hold,
        closing(SqliteJournal(directory / JOURNAL)) as journal,
    ):
        journal.refuse_copy()
        conditions = Conditions()
        descriptors = Descriptors()
        runtime = ProcessRuntime(
            data_dir=directory,
            node=options.node,
            conditions=conditions,
            soft_limit=options.soft_limit,
        )
        engines = [
            EngineRuntime(
                places,
                token=runtime.token,
                data_dir=directory,
                logs=runtime.logs,
                conditions=conditions,
            )
            for places in _engines(options)
        ]
        runtimes = Runtimes([runtime, *engines])
        describer = LiveDescriber(runtimes, labels=options.labels, address=options.address)
        make = partial(
            Dependencies,
            node=options.node,
            # The machine's own clock: the next supervisor has the same grids (S7).
            grid_origin=trio.current_time() - time.monotonic(),
            runtime=runtimes,
            check=ConcurrencyCaps(
                Checker(transport=options.http_transport),
                network=options.network_checks,
                exec=options.exec_checks,
                conditions=conditions,
            ),
            ports=PortAllocator(salt=runtime.token),
            journal=journal,
            publish=publish or _publish_to_nobody,
            inherited=dict(os.environ),
            samples_kept=options.samples_kept,
            conditions=conditions,
            starts=StartLimit(shortage=descriptors.shortage),
            lacking=descriptors.lacking,
            containment=runtime.trees.containment,
            describer=describer,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(runtimes.serve)
            around = make(description=describer.now())  # what answers by now
            nursery.start_soon(partial(serve_keeping, hold, conditions, journal=journal))
            yield around, runtimes
            nursery.cancel_scope.cancel()


def _engines(options: NodeOptions) -> tuple[EnginePlaces, ...]:
    if options.engines is None:
        return usual_engines(os.environ, os.geteuid())
    return options.engines


def _publish_to_nobody(status: TaskStatus, event: TaskEvent) -> None:
    pass
