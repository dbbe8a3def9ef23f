"""The boundary of a loop that serves for ever: what fails in it is logged, and it goes on.

    async with boundary: one pass ----> next pass
                          `-- raised: log, condition, wait, longer each time --> next pass

No shortage (descriptors, processes, memory, disk) and no bug in one loop may end the supervisor or
the manager: every task would end with it. Cancellation and Ctrl-C pass through.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import cast

from warren.resilience.backoff import Backoff
from warren.resilience.conditions import Conditions

FIRST_PAUSE = 0.1  # seconds
LONGEST_PAUSE = 5.0
_log = logging.getLogger("warren")


class Boundary:
    """Around each pass of the loop named `what`, such as `reaping`."""

    def __init__(self, what: str, conditions: Conditions) -> None:
        self._kind = f"{what} fails"
        self._conditions = conditions
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._told = ""

    def __repr__(self) -> str:
        return f"<Boundary {self._kind}{f': {self._told}' if self._told else ''}>"

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self.note_well()
            return False
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            failed, passing = group.split(Exception)
            if passing is not None:  # it failed just as it was cancelled
                if failed is not None:
                    self._note_failed(failed)
                raise passing
        if not isinstance(error, Exception):
            return False
        self._note_failed(error)
        await self._backoff.wait()
        return True

    def note_well(self) -> None:
        """The pass works: to be called in a pass that lasts."""
        if self._told:
            self._told = ""
            self._backoff.reset()
            self._conditions.clear(self._kind)

    def _note_failed(self, error: Exception) -> None:
        said = told(error)
        if said != self._told:  # once: a shortage may last
            self._told = said
            origin = None if _is_shortage(error) else error
            _log.error("%s, and is tried again: %s", self._kind, said, exc_info=origin)
        self._conditions.set(self._kind, said)


def _is_shortage(error: Exception) -> bool:
    """Whether it is the system's, so that where it came from says nothing of a bug."""
    if isinstance(error, ExceptionGroup):
        return cast("ExceptionGroup[Exception]", error).split(OSError)[1] is None
    return isinstance(error, OSError)


def told(error: BaseException) -> str:
    """One line about it; of a group the first of all."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return told(group.exceptions[0])
    text = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def survived(what: str) -> Generator[None, None, None]:
    """As a boundary, around what is done once: a failure is logged, and what follows goes on."""
    try:
        yield
    except Exception:
        _log.exception("%s failed", what)
