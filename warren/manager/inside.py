"""The manager's parts, as its capabilities see them, and what is not well with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from warren.manager.commit_log import CommitLog
from warren.manager.dispatcher import Dispatcher
from warren.manager.foreign_nodes import WHAT_TO_DO
from warren.manager.reconciler import Reconciler
from warren.manager.watchers import Watchers
from warren.model.view import NodeState
from warren.resilience.conditions import Conditions
from warren.resilience.fair_turns import FairTurns


class Inside(Protocol):
    """The manager's parts, as its capabilities see them."""

    commit_log: CommitLog
    dispatcher: Dispatcher
    reconciler: Reconciler
    watchers: Watchers
    turns: FairTurns
    conditions: Conditions
    started_at: float


def troubles(inside: Inside) -> Iterator[str]:
    """A line for people for each thing that is not well."""
    trouble = (inside.commit_log.store.trouble, inside.reconciler.trouble)
    yield from dict.fromkeys(said for said in trouble if said)
    for one in inside.conditions.current():
        yield f"manager: {one.kind}: {one.message}"
    yield from inside.commit_log.quarantine.troubles()
    foreign_nodes = inside.dispatcher.foreign_nodes()
    for name in foreign_nodes:
        yield f"node {name} refuses this manager: it belongs to another; {WHAT_TO_DO}"
    for node in inside.commit_log.cluster.nodes.values():
        state = inside.dispatcher.state(node)
        if state is not NodeState.READY and node.name not in foreign_nodes:
            yield f"node {node.name} is {state.value}"
        session = inside.dispatcher.session(node.name)
        for one in () if session is None else session.conditions:
            yield f"node {node.name}: {one.kind}: {one.message}"


def troubled_nodes(inside: Inside) -> Iterator[str]:
    """The nodes that are not ready, or refuse this manager."""
    foreign_nodes = inside.dispatcher.foreign_nodes()
    yield from foreign_nodes
    for node in inside.commit_log.cluster.nodes.values():
        is_ready = inside.dispatcher.state(node) is NodeState.READY
        if not is_ready and node.name not in foreign_nodes:
            yield node.name
