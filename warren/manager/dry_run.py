"""Plan on a copy of the state, as a manager that has just started, and see what is set aside."""

from __future__ import annotations

import time
from collections.abc import Mapping

import trio

from warren.manager.commit_log import CommitLog, Store
from warren.manager.reconciler import Reconciler
from warren.state.pending import LONGEST_WAIT

MOST_PLANS = 2_000  # of some 200 tasks each: more than a manager should hold
_AHEAD = (0.0, LONGEST_WAIT + 1)  # seconds: now, and once everything that waits is due


def dry_run(copy: Store) -> Mapping[str, str]:
    """The services that a manager cannot process, and why. The copy is written to."""

    async def plan() -> Mapping[str, str]:
        await trio.lowlevel.checkpoint()
        ahead = 0.0
        commit_log = CommitLog(copy, now=lambda: time.time() + ahead)
        nodes = set(commit_log.cluster.nodes)
        for ahead in _AHEAD:  # noqa: B007 - `now` reads it
            reconciler = Reconciler(commit_log, connected=lambda: nodes, lease=0.0)
            for _ in range(MOST_PLANS):
                before = commit_log.cluster.generation
                reconciler.plan_once()
                if commit_log.cluster.generation == before:  # nothing is left to plan
                    break
        return dict(commit_log.quarantine.services)

    return trio.run(plan)
