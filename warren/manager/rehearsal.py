"""Plan on a copy of the state, as a manager that has just started, and see what is set aside."""

from __future__ import annotations

import time
from collections.abc import Mapping

import trio

from warren.manager.books import Books, Store
from warren.manager.reconciler import Reconciler
from warren.rules.waiting import LONGEST_WAIT

MOST_PLANS = 2_000  # of some 200 tasks each: more than a manager should hold
_AHEAD = (0.0, LONGEST_WAIT + 1)  # seconds: now, and once everything that waits is due


def rehearse(copy: Store) -> Mapping[str, str]:
    """The services that a manager cannot deal with, and why. The copy is written to."""

    async def plan() -> Mapping[str, str]:
        await trio.lowlevel.checkpoint()
        ahead = 0.0
        books = Books(copy, now=lambda: time.time() + ahead)
        nodes = set(books.world.nodes)
        for ahead in _AHEAD:  # noqa: B007 - `now` reads it
            reconciler = Reconciler(books, connected=lambda: nodes, lease=0.0)
            for _ in range(MOST_PLANS):
                before = books.world.generation
                reconciler.plan_once()
                if books.world.generation == before:  # nothing is left to plan
                    break
        return dict(books.quarantine.services)

    return trio.run(plan)
