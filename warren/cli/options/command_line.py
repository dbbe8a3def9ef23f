"""The words after `--` on the command line, which the parser does not tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from warren.model.errors import SpecError

_after: ContextVar[tuple[str, ...]] = ContextVar("after_dashes", default=())


def note(arguments: Sequence[str]) -> None:
    """Remember what stands after the first `--`."""
    words = [*arguments]
    _after.set(tuple(words[words.index("--") + 1 :]) if "--" in words else ())


def command_after_dashes(command: Sequence[str]) -> tuple[str, ...]:
    """The command, which must stand after `--` as a whole. Raises SpecError.

    Else `--env A=1 B=2` would run B=2.
    """
    if tuple(command) != _after.get():
        stray = command[0] if command else _after.get()[0]
        raise SpecError("COMMAND", "want it after --, such as: -- redis-server", value=stray)
    return tuple(command)
