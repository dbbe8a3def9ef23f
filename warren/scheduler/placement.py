"""Where a task goes: spread, and every "no" explained (S26).

A row of filters, each with its explanation; of the nodes that none of them refuses, `rank` says
which is the best. A new reason against a node is a function and its row in `FILTERS`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

import msgspec

from warren.model.cluster import NodeRow
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.rules.requirements import lack
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


class PlacementRequest(NamedTuple):
    """What is to be placed, and where it may go. `is_down` tells, of a node that is not connected,
    whether its lease has run out."""

    places: PlacementView
    spec: ServiceSpec
    connected: Collection[str]
    is_down: Callable[[str], bool]


Filter = Callable[[PlacementRequest, str], str | None]
"""What speaks against a node, in words for people, or None. A node that is refused stays so while
tasks are added to nodes and none is taken away."""

Rank = tuple[int, int, str]


def refuse_absent(request: PlacementRequest, node: str) -> str | None:
    """It must be connected."""
    if node in request.connected:
        return None
    if request.is_down(node):
        return "down"
    return "stopped" if request.places.nodes[node].has_stopped else "unreachable"


def refuse_lacking(request: PlacementRequest, node: str) -> str | None:
    """It must have a runtime that runs the task, with all that its spec needs."""
    return lack(request.places.nodes[node].description, request.spec)


def refuse_held_ports(request: PlacementRequest, node: str) -> str | None:
    """Its fixed ports must be free there (S23)."""
    for port, number in fixed_ports(request.spec).items():
        holder = request.places.holder(node, number)
        if holder is not None:
            return f"port {port}: {number} is held by {holder}"
    return None


FILTERS: tuple[Filter, ...] = (refuse_absent, refuse_lacking, refuse_held_ports)


def objection(request: PlacementRequest, node: str) -> str | None:
    """What the first filter that refuses a node says."""
    for refuse in FILTERS:
        said = refuse(request, node)
        if said is not None:
            return said
    return None


def rank(request: PlacementRequest, node: str) -> Rank:
    """The least is the best: the fewest tasks of the service, the fewest tasks, by name. It only
    grows while tasks are added."""
    count = request.places.count_on
    return (count(node, request.spec.name), count(node), node)


class SpreadRanking:
    """The nodes for tasks of one spec, the best first, while tasks are being added to nodes and
    none is taken away: a node that is refused stays so."""

    def __init__(self, request: PlacementRequest) -> None:
        self._request = request
        self._heap = [
            rank(request, name) for name in request.connected if name in request.places.nodes
        ]
        heapq.heapify(self._heap)

    def best(self) -> str | None:
        """The node for the next task."""
        while self._heap:
            *_, name = self._heap[0]
            now = rank(self._request, name)
            if now != self._heap[0]:  # it has got tasks since
                heapq.heapreplace(self._heap, now)
            elif objection(self._request, name) is not None:
                heapq.heappop(self._heap)
            else:
                return name
        return None


def place(request: PlacementRequest) -> str | Refusal:
    """The node for one task."""
    best = SpreadRanking(request).best()
    return explain(request) if best is None else best


def explain(request: PlacementRequest) -> Refusal:
    """The reason against each node: the connected ones first, then by name."""
    names = sorted(request.places.nodes, key=lambda name: (name not in request.connected, name))
    return Refusal(tuple((name, objection(request, name) or "free") for name in names))
