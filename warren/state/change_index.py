"""What has changed: each service, slot and node once, at its last change.

    touched by a commit --note--> key: position, newest last <--since(position)-- a watcher

Every change has a position of its own, and what exists when this begins has one each, too. Level,
not a queue: what is kept is *that* something changed, and what it is now is read from the state
when it is asked for. So a slow reader costs nothing and misses nothing that still holds, and an
answer costs what has changed, not what there is. It is told oldest first, so that it can be cut
anywhere: what changes after its turn has a later position, and is told again.

Keys of what is gone are kept, so that it can be said; where there are too many the oldest are
forgotten, and `floor` rises: of what is before it only the whole can be told. That begins at 0,
with a `base`: what was gone by then need not be said.
"""

from __future__ import annotations

import enum
import heapq
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, TypeVar

from warren.model.view import SlotName, WatchWanted
from warren.state.cluster_state import ClusterState, Touched

GONE_KEPT = 10_000  # keys of what is no more
K = TypeVar("K")
_SPARE = 100  # places of changes that have changed again


class Thing(enum.IntEnum):
    """What may change."""

    SERVICE = 0
    SLOT = 1
    NODE = 2


Takes = Callable[[Thing, str, int], bool]
"""Whether there is room for this thing too, of this name and, of a service's slot, this number."""
_Place = tuple[int, Thing, str, int]  # position, thing, name, slot: positions never tie


@dataclass(frozen=True)
class Changed:
    """Names of what has changed, the oldest change first; it may be gone. `upto` is the position
    up to which this is everything; `has_more`: there is more after it."""

    services: list[str] = field(default_factory=list[str])
    slots: list[SlotName] = field(default_factory=list[SlotName])
    nodes: list[str] = field(default_factory=list[str])
    upto: int = 0
    has_more: bool = False

    @property
    def any(self) -> bool:
        """Whether there is something."""
        return bool(self.services or self.slots or self.nodes)


class ChangeIndex:
    """The position of the last change of everything: of what is gone, from `floor` on. `last` is
    that of the last change of all, `began` what it was at `started_at`, a generation."""

    def __init__(self, cluster: ClusterState, *, gone_kept: int = GONE_KEPT) -> None:
        self._cluster = cluster
        self._gone_kept = gone_kept
        self.started_at = cluster.generation
        self.floor = self.last = 0
        self._gone = 0  # keys of what is no more
        # All that exist are in it: with a service its slots go, and each has to be told.
        self._services = self._begin(cluster.services)
        self._nodes = self._begin(cluster.nodes)
        self._slots = {
            name: self._begin(sorted(cluster.slots(name).shown)) for name in cluster.services
        }
        self._all_slots = _Keys[tuple[str, int]]((), self.last)  # the same, of all services
        for name, keys in self._slots.items():
            for slot, at in keys.at.items():
                self._all_slots.note((name, slot), at, exists=True)
        self.began = self.last

    def __repr__(self) -> str:
        slots = sum(len(keys.at) for keys in self._slots.values())
        return (
            f"<ChangeIndex from {self.floor} to {self.last}: {len(self._services.at)} services,"
            f" {slots} slots, {len(self._nodes.at)} nodes>"
        )

    def note(self, touched: Touched) -> None:
        """A commit has touched these. Call it when the state has them."""
        cluster = self._cluster
        for name in touched.services:
            self._gone += self._services.note(name, self._next(), exists=name in cluster.services)
        for name in touched.nodes:
            self._gone += self._nodes.note(name, self._next(), exists=name in cluster.nodes)
        for service, slots in touched.slots.items():
            self._note_slots(service, slots)
        if self._gone > 2 * self._gone_kept:
            self._prune()

    def since(
        self,
        position: int,
        wanted: WatchWanted,
        *,
        base: int = 0,
        most: int | None = None,
        takes: Takes | None = None,
    ) -> Changed | None:
        """What of this has changed after this position, at most so many things, and but for the
        first as long as they are taken; None where that is not known any more. With a `base` it is
        what there was then, told from 0 on and as far as this position, and what has changed
        since."""
        base = max(base, position)
        if not (position >= 0 and self.floor <= base <= self.last):
            return None
        first, has_more = list[_Place](), False
        for place in heapq.merge(*self._places(position, base, wanted)):
            is_full = len(first) == most or (takes is not None and not takes(*place[1:]))
            if is_full and first:
                has_more = True
                break
            first.append(place)
        slots = [(name, slot) for _, kind, name, slot in first if kind is Thing.SLOT]
        return Changed(
            [name for _, kind, name, _ in first if kind is Thing.SERVICE],
            [SlotName(service=name, slot=slot) for name, slot in slots],
            [name for _, kind, name, _ in first if kind is Thing.NODE],
            first[-1][0] if has_more else self.last,
            has_more,
        )

    def _places(self, position: int, base: int, wanted: WatchWanted) -> Iterator[Iterator[_Place]]:
        """Of each kind that is wanted, the oldest first."""
        only = wanted.service
        if wanted.services:
            there = self._services
            found = there.one(only, position) if only else there.after(position)
            yield ((at, Thing.SERVICE, name, 0) for name, at in there.told(found, base))
        if wanted.tasks and only and (keys := self._slots.get(only)) is not None:
            slots = keys.told(keys.after(position), base)
            yield ((at, Thing.SLOT, only, slot) for slot, at in slots)
        if wanted.tasks and not only:
            every = self._all_slots
            names = every.told(every.after(position), base)
            yield ((at, Thing.SLOT, name, slot) for (name, slot), at in names)
        if wanted.nodes:
            nodes = self._nodes.told(self._nodes.after(position), base)
            yield ((at, Thing.NODE, name, 0) for name, at in nodes)

    def _begin(self, existing: Collection[K]) -> _Keys[K]:
        keys = _Keys(existing, self.last)
        self.last += len(existing)
        return keys

    def _next(self) -> int:
        self.last += 1
        return self.last

    def _note_slots(self, service: str, slots: Collection[int] | None) -> None:
        shown = self._cluster.slots(service).shown
        keys = self._slots.setdefault(service, _Keys[int]((), self.last))
        for slot in sorted({*keys.existing, *shown}) if slots is None else slots:
            at, exists = self._next(), slot in shown
            self._gone += keys.note(slot, at, exists=exists)
            self._all_slots.note((service, slot), at, exists=exists)

    def _prune(self) -> None:
        """Forget the oldest of what is gone."""
        everything = [self._services, self._nodes, *self._slots.values()]
        gone = sorted(at for keys in everything for at in keys.gone_at())
        self.floor = max(self.floor, gone[-self._gone_kept - 1])
        for keys in everything:
            self._gone -= keys.forget(self.floor)
        self._all_slots.forget(self.floor)
        for service in [service for service, keys in self._slots.items() if not keys.at]:
            del self._slots[service]


