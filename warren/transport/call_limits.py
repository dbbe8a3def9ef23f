"""Places for the calls of one connection. Calls that keep tasks alive have their own, which calls
that only watch cannot use up: a node watched by a thousand clients still gets its assignments.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from warren.model.errors import OverloadedError


class Kind(enum.Enum):
    """KEEPING keeps tasks and sessions alive, ASKING is how the manager looks something up for a
    client; WATCHING is everything else, and may wait for any length of time."""

    KEEPING = "keeping"
    ASKING = "asking"
    WATCHING = "watching"


KINDS: Mapping[str, Kind] = {
    "enroll": Kind.KEEPING,
    "report_task_health": Kind.KEEPING,
    "renew": Kind.KEEPING,
    "assign": Kind.KEEPING,
    "look": Kind.ASKING,
}
OWN = 100  # places of KEEPING, and of ASKING


class CallLimits:
    """Those of one connection; `calls` are for WATCHING."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._taken = Counter[Kind]()

    def __repr__(self) -> str:
        return f"<CallLimits {', '.join(f'{k.value} {n}' for k, n in self._taken.items())}>"

    @contextmanager
    def taken(self, method: str) -> Generator[None, None, None]:
        """A place for a call of this method. Raises OverloadedError where there is none."""
        kind = KINDS.get(method, Kind.WATCHING)
        count = self._taken[kind]
        if count >= (self._calls if kind is Kind.WATCHING else OWN):
            raise OverloadedError(f"{count} calls of this connection are in flight already")
        self._taken[kind] += 1
        try:
            yield
        finally:
            self._taken[kind] -= 1
