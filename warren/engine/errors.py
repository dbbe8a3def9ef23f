"""What an engine does not do: it does not answer, or it answers no."""

from __future__ import annotations

from warren.model.errors import WarrenError

LONGEST_SAID = 500  # characters of what an engine says


class EngineError(WarrenError):
    """An engine did not do what was asked. `str()` is one line."""


class EngineAwayError(EngineError):
    """It does not answer: it is not there, hangs, or says what no engine says."""


class EngineRefusedError(EngineError):
    """It answered no. `status` is the HTTP status."""

    def __init__(self, status: int, said: str, *, is_improper: bool = False) -> None:
        self.status = status
        self._is_improper = is_improper
        super().__init__(one_line(said) or f"HTTP {status}")

    @property
    def is_missing(self) -> bool:
        """There is no such container, image or exec."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """It is not in the state for that: a container that does not run, say."""
        return self.status == 409 or self._is_improper


def one_line(text: str) -> str:
    """What an engine says, as one bounded line of printable characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= LONGEST_SAID else f"{words[: LONGEST_SAID - 3]}..."
