"""Where a task goes: spread, and every "no" explained (S26).

A task goes to the connected node with its fixed ports free that has the fewest tasks of the
service, then the fewest tasks, then the first name.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

import msgspec

from warren.model.cluster import NodeRow
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.state.node_usage import fixed_ports

NODES_NAMED = 5  # in the text of a refusal


class PlacementView(Protocol):
    """The nodes and their tasks: of the state, or of the state with an unfinished plan."""

    @property
    def nodes(self) -> Mapping[str, NodeRow]:
        """By name."""
        ...

    def count_on(self, node: str, service: str | None = None) -> int:
        """How many tasks are there, of one service or all."""
        ...

    def holder(self, node: str, port: int) -> TaskId | None:
        """The task that holds a fixed port of a node."""
        ...


class Refusal(msgspec.Struct, frozen=True):
    """Why a task can be placed nowhere now: each node, and the reason against it. `str()` is
    one line of bounded length for people."""

    reasons: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.reasons:
            return "no node has joined yet"
        named = "; ".join(f"{node}: {reason}" for node, reason in self.reasons[:NODES_NAMED])
        more = len(self.reasons) - NODES_NAMED
        return f"{named}; and {more} more" if more > 0 else named


class SpreadRanking:
    """The nodes for tasks of one spec, the best first, while tasks are being added to nodes and
    none is taken away: a node that is refused stays so."""

    def __init__(
        self, places: PlacementView, spec: ServiceSpec, *, connected: Collection[str]
    ) -> None:
        self._places = places
        self._spec = spec
        self._heap = [self._rank(name) for name in connected if name in places.nodes]
        heapq.heapify(self._heap)

    def best(self) -> str | None:
        """The node for the next task."""
        while self._heap:
            *_, name = self._heap[0]
            rank = self._rank(name)
            if _conflict(self._places, self._spec, name) is not None:
                heapq.heappop(self._heap)
            elif rank != self._heap[0]:  # it has got tasks since
                heapq.heapreplace(self._heap, rank)
            else:
                return name
        return None

    def _rank(self, name: str) -> tuple[int, int, str]:
        count = self._places.count_on
        return (count(name, self._spec.name), count(name), name)


def place(
    places: PlacementView,
    spec: ServiceSpec,
    *,
    connected: Collection[str],
    is_down: Callable[[str], bool],
) -> str | Refusal:
    """The node for a task of this spec. `is_down` tells, of a node that is not connected,
    whether its lease has run out."""
    best = SpreadRanking(places, spec, connected=connected).best()
    return explain(places, spec, connected=connected, is_down=is_down) if best is None else best


def explain(
    places: PlacementView,
    spec: ServiceSpec,
    *,
    connected: Collection[str],
    is_down: Callable[[str], bool],
) -> Refusal:
    """The reason against each node: the connected ones first, then by name."""

    def reasons() -> Iterator[tuple[str, str]]:
        for name in sorted(places.nodes, key=lambda name: (name not in connected, name)):
            if name not in connected:
                yield name, "down" if is_down(name) else _absence(places.nodes[name])
            else:
                yield name, _conflict(places, spec, name) or "free"

    return Refusal(tuple(reasons()))


def _absence(node: NodeRow) -> str:
    return "stopped" if node.has_stopped else "unreachable"


def _conflict(places: PlacementView, spec: ServiceSpec, node: str) -> str | None:
    for port, number in fixed_ports(spec).items():
        holder = places.holder(node, number)
        if holder is not None:
            return f"port {port}: {number} is held by {holder}"
    return None
