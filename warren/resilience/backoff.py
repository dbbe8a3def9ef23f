"""Pauses between attempts at what may fail again: each twice the last, up to a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import random


class Backoff:
    """Pauses of `first`, 2 x `first`, 4 x `first` ... seconds, at most `longest`, until `reset`.

    With `chance` each is longer by a random share of it, up to as long again, so that many which
    failed together do not come back together; the limit is then 2 x `longest`.
    """

    def __init__(
        self, first: float, longest: float, *, chance: random.Random | None = None
    ) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._pause = first

    def __repr__(self) -> str:
        return f"<Backoff {self._pause:g}s of at most {self._longest:g}s>"

    def next(self) -> float:
        """The length of the next pause, in seconds. The one after it is longer."""
        pause, self._pause = self._pause, min(2 * self._pause, self._longest)
        return pause if self._chance is None else pause * (1 + self._chance.random())

    def reset(self) -> None:
        """The last attempt was good: begin anew."""
        self._pause = self._first

    async def wait(self) -> None:
        """Sleep for the next pause."""
        await trio.sleep(self.next())
