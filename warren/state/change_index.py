"""What has changed since a generation: each service, slot and node once, at its last change.

    touched by a commit --note--> key: generation, newest last <--since(generation)-- a watcher

Level, not a queue: what is kept is *that* something changed, and what it is now is read from the
state when it is asked for. So a slow reader costs nothing and misses nothing that still holds, and
an answer costs what has changed, not what there is. Keys of what is gone are kept, so that it can
be said; where there are too many the oldest are forgotten, and `floor` rises: of what is before it
only the whole can be told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from warren.model.view import SlotName, WatchWanted
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
        self.floor = self.started_at = cluster.generation
        self._gone = 0  # keys of what is no more
        # All that exist are in it: with a service its slots go, and each has to be told. Services
        # are in the order of the last change of a slot of theirs, too.
        self._services = _Keys[str](cluster.services, self.floor)
        self._nodes = _Keys[str](cluster.nodes, self.floor)
        self._slots = {
            name: _Keys[int](cluster.slots(name).shown, self.floor) for name in cluster.services
        }

    def __repr__(self) -> str:
        slots = sum(len(keys.at) for keys in self._slots.values())
        return (
            f"<ChangeIndex from {self.floor}: {len(self._services.at)} services, {slots} slots,"
            f" {len(self._nodes.at)} nodes>"
        )

    def note(self, touched: Touched) -> None:
        """A commit has touched these. Call it when the state has them."""
        at, cluster = self._cluster.generation, self._cluster
        for name in touched.services:
            self._gone += self._services.note(name, at, exists=name in cluster.services)
        for name in touched.nodes:
            self._gone += self._nodes.note(name, at, exists=name in cluster.nodes)
        for service, slots in touched.slots.items():
            self._note_slots(service, slots, at)
        if self._gone > 2 * self._gone_kept:
            self._prune()

    def since(self, generation: int, wanted: WatchWanted) -> Changed | None:
        """What of this has changed after this generation; None where that is not known any more,
        or is of a later state than this."""
        if not self.floor <= generation <= self._cluster.generation:
            return None
        services, nodes = self._services.after(generation), self._nodes.after(generation)
        if wanted.service:
            is_changed = self._services.at.get(wanted.service, 0) > generation
            services = iter([wanted.service] if is_changed else [])
        return Changed(
            list(services) if wanted.services else [],
            list(self._slots_after(generation, wanted.service)) if wanted.tasks else [],
            list(nodes) if wanted.nodes else [],
        )

    def _slots_after(self, generation: int, service: str) -> Iterator[SlotName]:
        names = [service] if service in self._slots else []
        for name in names if service else reversed(self._slots):
            slots = self._slots[name]
            if slots.newest <= generation:
                return
            for slot in slots.after(generation):
                yield SlotName(service=name, slot=slot)

    def _note_slots(self, service: str, slots: Collection[int] | None, at: int) -> None:
        shown = self._cluster.slots(service).shown
        keys = self._slots.pop(service, None) or _Keys[int]((), self.floor)
        self._slots[service] = keys
        keys.newest = at
        for slot in {*keys.existing, *shown} if slots is None else slots:
            self._gone += keys.note(slot, at, exists=slot in shown)

    def _prune(self) -> None:
        """Forget the oldest of what is gone."""
        everything = [self._services, self._nodes, *self._slots.values()]
        gone = sorted(at for keys in everything for at in keys.gone_at())
        self.floor = max(self.floor, gone[-self._gone_kept - 1])
        for keys in everything:
            self._gone -= keys.forget(self.floor)
        for service in [service for service, keys in self._slots.items() if not keys.at]:
            del self._slots[service]


class _Keys(Generic[K]):
    """Keys of one kind: `at` has the generation of each one's last change, newest last;
    `existing` those that are there. `newest` is no earlier than any of them."""

    def __init__(self, existing: Iterable[K], at: int) -> None:
        self.existing = set(existing)
        self.at = dict.fromkeys(existing, at)
        self.newest = at

    def note(self, key: K, at: int, *, exists: bool) -> int:
        """It has changed. What was gone and still is has not. Returns how many more are gone."""
        if not exists and key not in self.existing:
            return 0
        was_gone = key in self.at and key not in self.existing
        self.at.pop(key, None)
        self.at[key] = self.newest = at
        if exists:
            self.existing.add(key)
            return -1 if was_gone else 0
        self.existing.discard(key)
        return 1

    def after(self, generation: int) -> Iterator[K]:
        """Those that have changed since, newest first."""
        for key, at in reversed(self.at.items()):
            if at <= generation:
                return
            yield key

    def gone_at(self) -> Iterator[int]:
        """When each that is no more has gone."""
        return (at for key, at in self.at.items() if key not in self.existing)

    def forget(self, floor: int) -> int:
        """Those that were gone by then. Returns how many."""
        old = [key for key, at in self.at.items() if at <= floor and key not in self.existing]
        for key in old:
            del self.at[key]
        return len(old)
