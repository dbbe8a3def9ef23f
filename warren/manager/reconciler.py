"""The reconcile loop: wakes when something changed or is due, plans, lints, commits.

    woken or due -> plan -> lint -> commit, if the generation is still the plan's -> woken again
                                    until there is nothing left to plan

Level-triggered: it looks at what is, whatever woke it, and everything it needs is in the world.
A service for which no fit plan can be made and written is set aside, and the others go on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

import trio

from warren.manager.books import Books
from warren.manager.quarantine import isolate, told
from warren.model.cluster import Change, Plan, PutService
from warren.model.errors import UnavailableError
from warren.rules.lint import lint
from warren.rules.planner import plan
from warren.rules.world import Touched

AT_ONCE = 200  # tasks of one plan: ten thousand at once would stall whatever else is asked
RETRY = 1.0  # seconds until a plan that could not be written is tried again
_log = logging.getLogger("warren.manager")


class UnfitError(Exception):
    """A plan that must not be committed. `str()` has what is wrong with it."""


class Reconciler:
    """Brings what is nearer to what is wanted. `connected` gives the nodes with a session;
    `lease` is in seconds (S20). `trouble` is what keeps it from doing so, None if nothing does."""

    def __init__(
        self, books: Books, *, connected: Callable[[], Collection[str]], lease: float
    ) -> None:
        self._books = books
        self._connected = connected
        self._lease = lease
        self._touched = Touched.everything(books.world)
        self._wake = trio.Event()
        self._wake.set()
        self._aside = books.quarantine
        self._due = math.inf  # in Trio's time
        self._met = trio.Event()
        self.trouble: str | None = None
        self.plans = 0
        books.on_commit.append(self._note)

    def __repr__(self) -> str:
        return f"<Reconciler {self.plans} plans>"

    def note_node(self, name: str) -> None:
        """A node's session has come or gone."""
        self._touched.nodes.add(name)
        self._wake.set()
        self._met.set()

    async def run(self, patience: float = 0.0) -> NoReturn:
        """Plan whenever there is something to plan, for ever. The first plan waits for the first
        node, for at most `patience` seconds: nothing is called pending that is about to run."""
        with trio.move_on_after(patience):
            await self._met.wait()
        while True:
            with trio.move_on_at(self._due):
                await self._wake.wait()
            self._wake = trio.Event()
            await trio.lowlevel.checkpoint()  # what else has come by now is planned along
            self._reconcile()

    def plan_once(self) -> None:
        """Plan now what there is to plan."""
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
        except Exception:  # of one service, most likely: find it, and go on with the rest
            _log.exception("a plan cannot be made or written, which is a bug in Warren")
            self._find_culprits(touched)
            return
        self.trouble = None

    def _step(self, touched: Touched, aside: Collection[str]) -> None:
        """Plan and commit. Raises UnavailableError, UnfitError, and whatever a bug raises."""
        world, connected, now = self._books.world, self._connected(), self._books.now()
        made = plan(
            world,
            touched,
            now=now,
            connected=connected,
            lease=self._lease,
            aside=aside,
            most=AT_ONCE,
        )
        problems = lint(world, made, connected=connected)
        if problems:  # a bug of ours: better nothing than this
            raise UnfitError("; ".join(problems))
        self._commit(made)
        if len(made.changes) >= AT_ONCE:  # there may be more; others have their turn first
            self._touched |= touched
            self._wake.set()
        self._due = _in_trios_time(made.wake_at, now)

    def _commit(self, made: Plan) -> None:
        self._books.commit(made.changes, based_on=made.based_on)
        self.plans += bool(made.changes)

    def _find_culprits(self, touched: Touched) -> None:
        """Plan for the services in halves; those that cannot be planned for alone are aside."""
        left = [name for name in self._books.world.services if name not in self._aside.services]

        def attempt(names: Collection[str]) -> None:
            self._step(touched, self._books.world.services.keys() - names)

        try:
            for name, error in isolate(left, attempt):
                self._aside.add_service(name, told(error))
            self._step(touched, self._aside.services)
        except UnavailableError as error:
            self._note_unwritten(touched, error)
            return
        except Exception as error:  # of no service: told, and tried again with the next change
            self.trouble = f"nothing can be planned: {told(error)}"
            self._touched |= Touched.everything(self._books.world)
            self._due = trio.current_time() + RETRY
            return
        self.trouble = None

    def _note_unwritten(self, touched: Touched, error: UnavailableError) -> None:
        self._touched |= touched
        self._due = trio.current_time() + RETRY
        if self.trouble != str(error):
            _log.error("nothing is planned until the books can be written: %s", error)
        self.trouble = str(error)


def _in_trios_time(wake_at: float | None, now: float) -> float:
    if wake_at is None:
        return math.inf
    return trio.current_time() + max(0.0, wake_at - now)
