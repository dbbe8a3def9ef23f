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


class _Picture:
    """What there is, by name."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceView] = {}
        self.tasks: dict[tuple[str, int], TaskView] = {}
        self.nodes: dict[str, NodeView] = {}

    def take(self, answer: WatchAnswer) -> None:
        for name in answer.gone_services:
            self.services.pop(name, None)
        for slot in answer.gone_slots:
            self.tasks.pop((slot.service, slot.slot), None)
        for name in answer.gone_nodes:
            self.nodes.pop(name, None)
        self.services.update({view.spec.name: view for view in answer.services})
        self.tasks.update({(view.id.service, view.id.slot): view for view in answer.tasks})
        self.nodes.update({view.name: view for view in answer.nodes})


class Watch:
    """What was last seen of what is wanted; empty until the first `next`."""

    def __init__(self, wanted: WatchWanted | None = None) -> None:
        self.wanted = WatchWanted() if wanted is None else wanted
        self._cursor = ""
        self._seen = _Picture()
        self._anew: _Picture | None = None  # a whole one, of which there is more to come

    def __repr__(self) -> str:
        counts = f"{len(self._seen.services)} services, {len(self._seen.tasks)} tasks"
        return f"<Watch: {counts}, {len(self._seen.nodes)} nodes>"

    @property
    def services(self) -> list[ServiceView]:
        """By name, without their tasks."""
        return [self._seen.services[name] for name in sorted(self._seen.services)]

    @property
    def tasks(self) -> list[TaskView]:
        """The task of every slot, by service and slot, as its node last reported it."""
        return [self._seen.tasks[slot] for slot in sorted(self._seen.tasks)]

    @property
    def nodes(self) -> list[NodeView]:
        """By name."""
        return [self._seen.nodes[name] for name in sorted(self._seen.nodes)]

    async def next(self, cluster: ClusterView, *, wait: bool = True) -> WatchAnswer:
        """Wait until something has changed, at first for nothing; the change is in the picture
        when this returns. What comes anew in several answers is in it when all of them are here.
        Without `wait` it is what has changed by now, perhaps nothing. Raises LinkLostError, and
        what the manager refuses."""
        while True:
            answer = self.take(await cluster.watch(self.wanted, cursor=self._cursor, wait=wait))
            if self._anew is None:
                return answer

    def take(self, answer: WatchAnswer) -> WatchAnswer:
        """Put an answer into the picture. Returns it; a whole one complete, and with the names of
        what was in the picture and is no more."""
        self._cursor = answer.cursor
        if answer.is_whole:
            self._anew = _Picture()
        if self._anew is None:
            self._seen.take(answer)
            return answer
        self._anew.take(answer)
        if answer.has_more:
            return answer
        before, self._seen, self._anew = self._seen, self._anew, None
        return _whole(before, self._seen, answer.cursor)


def _whole(before: _Picture, now: _Picture, cursor: str) -> WatchAnswer:
    slots = sorted(before.tasks.keys() - now.tasks.keys())
    return WatchAnswer(
        cursor=cursor,
        is_whole=True,
        services=tuple(now.services.values()),
        tasks=tuple(now.tasks.values()),
        nodes=tuple(now.nodes.values()),
        gone_services=tuple(sorted(before.services.keys() - now.services.keys())),
        gone_slots=tuple(SlotName(service=name, slot=slot) for name, slot in slots),
        gone_nodes=tuple(sorted(before.nodes.keys() - now.nodes.keys())),
    )
