"""What one far side costs: its open questions, the bytes kept for them, and how many list items of
its messages may be read.

    call, bootstrap --> held, with its bytes --> answered, with the answer's bytes --> finished

An answer is kept until the far side says that it is done with it, and so is what is not sent yet. A
peer that asks and does not read, or never finishes, is detected by their sum.
"""

from __future__ import annotations

from collections.abc import Callable

from warren.model.decode import DecodeError
from warren.transport.frames import BOOTSTRAP, CALL, FINISH, OTHER, RETURN, Frame

LEAST = 2048  # bytes that a question costs, however short it is


class UnreadError(Exception):
    """The far side has more open than it may. `str()` says what."""


class OverdrawnError(DecodeError):
    """A message has more to be walked than may be: it is no message of somebody who means well."""


class Budget:
    """How many items of lists may be read: never more than there were words received. So the work
    is bounded by what was sent, though a message may point at the same place many times, and though
    a list's items may take no room at all."""

    def __init__(self, left: int, *, most: int | None = None) -> None:
        self.left = left
        self._most = left if most is None else most

    def __repr__(self) -> str:
        return f"<Budget of {self.left} items>"

    def grow(self, words: int) -> None:
        """So many words have been received."""
        self.left = min(self._most, self.left + words)

    def take(self, items: int) -> None:
        """Before a list is walked. Raises OverdrawnError."""
        if items > self.left:
            wanted = "want lists that take no less room in a message than they have items"
            raise OverdrawnError((), f"{items} items", wanted)
        self.left -= items


class PeerBudget:
    """The account of one connection. `unsent` returns the number of bytes not sent yet."""

    def __init__(
        self, unsent: Callable[[], int], *, questions: int, held: int, message: int
    ) -> None:
        self.budget = Budget(0, most=message // 8)
        self._unsent = unsent
        self._most_questions = questions
        self._most_held = held
        self._open: dict[int, int] = {}
        self._unknown = 0
        self._held = 0

    def __repr__(self) -> str:
        return f"<PeerBudget: {len(self._open)} questions open, {self._held} bytes held>"

    def came(self, frame: Frame) -> None:
        """A message of the far side. Raises UnreadError."""
        self.budget.grow(frame.size // 8)
        if frame.kind == FINISH:
            self._held -= self._open.pop(frame.question, 0)
        elif frame.kind in (CALL, BOOTSTRAP):
            self._check()
            self._hold(frame)
        elif frame.kind == OTHER:
            self._unknown += 1
            self._check()

    def went(self, frame: Frame) -> None:
        """A message to it. Raises UnreadError, before the message is added."""
        if self._held > self._most_held or self._unsent():
            self._check()
        if frame.kind == RETURN and frame.question in self._open:
            self._hold(frame)

    def _hold(self, frame: Frame) -> None:
        size = max(frame.size, LEAST)
        self._held += size - self._open.get(frame.question, 0)
        self._open[frame.question] = size

    def _check(self) -> None:
        count = len(self._open) + self._unknown
        if count > self._most_questions:
            raise UnreadError(f"it has {count} questions open; want their answers read")
        held = self._held + self._unsent()
        if held > self._most_held:
            raise UnreadError(f"{held >> 20} MiB of answers wait for it; want them read")
