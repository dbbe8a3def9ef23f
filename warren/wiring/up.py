"""What `warren up` runs: manager and node in one process, its sockets, and its file applied.

    manager -> the file applied -> watched -> its sockets -> node

The file is applied before the node is there, so that nothing starts that is not wanted any more;
except for services that are still being removed, which needs the node.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from warren.manager.program import Manager
from warren.model.address import Address
from warren.model.rpc import ClusterView
from warren.model.service import ServiceSpec
from warren.node.program import Node
from warren.transport.memory import memory_gate
from warren.wiring.callers import Callers
from warren.wiring.one_process import open_one_process
from warren.wiring.parts import NodeOptions, Publish
from warren.wiring.programs import listen
from warren.wiring.up_file import UpFile

Watch = Callable[[ClusterView], AbstractAsyncContextManager[Publish]]


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """The arguments of an `up`. `specs` None: there is no file."""

    data_dir: Path
    node: NodeOptions
    addresses: Sequence[Address]
    insecure: bool = False
    specs: Sequence[ServiceSpec] | None = None


@dataclass(frozen=True)
class Up:
    """A manager and its node, the file they were started with, and the connected clients."""

    manager: Manager
    node: Node
    file: UpFile
    callers: Callers

    @property
    def has_all(self) -> bool:
        """Whether all of its file is applied and no service is set aside: then what is watched is
        all there is."""
        aside = self.manager.commit_log.quarantine
        return self.file.is_applied and not (aside.unread or aside.services)


@dataclass(frozen=True)
class _Between:
    """What an `up` has besides the two."""

    file: UpFile
    callers: Callers
    publish: Publish


@asynccontextmanager
async def open_up(options: UpOptions, watch: Watch) -> AsyncGenerator[Up, None]:
    """All of it. `watch` is entered with the manager's view when the file is applied and nothing
    has started yet; what it returns is called on every transition. Leaving the block stops every
    task, gently."""
    between = partial(_open_between, options, watch)
    async with open_one_process(options.data_dir, options.node, between) as (manager, node, made):
        yield Up(manager, node, made.file, made.callers)


@asynccontextmanager
async def _open_between(
    options: UpOptions, watch: Watch, manager: Manager
) -> AsyncGenerator[_Between, None]:
    file = UpFile(manager, options.specs, options.data_dir)
    await file.apply()
    callers = Callers(manager)
    async with (
        memory_gate(manager.gate) as gate,
        watch(await gate.view()) as publish,
        trio.open_nursery() as nursery,
    ):
        await listen(
            nursery,
            callers.gate,
            options.addresses,
            manager.conditions,
            insecure=options.insecure,
        )
        nursery.start_soon(file.serve)
        yield _Between(file, callers, publish)
        nursery.cancel_scope.cancel()
