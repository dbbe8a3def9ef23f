"""Manager and node in one process, as `warren up` has them: the same two, the same interfaces.

    store -> manager -> its socket -> the file applied -> node, linked -> ... -> node, manager

The file is applied before the node is there, so that nothing starts that is not wanted any more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from warren.cli.compose import NETWORK_CHECKS, open_manager_here, open_node_here
from warren.cli.feed import Feed
from warren.cli.reporter import Reporter
from warren.manager.program import Manager
from warren.model.address import Address
from warren.model.link import Gate
from warren.model.service import ServiceSpec
from warren.node.program import Node
from warren.store.upnote import UpNote, read_note, write_note
from warren.transport.memory import memory_gate
from warren.transport.server import serve_gate


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """What a stage is made with. `specs` None: there is no file."""

    data_dir: Path
    node: str
    addresses: Sequence[Address]
    insecure: bool = False
    specs: Sequence[ServiceSpec] | None = None
    network_checks: int = NETWORK_CHECKS
    exec_checks: int | None = None


@dataclass(frozen=True)
class Stage:
    """A manager and its node."""

    manager: Manager
    node: Node


@asynccontextmanager
async def open_stage(options: StageOptions, reporter: Reporter) -> AsyncGenerator[Stage, None]:
    """Both, told of to `reporter`. Leaving the block stops every task, gently."""
    async with open_manager_here(options.data_dir) as manager, trio.open_nursery() as nursery:
        feed = Feed(manager.books, reporter)
        note = await _apply(manager, options)
        feed.begin()
        for address in options.addresses:
            serve = partial(serve_gate, manager.gate, address, insecure=options.insecure)
            await nursery.start(serve)

        def dial() -> AbstractAsyncContextManager[Gate]:
            return memory_gate(manager.gate)

        async with open_node_here(
            options.data_dir,
            dial,
            node=options.node,
            stops_tasks=True,
            publish=feed.publish,
            network_checks=options.network_checks,
            exec_checks=options.exec_checks,
        ) as node:
            reporter.attach(node.agent.status)
            yield Stage(manager, node)
        write_note(options.data_dir, UpNote(services=note.services))
        nursery.cancel_scope.cancel()


async def _apply(manager: Manager, options: StageOptions) -> UpNote:
    """Make it as the file says; what an earlier file had and this one has not goes."""
    before = read_note(options.data_dir)
    operator = manager.operator
    services = before.services
    if options.specs is not None:
        services = tuple(spec.name for spec in options.specs)
        for name in before.services:
            if name not in services and name in manager.books.world.services:
                await operator.remove(name)
        await operator.apply(options.specs)
        if before.has_ended:
            operator.run_again(services)
    note = UpNote(services=services, has_ended=False)
    write_note(options.data_dir, note)
    return note
