"""Watchers of the cluster: who waits for what, and what has changed since they asked last.

    commit -> index (state/change_index.py) -> wakes the watchers it concerns, and no other

A cursor is the manager's id, its present run, and a generation. One of an earlier run holds where
nothing was committed since: this run does not know what was, and a backup may have been restored.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

import trio

from warren.manager.commit_log import CommitLog
from warren.model.cluster import Change
from warren.model.view import WatchWanted
from warren.state.change_index import Changed, ChangeIndex
from warren.state.cluster_state import Touched

_SERVICES, _TASKS, _NODES = "services", "tasks", "nodes"
_Subject = tuple[str, str]  # one of these, and a service or (empty) all


class Watchers:
    """Made with the manager. `waiting` counts those that wait."""

    def __init__(self, commit_log: CommitLog) -> None:
        self._commit_log = commit_log
        self._index = ChangeIndex(commit_log.cluster)
        self._run = secrets.token_hex(4)
        self._events: dict[_Subject, set[trio.Event]] = {}
        self.waiting = 0
        commit_log.on_commit.append(self._note)

    def __repr__(self) -> str:
        return f"<Watchers: {self.waiting} waiting, {self._index!r}>"

    def cursor(self) -> str:
        """Of the state as it is now."""
        manager, generation = self._commit_log.store.manager_id, self._commit_log.cluster.generation
        return f"{manager}:{self._run}:{generation}"

    def since(self, cursor: str, wanted: WatchWanted) -> Changed | None:
        """What has changed since a cursor was handed out; None: not known, so tell everything."""
        of, _, number = cursor.rpartition(":")
        manager, _, run = of.rpartition(":")
        if manager != self._commit_log.store.manager_id or not number.isdecimal():
            return None
        generation = int(number)
        if run != self._run and generation != self._index.started_at:
            return None
        return self._index.since(generation, wanted)

    async def wait(self, wanted: WatchWanted) -> None:
        """Wait until a commit concerns these."""
        event, subjects = trio.Event(), list(_subjects(wanted))
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

    def _note(self, _changes: Sequence[Change], touched: Touched) -> None:
        self._index.note(touched)
        if not self._events:
            return
        for name in touched.services:
            self._wake(_SERVICES, name)
        for name in touched.slots:
            self._wake(_TASKS, name)
        if touched.nodes:
            self._wake(_NODES, "")

    def _wake(self, what: str, service: str) -> None:
        for name in {service, ""}:
            for event in self._events.get((what, name), ()):
                event.set()


def _subjects(wanted: WatchWanted) -> Iterator[_Subject]:
    if wanted.services:
        yield _SERVICES, wanted.service
    if wanted.tasks:
        yield _TASKS, wanted.service
    if wanted.nodes:
        yield _NODES, ""
