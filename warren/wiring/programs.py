"""The two programs, each in a process of its own: `warren manager run` and `warren node run`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from warren.manager.program import Manager
from warren.model.address import Address
from warren.model.rpc import Gate
from warren.node.program import Node
from warren.resilience.conditions import Conditions
from warren.transport.client import open_gate
from warren.transport.connection import AcceptedConnection
from warren.transport.server import serve_gate
from warren.wiring.parts import NodeOptions, open_manager_here, open_node_here

_log = logging.getLogger("warren.manager")


@asynccontextmanager
async def open_manager_program(
    data_dir: Path, addresses: Sequence[Address], *, insecure: bool
) -> AsyncGenerator[Manager, None]:
    """A manager that listens at these addresses. Raises WarrenError."""
    async with open_manager_here(data_dir) as manager, trio.open_nursery() as nursery:
        bound = await listen(
            nursery, manager.gate, addresses, manager.conditions, insecure=insecure
        )
        for address in bound:
            _log.info("listening at %s", address)
        yield manager
        nursery.cancel_scope.cancel()


def open_node_program(
    data_dir: Path, manager: Address, options: NodeOptions, *, stops_tasks: bool
) -> AbstractAsyncContextManager[Node]:
    """This machine as a node of the manager at an address. Raises WarrenError."""
    return open_node_here(data_dir, partial(open_gate, manager), options, stops_tasks=stops_tasks)


async def listen(
    nursery: trio.Nursery,
    gate: Callable[[AcceptedConnection], Gate],
    addresses: Sequence[Address],
    conditions: Conditions,
    *,
    insecure: bool,
) -> list[Address]:
    """Serve a gate at these addresses, as long as the nursery lasts; returns where."""
    bound = list[Address]()
    for address in addresses:
        serve = partial(serve_gate, gate, address, insecure=insecure, conditions=conditions)
        bound.append(await nursery.start(serve))
    return bound
