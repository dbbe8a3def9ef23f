"""What of all there is goes into one answer: never so much that no message has room for it.

Sizes are those of the rows as they are now, as JSON: about what they take in a message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from warren.manager.message_room import AnswerRoom
from warren.model.cluster import NodeRow
from warren.model.view import NodeView
from warren.state.change_index import Takes, Thing
from warren.state.cluster_state import ClusterState


async def page_of_services(
    cluster: ClusterState, names: Sequence[str], step: Callable[[], Awaitable[None]]
) -> list[str]:
    """As many of these services, with their tasks, as one answer has room for; `step` is awaited
    for each task."""
    room, page = AnswerRoom(), list[str]()
    for name in names:
        tasks = cluster.current(name)
        for _ in tasks:
            await step()
        row = cluster.services.get(name)
        if row is not None and not room.take(row.spec, [task.status.bare() for task in tasks]):
            break
        page.append(name)
    return page


def page_of_nodes(views: Sequence[NodeView]) -> list[NodeView]:
    """As many of these as one answer has room for."""
    room = AnswerRoom()
    return [view for view in views if room.take(view)]


def room_for_changes(cluster: ClusterState, view: Callable[[NodeRow], NodeView]) -> Takes:
    """What takes things that have changed as long as one answer has room for them."""
    room = AnswerRoom()

    def takes(thing: Thing, name: str, slot: int) -> bool:
        match thing:
            case Thing.SERVICE:
                service = cluster.services.get(name)
                return room.take(None if service is None else service.spec)
            case Thing.SLOT:
                return room.take([row.status.bare() for row in cluster.slot(name, slot)[-1:]])
            case Thing.NODE:
                node = cluster.nodes.get(name)
                return room.take(None if node is None else view(node))

    return takes
