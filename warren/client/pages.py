"""All services or nodes, in as many answers as they need: a message has room for some MiB."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warren.model.rpc import ClusterView
    from warren.model.view import NodeView, ServiceView

AT_ONCE = 1000


async def all_services(cluster: ClusterView) -> list[ServiceView]:
    """Every service, by name."""
    views: list[ServiceView] = []
    after = ""
    while page := await cluster.services(after=after, limit=AT_ONCE):
        if page[0].spec.name <= after:  # an earlier manager, which answers with all of them
            break
        views += page
        after = page[-1].spec.name
    return views


async def all_nodes(cluster: ClusterView) -> list[NodeView]:
    """Every node, by name."""
    views: list[NodeView] = []
    after = ""
    while page := await cluster.nodes(after=after, limit=AT_ONCE):
        if page[0].name <= after:  # likewise
            break
        views += page
        after = page[-1].name
    return views
