"""Places for the calls of one connection. What keeps tasks alive has its own, which calls of those
who only look cannot use up: a node that a thousand people watch is still told what to hold.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from warren.model.errors import OverloadedError


class Kind(enum.Enum):
    """KEEPING keeps tasks and sessions alive, ASKING is how the manager sees for somebody; WATCHING
    is everything else, and may wait for as long as it likes."""

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


class Places:
    """Those of one connection; `calls` are for WATCHING."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._taken = Counter[Kind]()

    def __repr__(self) -> str:
        return f"<Places {', '.join(f'{k.value} {n}' for k, n in self._taken.items())}>"

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