class _Keys(Generic[K]):
    """Keys of one kind: `at` has the position of each one's last change, newest last; `existing`
    those that are there."""

    def __init__(self, existing: Collection[K], after: int) -> None:
        self.existing = set(existing)
        self.at = {key: after + number for number, key in enumerate(existing, 1)}
        # By position. Those of keys that have changed since are passed over, and dropped in time.
        self._order = [*self.at.items()]

    def note(self, key: K, at: int, *, exists: bool) -> int:
        """It has changed. What was gone and still is has not. Returns how many more are gone."""
        if not exists and key not in self.existing:
            return 0
        was_gone = key in self.at and key not in self.existing
        self.at.pop(key, None)
        self.at[key] = at
        self._order.append((key, at))
        if len(self._order) > 2 * len(self.at) + _SPARE:
            self._order = [*self.at.items()]
        if exists:
            self.existing.add(key)
            return -1 if was_gone else 0
        self.existing.discard(key)
        return 1

    def after(self, position: int) -> Iterator[tuple[K, int]]:
        """Those that have changed since, oldest first, each with its position."""
        begin = bisect_right(self._order, position, key=itemgetter(1))
        for number in range(begin, len(self._order)):
            key, at = self._order[number]
            if self.at.get(key) == at:
                yield key, at

    def one(self, key: K, position: int) -> Iterator[tuple[K, int]]:
        """This one alone, where it has changed since."""
        if (at := self.at.get(key, 0)) > position:
            yield key, at

    def told(self, places: Iterable[tuple[K, int]], base: int) -> Iterator[tuple[K, int]]:
        """These, but for what was gone by `base`."""
        return ((key, at) for key, at in places if at > base or key in self.existing)

    def gone_at(self) -> Iterator[int]:
        """When each that is no more has gone."""
        return (at for key, at in self.at.items() if key not in self.existing)

    def forget(self, floor: int) -> int:
        """Those that were gone by then. Returns how many."""
        old = [key for key, at in self.at.items() if at <= floor and key not in self.existing]
        for key in old:
            del self.at[key]
        return len(old)
