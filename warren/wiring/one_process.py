"""Manager and node in one process: the same two, with the same interfaces, over a memory link.

    manager -> what comes between -> node, linked -> ... -> node, what came between, manager

Both `warren up` (up.py) and `open_supervisor` (supervisor.py) are this.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from warren.manager.program import Manager
from warren.model.rpc import Gate
from warren.node.manager_link import Dial
from warren.node.program import Node
from warren.transport.memory import memory_gate
from warren.wiring.parts import (
    NodeOptions,
    Publish,
    open_manager_here,
    open_node_here,
    refuse_stranger,
)
from warren.wiring.renamed_directory import take_name


class Between(Protocol):
    """What is made of a manager before its node is there."""

    @property
    def publish(self) -> Publish:
        """Called on every transition, by the node itself."""
        ...


B = TypeVar("B", bound=Between)
OpenBetween = Callable[[Manager], AbstractAsyncContextManager[B]]
OpenNode = Callable[[Dial, Publish], AbstractAsyncContextManager[Node]]


def open_one_process(
    data_dir: Path, options: NodeOptions, between: OpenBetween[B], *, in_memory: bool = False
) -> AbstractAsyncContextManager[tuple[Manager, Node, B]]:
    """Both on this machine, with their state in a directory; with `in_memory` the manager's is
    not. `between` is entered when nothing has been started yet. Leaving the block stops every task,
    gently; an exception or a cancellation kills them. Raises WarrenError.
    """

    def open_node(dial: Dial, publish: Publish) -> AbstractAsyncContextManager[Node]:
        return open_node_here(data_dir, dial, options, stops_tasks=True, publish=publish)

    manager = _open_own_manager(data_dir, options, in_memory=in_memory)
    return open_linked(manager, open_node, between)


@asynccontextmanager
async def _open_own_manager(
    data_dir: Path, options: NodeOptions, *, in_memory: bool
) -> AsyncGenerator[Manager, None]:
    async with open_manager_here(None if in_memory else data_dir) as manager:
        if not options.new_manager:
            refuse_stranger(data_dir, manager)
        take_name(data_dir, manager, options.node)
        yield manager


@asynccontextmanager
async def open_linked(
    opening: AbstractAsyncContextManager[Manager], open_node: OpenNode, between: OpenBetween[B]
) -> AsyncGenerator[tuple[Manager, Node, B], None]:
    """The same of any parts: what is measured or tested has scripted ones."""
    async with opening as manager, between(manager) as made:

        def dial() -> AbstractAsyncContextManager[Gate]:
            return memory_gate(manager.gate)

        async with open_node(dial, made.publish) as node:
            yield manager, node, made
