"""The reconcile loop: wakes when something changed or is due, plans, lints, commits.

    woken or due -> plan -> lint -> commit, if the generation is still the plan's -> woken again
                                    until there is nothing left to plan

Level-triggered: it looks at what is, whatever woke it, and everything it needs is in the world.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

import trio

from warren.manager.books import Books
from warren.model.cluster import Change
from warren.model.errors import UnavailableError
from warren.rules.lint import lint
from warren.rules.planner import plan
from warren.rules.world import Touched

RETRY = 1.0  # seconds until a plan that could not be written is tried again
_log = logging.getLogger("warren.manager")


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

    def _note(self, _changes: Sequence[Change], touched: Touched) -> None:
        self._touched |= touched
        self._wake.set()

    def _reconcile(self) -> None:
        touched, self._touched = self._touched, Touched()
        world, connected, now = self._books.world, self._connected(), self._books.now()
        made = plan(world, touched, now=now, connected=connected, lease=self._lease)
        self._due = _in_trios_time(made.wake_at, now)
        problems = lint(world, made, connected=connected)
        if problems:  # a bug of ours: better nothing than this
            self.trouble = f"a plan is unfit: {problems[0]}"
            _log.error("a plan is unfit and is dropped: %s", "; ".join(problems))
            self._touched |= Touched.everything(world)  # looked at again with the next change
            return
        try:
            self._books.commit(made.changes, based_on=made.based_on)
        except UnavailableError as error:
            self._note_unwritten(touched, error)
            return
        self.trouble = None
        self.plans += bool(made.changes)

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
