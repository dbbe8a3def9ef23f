"""Manager and node in one process, for `warren up`: the same two, with the same interfaces.

    store -> manager -> its socket -> the file applied -> node, linked -> ... -> node, manager

The file is applied before the node is there, so that nothing starts that is not wanted any more;
except for services that are still being removed, which needs the node.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from warren.cli.live.callers import Callers
from warren.cli.live.reporter import Reporter
from warren.cli.live.up_file import UpFile
from warren.cli.live.watch import UpWatch
from warren.manager.program import Manager
from warren.model.address import Address
from warren.model.rpc import Gate
from warren.model.service import ServiceSpec
from warren.node.program import Node
from warren.transport.memory import memory_gate
from warren.transport.server import serve_gate
from warren.wiring.parts import (
    NETWORK_CHECKS,
    open_manager_here,
    open_node_here,
    refuse_stranger,
)


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """The arguments of a stage. `specs` None: there is no file."""

    data_dir: Path
    node: str
    addresses: Sequence[Address]
    insecure: bool = False
    specs: Sequence[ServiceSpec] | None = None
    network_checks: int = NETWORK_CHECKS
    exec_checks: int | None = None
    new_manager: bool = False
    soft_limit: int | None = None


@dataclass(frozen=True)
class UpStage:
    """A manager and its node, the file they were started with, and the connected clients."""

    manager: Manager
    node: Node
    file: UpFile
    callers: Callers


@asynccontextmanager
async def open_stage(options: StageOptions, reporter: Reporter) -> AsyncGenerator[UpStage, None]:
    """Both, reported to `reporter`. Leaving the block stops every task, gently."""
    async with open_manager_here(options.data_dir) as manager, trio.open_nursery() as nursery:
        if not options.new_manager:
            refuse_stranger(options.data_dir, manager)
        feed = UpWatch(manager.commit_log, reporter)
        file = UpFile(manager, options.specs, options.data_dir)
        await file.apply()
        feed.begin()
        callers = Callers(manager)
        for address in options.addresses:
            serve = partial(
                serve_gate,
                callers.gate,
                address,
                insecure=options.insecure,
                conditions=manager.conditions,
            )
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
            new_manager=options.new_manager,
            soft_limit=options.soft_limit,
        ) as node:
            reporter.attach(node.agent.status)
            nursery.start_soon(file.serve)
            yield UpStage(manager, node, file, callers)
        nursery.cancel_scope.cancel()
