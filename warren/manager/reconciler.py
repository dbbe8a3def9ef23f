"""The reconcile loop: wakes when something changed or is due, plans, lints, commits.

    woken or due -> plan -> lint -> commit, if the generation is still the plan's -> woken again
                                    until there is nothing left to plan

Level-triggered: it looks at the state, whatever woke it, and everything it needs is there.
A service for which no fit plan can be made and written is set aside, and the others go on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

import trio

from warren.manager.commit_log import CommitLog
from warren.manager.quarantine import isolate, told
from warren.model.cluster import Change, Plan, PutService
from warren.model.errors import UnavailableError
from warren.scheduler.plan_lint import lint
from warren.scheduler.planner import plan
from warren.state.cluster_state import Touched

AT_ONCE = 200  # tasks of one plan: ten thousand at once would stall whatever else is asked
RETRY = 1.0  # seconds until a plan that could not be written is tried again
_log = logging.getLogger("warren.manager")


class UnfitError(Exception):
    """A plan that must not be committed. `str()` has what is wrong with it."""


class Reconciler:
    """Brings the actual state nearer to the desired one. `connected` returns the nodes with a
    session; `lease` is in seconds (S20). `trouble` is what prevents it, None if nothing does."""

    def __init__(
        self, commit_log: CommitLog, *, connected: Callable[[], Collection[str]], lease: float
    ) -> None:
        self._commit_log = commit_log
        self._connected = connected
        self._lease = lease
        self._touched = Touched.everything(commit_log.cluster)
        self._wake = trio.Event()
        self._wake.set()
        self._aside = commit_log.quarantine
        self._due = math.inf  # in Trio's time
        self._met = trio.Event()
        self.trouble: str | None = None
        self.plans = 0
        commit_log.on_commit.append(self._note)

    def __repr__(self) -> str:
        return f"<Reconciler {self.plans} plans>"

    def note_node(self, name: str) -> None:
        """A node's session has come or gone."""
        self._touched.nodes.add(name)
        self._wake.set()
        self._met.set()

    async def run(self, patience: float = 0.0) -> NoReturn:
        """Plan whenever there is something to plan, for ever. The first plan waits for the first
        node, for at most `patience` seconds, so that tasks about to run are not called pending."""
        with trio.move_on_after(patience):
            await self._met.wait()
        while True:
            with trio.move_on_at(self._due):
                await self._wake.wait()
            self._wake = trio.Event()
            await self._commit_log.ready()  # changes that have come since are planned too
            self._reconcile()

    def plan_once(self) -> None:
        """Plan everything that is due now."""
        self._reconcile()

    def _note(self, changes: Sequence[Change], touched: Touched) -> None:
        self._touched |= touched
        for change in changes:
            if isinstance(change, PutService) and self._aside.release_service(change.row.name):
                self._touched.add_service(change.row.name, whole=True)
        self._wake.set()

    def _reconcile(self) -> None:
        touched, self._touched = self._touched, Touched()
        try:
            self._step(touched, self._aside.services)
        except UnavailableError as error:
            self._note_unwritten(touched, error)
            return
        except Exception:  # due to one service, most likely: find it, and go on with the rest
            _log.exception("a plan cannot be made or written, which is a bug in Warren")
            self._find_culprits(touched)
            return
        self.trouble = None

    def _step(self, touched: Touched, aside: Collection[str]) -> None:
        """Plan and commit. Raises UnavailableError, UnfitError, and whatever a bug raises."""
        cluster, connected, now = (
            self._commit_log.cluster,
            self._connected(),
            self._commit_log.now(),
        )
        made = plan(
            cluster,
            touched,
            now=now,
            connected=connected,
            lease=self._lease,
            aside=aside,
            most=AT_ONCE,
        )
        problems = lint(cluster, made, connected=connected)
        if problems:  # a bug of ours: better nothing than this
            raise UnfitError("; ".join(problems))
        self._commit(made)
        if len(made.changes) >= AT_ONCE:  # there may be more; others get a turn first
            self._touched |= touched
            self._wake.set()
        self._due = _in_trios_time(made.wake_at, now)

    def _commit(self, made: Plan) -> None:
        self._commit_log.commit(made.changes, based_on=made.based_on)
        self.plans += bool(made.changes)

    def _find_culprits(self, touched: Touched) -> None:
        """Plan for the services in halves; those that cannot be planned for alone are aside."""
        left = [
            name for name in self._commit_log.cluster.services if name not in self._aside.services
        ]

        def attempt(names: Collection[str]) -> None:
            self._step(touched, self._commit_log.cluster.services.keys() - names)

        try:
            for name, error in isolate(left, attempt):
                self._aside.add_service(name, told(error))
            self._step(touched, self._aside.services)
        except UnavailableError as error:
            self._note_unwritten(touched, error)
            return
        except Exception as error:  # due to no service: told, and tried again with the next change
            self.trouble = f"nothing can be planned: {told(error)}"
            self._touched |= Touched.everything(self._commit_log.cluster)
            self._due = trio.current_time() + RETRY
            return
        self.trouble = None

    def _note_unwritten(self, touched: Touched, error: UnavailableError) -> None:
        self._touched |= touched
        self._due = trio.current_time() + RETRY
        if self.trouble != str(error):
            _log.error("nothing is planned until the store can be written: %s", error)
        self.trouble = str(error)


def _in_trios_time(wake_at: float | None, now: float) -> float:
    if wake_at is None:
        return math.inf
    return trio.current_time() + max(0.0, wake_at - now)
