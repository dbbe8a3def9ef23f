"""Which tasks are on which node, how many, and which fixed ports they hold.

Only tasks that are placed and have not ended count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from warren.model.cluster import TaskRow
from warren.model.identity import TaskId
from warren.model.service import ANY_PORT, ServiceSpec


class NodeUsage:
    """Tasks by node."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[TaskId]] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._holders: dict[tuple[str, int], TaskId] = {}

    def __repr__(self) -> str:
        return f"<NodeUsage of {len(self._tasks)} nodes>"

    def on(self, node: str) -> Collection[TaskId]:
        """The tasks on a node."""
        return self._tasks.get(node, ())

    def count(self, node: str, service: str | None = None) -> int:
        """How many tasks are on a node, of one service or all."""
        if service is None:
            return len(self._tasks.get(node, ()))
        return self._counts.get((node, service), 0)

    def holder(self, node: str, port: int) -> TaskId | None:
        """The task that holds a fixed port of a node."""
        return self._holders.get((node, port))

    def add(self, row: TaskRow, node: str) -> None:
        """A task is on this node."""
        self._tasks.setdefault(node, set()).add(row.id)
        key = (node, row.id.service)
        self._counts[key] = self._counts.get(key, 0) + 1
        for port in fixed_ports(row.spec).values():
            self._holders[node, port] = row.id

    def remove(self, row: TaskRow, node: str) -> None:
        """A task that was on this node no longer is."""
        self._tasks[node].remove(row.id)
        if not self._tasks[node]:
            del self._tasks[node]
        key = (node, row.id.service)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
        for port in fixed_ports(row.spec).values():
            if self._holders.get((node, port)) == row.id:
                del self._holders[node, port]


def fixed_ports(spec: ServiceSpec) -> Mapping[str, int]:
    """The ports of a spec that are the node's, by name."""
    if spec.has_own_address:
        return {}
    return {name: port for name, port in spec.ports.items() if port != ANY_PORT}
