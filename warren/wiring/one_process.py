"""Manager and node in one process: the same two, with the same interfaces, over a memory link.

    manager -> what comes between -> node, linked -> ... -> node, what came between, manager

Both `warren up` and `open_supervisor` are this.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from warren.manager.program import Manager
from warren.model.rpc import Gate
from warren.node.program import Node
from warren.transport.memory import memory_gate
from warren.wiring.parts import (
    NodeOptions,
    Publish,
    open_manager_here,
    open_node_here,
    refuse_stranger,
)


class Between(Protocol):
    """What is made of a manager before its node is there."""

    @property
    def publish(self) -> Publish:
        """Called on every transition, by the node itself."""
        ...


B = TypeVar("B", bound=Between)


@asynccontextmanager
async def open_one_process(
    data_dir: Path,
    options: NodeOptions,
    between: Callable[[Manager], AbstractAsyncContextManager[B]],
) -> AsyncGenerator[tuple[Manager, Node, B], None]:
    """Both, with their state in this directory. `between` is entered when nothing has been started
    yet. Leaving the block stops every task, gently; an exception or a cancellation kills them.
    Raises WarrenError.
    """
    async with open_manager_here(data_dir) as manager:
        if not options.new_manager:
            refuse_stranger(data_dir, manager)

        def dial() -> AbstractAsyncContextManager[Gate]:
            return memory_gate(manager.gate)

        async with (
            between(manager) as made,
            open_node_here(data_dir, dial, options, stops_tasks=True, publish=made.publish) as node,
        ):
            yield manager, node, made
