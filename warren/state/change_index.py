"""What has changed since a generation: each service, slot and node once, at its last change.

    touched by a commit --note--> key: generation, newest last <--since(generation)-- a watcher

Level, not a queue: what is kept is *that* something changed, and what it is now is read from the
state when it is asked for. So a slow reader costs nothing and misses nothing that still holds, and
an answer costs what has changed, not what there is. Keys of what is gone are kept, so that it can
be said; where there are too many the oldest are forgotten, and `floor` rises: of what is before it
only the whole can be told.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from warren.model.view import SlotName
from warren.state.cluster_state import ClusterState, Touched

GONE_KEPT = 10_000  # keys of what is no more
K = TypeVar("K")


@dataclass(frozen=True)
class Changed:
    """Names of what has changed, the newest first; it may be gone."""

    services: list[str] = field(default_factory=list[str])
    slots: list[SlotName] = field(default_factory=list[SlotName])
    nodes: list[str] = field(default_factory=list[str])

    @property
    def any(self) -> bool:
        """Whether there is something."""
        return bool(self.services or self.slots or self.nodes)


class ChangeIndex:
    """The generation of the last change of everything, from `floor` on."""

    def __init__(self, cluster: ClusterState, *, gone_kept: int = GONE_KEPT) -> None:
        self._cluster = cluster
        self._gone_kept = gone_kept
        self.floor = cluster.generation
        # Each in the order of the last change; of slots also the services they are of. All that
        # exist are in it: with a service its slots go, and each has to be told.
        self._services = dict.fromkeys(cluster.services, self.floor)
        self._nodes = dict.fromkeys(cluster.nodes, self.floor)
        self._slots = {
            name: dict.fromkeys(cluster.slots(name).shown, self.floor) for name in cluster.services
        }
        self._gone = 0  # about how many keys are of what is no more; counted anew at each pruning

    def __repr__(self) -> str:
        slots = sum(map(len, self._slots.values()))
        return (
            f"<ChangeIndex from {self.floor}: {len(self._services)} services, {slots} slots,"
            f" {len(self._nodes)} nodes>"
        )

    def note(self, touched: Touched) -> None:
        """A commit has touched these. Call it when the state has them."""
        at = self._cluster.generation
        for name in touched.services:
            _move_to_end(self._services, name, at)
            self._gone += name not in self._cluster.services
        for name in touched.nodes:
            _move_to_end(self._nodes, name, at)
            self._gone += name not in self._cluster.nodes
        for service, slots in touched.slots.items():
            self._note_slots(service, slots, at)
        if self._gone > 2 * self._gone_kept:
            self._prune()

    def since(self, generation: int, *, service: str = "") -> Changed | None:
        """What has changed after this generation, of one service or of all; None where that is
        not known any more, or is of a later state than this."""
        if not self.floor <= generation <= self._cluster.generation:
            return None
        if service:
            is_changed = self._services.get(service, 0) > generation
            slots = self._slots.get(service, {})
            return Changed(
                [service] if is_changed else [],
                [SlotName(service=service, slot=slot) for slot in _after(slots, generation)],
                list(_after(self._nodes, generation)),
            )
        return Changed(
            list(_after(self._services, generation)),
            list(self._slots_after(generation)),
            list(_after(self._nodes, generation)),
        )

    def _slots_after(self, generation: int) -> Iterator[SlotName]:
        for service, slots in reversed(self._slots.items()):
            newest = next(reversed(slots.values()), 0)
            if newest <= generation:
                return
            for slot in _after(slots, generation):
                yield SlotName(service=service, slot=slot)

    def _note_slots(self, service: str, slots: Collection[int] | None, at: int) -> None:
        known = self._slots.get(service, {})
        shown = self._cluster.slots(service).shown
        changed = {*known, *shown} if slots is None else slots
        if not changed:
            return
        self._slots.pop(service, None)
        self._slots[service] = known
        for slot in changed:
            _move_to_end(known, slot, at)
            self._gone += slot not in shown

    def _prune(self) -> None:
        """Forget the oldest of what is gone."""
        gone = sorted(
            [
                *(at for name, at in self._services.items() if name not in self._cluster.services),
                *(at for name, at in self._nodes.items() if name not in self._cluster.nodes),
                *(
                    at
                    for service, slots in self._slots.items()
                    for slot, at in slots.items()
                    if slot not in self._cluster.slots(service).shown
                ),
            ]
        )
        self._gone = min(len(gone), self._gone_kept)
        if len(gone) <= self._gone_kept:
            return
        self.floor = max(self.floor, gone[-self._gone_kept - 1])
        _forget(self._services, self.floor, kept=self._cluster.services)
        _forget(self._nodes, self.floor, kept=self._cluster.nodes)
        for service, slots in self._slots.items():
            _forget(slots, self.floor, kept=self._cluster.slots(service).shown)
        for service in [service for service, slots in self._slots.items() if not slots]:
            del self._slots[service]


def _forget(keys: dict[K, int], floor: int, *, kept: Container[K]) -> None:
    for key in [key for key, at in keys.items() if at <= floor and key not in kept]:
        del keys[key]


def _move_to_end(keys: dict[K, int], key: K, at: int) -> None:
    keys.pop(key, None)
    keys[key] = at


def _after(keys: dict[K, int], generation: int) -> Iterator[K]:
    for key, at in reversed(keys.items()):
        if at <= generation:
            return
        yield key
