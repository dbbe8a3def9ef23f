"""Watching a cluster: a picture of what is wanted of it, kept as it is now.

    async with open_cluster("unix:/var/lib/warren/warren.sock") as cluster:
        watch = Watch(WatchWanted(service="web"))
        while True:
            await watch.next(cluster)
            print([str(task.id) for task in watch.tasks if task.status.ready])

A picture outlives its link: asked over another one, also after a restart of the manager, it goes on
from where it was. What changes while nobody asks is seen once, as it is then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from warren.model.view import (
    NodeView,
    ServiceView,
    SlotName,
    TaskView,
    WatchAnswer,
    WatchWanted,
)

if TYPE_CHECKING:
    from warren.model.rpc import ClusterView


class Watch:
    """What was last seen of what is wanted; empty until the first `next`."""

    def __init__(self, wanted: WatchWanted | None = None) -> None:
        self.wanted = WatchWanted() if wanted is None else wanted
        self._cursor = ""
        self._services: dict[str, ServiceView] = {}
        self._tasks: dict[tuple[str, int], TaskView] = {}
        self._nodes: dict[str, NodeView] = {}

    def __repr__(self) -> str:
        counts = f"{len(self._services)} services, {len(self._tasks)} tasks"
        return f"<Watch: {counts}, {len(self._nodes)} nodes>"

    @property
    def services(self) -> list[ServiceView]:
        """By name, without their tasks."""
        return [self._services[name] for name in sorted(self._services)]

    @property
    def tasks(self) -> list[TaskView]:
        """The task of every slot, by service and slot, as its node last reported it."""
        return [self._tasks[slot] for slot in sorted(self._tasks)]

    @property
    def nodes(self) -> list[NodeView]:
        """By name."""
        return [self._nodes[name] for name in sorted(self._nodes)]

    async def next(self, cluster: ClusterView) -> WatchAnswer:
        """Wait until something has changed, at first for nothing; the change is in the picture
        when this returns. Raises LinkLostError, and what the manager refuses."""
        return self.take(await cluster.watch(self.wanted, cursor=self._cursor, wait=True))

    def take(self, answer: WatchAnswer) -> WatchAnswer:
        """Put an answer into the picture. Returns it, a whole one with the names of what was in the
        picture and is no more."""
        if answer.is_whole:
            answer = self._with_gone(answer)
            self._services.clear()
            self._tasks.clear()
            self._nodes.clear()
        for name in answer.gone_services:
            self._services.pop(name, None)
        for slot in answer.gone_slots:
            self._tasks.pop((slot.service, slot.slot), None)
        for name in answer.gone_nodes:
            self._nodes.pop(name, None)
        self._services.update({view.spec.name: view for view in answer.services})
        self._tasks.update({(view.id.service, view.id.slot): view for view in answer.tasks})
        self._nodes.update({view.name: view for view in answer.nodes})
        self._cursor = answer.cursor
        return answer

    def _with_gone(self, answer: WatchAnswer) -> WatchAnswer:
        services = self._services.keys() - {view.spec.name for view in answer.services}
        slots = self._tasks.keys() - {(view.id.service, view.id.slot) for view in answer.tasks}
        nodes = self._nodes.keys() - {view.name for view in answer.nodes}
        return msgspec.structs.replace(
            answer,
            gone_services=tuple(sorted(services)),
            gone_slots=tuple(SlotName(service=name, slot=slot) for name, slot in sorted(slots)),
            gone_nodes=tuple(sorted(nodes)),
        )
