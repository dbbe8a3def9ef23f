"""The moments at which leases of lost nodes run out (S20): no commit marks them, and watchers of
nodes are told all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

import trio

from warren.manager.commit_log import CommitLog
from warren.model.cluster import Change
from warren.resilience.boundary import Boundary
from warren.state.cluster_state import Touched


class LeaseEnds:
    """Calls `note` with nodes whose lease of so many seconds has run out; once for each loss, and
    at the start with those that are down already, as no watcher of an earlier run may know."""

    def __init__(
        self, commit_log: CommitLog, *, lease: float, note: Callable[[Collection[str]], None]
    ) -> None:
        self._commit_log = commit_log
        self._lease = lease
        self._noted: dict[str, float] = {}  # when the node was lost
        self._note_ended = note
        self._lost = trio.Event()
        commit_log.on_commit.append(self._note)

    def __repr__(self) -> str:
        return f"<LeaseEnds of {len(self._noted)} nodes>"

    async def serve(self, boundary: Boundary) -> NoReturn:
        """Wait for them, for ever."""
        while True:
            self._lost = trio.Event()
            due = trio.current_time() + self._lease  # where the boundary was needed
            async with boundary:
                due = self._look()
            with trio.move_on_at(due):
                await self._lost.wait()

    def _look(self) -> float:
        """Note what has run out. Returns when the next one does, in Trio's time."""
        now, nodes = self._commit_log.now(), self._commit_log.cluster.nodes
        absent = [row for name in self._commit_log.cluster.absent if (row := nodes.get(name))]
        lost = {row.name: row.lost_at for row in absent if row.lost_at is not None}
        running = {
            name: lost_at for name, lost_at in lost.items() if self._noted.get(name) != lost_at
        }
        ended = {name for name, lost_at in running.items() if now >= lost_at + self._lease}
        self._noted = {
            name: at for name, at in lost.items() if name in ended or name not in running
        }
        if ended:
            self._note_ended(ended)
        ends = (lost_at + self._lease for name, lost_at in running.items() if name not in ended)
        return trio.current_time() + min(ends, default=math.inf) - now

    def _note(self, _changes: Sequence[Change], touched: Touched) -> None:
        absent = self._commit_log.cluster.absent
        if any(name in absent for name in touched.nodes):
            self._lost.set()
