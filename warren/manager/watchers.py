"""Watchers of the cluster: what each waits for, and what has changed since it asked last.

    commit -> index (state/change_index.py) -> wakes the watchers it concerns, and no other

A cursor is the manager's id, its present run with the position that has been told, and where all
had been told the generation. One of an earlier run holds where nothing was committed since: where
that run has made the last commit, and this is its generation. This run does not know what was, and
a backup may have been restored. In the middle of a whole answer the position has its `base` beside
it; such a cursor is of this run alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import trio

from warren.manager.commit_log import CommitLog
from warren.model.cluster import AddEvent, Change
from warren.model.view import WatchWanted
from warren.state.change_index import Changed, ChangeIndex, Takes
from warren.state.cluster_state import Touched

AT_ONCE = 200  # things in one answer, which bounds the stall of its encoding
_LONGEST_NUMBER = 18  # digits
_SERVICES, _TASKS, _NODES, _EVENTS = "services", "tasks", "nodes", "events"
_Subject = tuple[str, str]  # one of these, and of what; empty: of all


@dataclass(frozen=True)
class News:
    """What to answer to a watcher: these things, and this cursor. `is_whole`: it begins anew, with
    the first of all there is."""

    changed: Changed
    cursor: str
    is_whole: bool = False


class Watchers:
    """Made with the manager. `waiting` counts those that wait."""

    def __init__(self, commit_log: CommitLog) -> None:
        self._commit_log = commit_log
        self._index = ChangeIndex(commit_log.cluster)
        self._events: dict[_Subject, set[trio.Event]] = {}
        self.waiting = 0
        commit_log.on_commit.append(self._note)

    def __repr__(self) -> str:
        return f"<Watchers: {self.waiting} waiting, {self._index!r}>"

    def news(self, cursor: str, wanted: WatchWanted, takes: Takes | None = None) -> News:
        """What has changed since a cursor was handed out, as much as is taken; where that is not
        known, everything."""
        position, base = self._place_of(cursor) or (-1, -1)
        changed = self._index.since(position, wanted, base=base, most=AT_ONCE, takes=takes)
        if changed is not None:
            return News(changed, self._cursor(changed, base))
        base = self._index.last
        changed = self._index.since(0, wanted, base=base, most=AT_ONCE, takes=takes)
        assert changed is not None, "position 0 is always known"
        return News(changed, self._cursor(changed, base), is_whole=True)

    def _cursor(self, changed: Changed, base: int) -> str:
        place = f"{self._commit_log.store.run}.{changed.upto}"
        if changed.upto < base:
            place += f".{base}"
        generation = "" if changed.has_more else self._commit_log.cluster.generation
        return f"{self._commit_log.store.manager_id}:{place}:{generation}"

    def _place_of(self, cursor: str) -> tuple[int, int] | None:
        """The position of a cursor, and its base; None where it means nothing here."""
        of, _, generation = cursor.rpartition(":")
        manager, _, place = of.rpartition(":")
        if manager != self._commit_log.store.manager_id:
            return None
        run, *numbers = place.split(".")
        if run == self._commit_log.store.run:
            if not 1 <= len(numbers) <= 2 or not all(map(_is_number, numbers)):
                return None
            return int(numbers[0]), int(numbers[-1])
        if run != self._commit_log.store.last_run or not _is_number(generation):
            return None
        if int(generation) != self._index.started_at:
            return None
        return self._index.began, self._index.began

    async def wait(self, wanted: WatchWanted) -> None:
        """Wait until a commit concerns these."""
        await self._wait(list(_subjects(wanted)))

    async def wait_event(self, about: str) -> None:
        """Wait until an event is added: of this service, task or node alone, if any is named."""
        await self._wait([(_EVENTS, about)])

    async def _wait(self, subjects: Sequence[_Subject]) -> None:
        event = trio.Event()
        for subject in subjects:
            self._events.setdefault(subject, set()).add(event)
        self.waiting += 1
        try:
            await event.wait()
        finally:
            self.waiting -= 1
            for subject in subjects:
                self._events[subject].discard(event)
                if not self._events[subject]:
                    del self._events[subject]

    def note_nodes(self, names: Collection[str]) -> None:
        """These nodes are seen otherwise than before, though nothing was committed."""
        self._note((), Touched(nodes={*names}))

    def _note(self, changes: Sequence[Change], touched: Touched) -> None:
        self._index.note(touched)
        if not self._events:
            return
        for name in touched.services:
            self._wake(_SERVICES, name)
        for name in touched.slots:
            self._wake(_TASKS, name)
        if touched.nodes:
            self._wake(_NODES)
        for change in changes:
            if isinstance(change, AddEvent):
                self._wake(_EVENTS, change.entry.service, change.entry.subject)

    def _wake(self, what: str, *names: str) -> None:
        for name in {*names, ""}:
            for event in self._events.get((what, name), ()):
                event.set()


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _LONGEST_NUMBER


def _subjects(wanted: WatchWanted) -> Iterator[_Subject]:
    if wanted.services:
        yield _SERVICES, wanted.service
    if wanted.tasks:
        yield _TASKS, wanted.service
    if wanted.nodes:
        yield _NODES, ""
