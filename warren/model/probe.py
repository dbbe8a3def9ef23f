"""Probes: which question is asked, how often, and when its answers become a verdict."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from warren.model.check import Check, ExecCheck, HttpCheck, TcpCheck
from warren.model.check_kinds import NAMES
from warren.model.duration import Duration
from warren.model.errors import FieldError
from warren.model.field_types import settle_types

SHORTEST_INTERVAL = 0.010  # seconds
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class ProbeKind(enum.Enum):
    """Which question it is. UNKNOWN is one of a node of a later version: it is shown, and no
    decision is made by it."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"
    UNKNOWN = "unknown"


class Verdict(enum.Enum):
    """A probe's conclusion. UNKNOWN is startup's before its verdict (S4), and
    that of every probe while nothing runs; and one that only a later version knows."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Probe(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One probe: a check of exactly one kind, and its numbers. Durations are seconds."""

    http: HttpCheck | None = None
    tcp: TcpCheck | None = None
    exec: ExecCheck | None = None
    interval: Duration = Duration(30)
    timeout: Duration = Duration(10)
    retries: Count = 3
    successes: Count = 1
    start_period: Duration = Duration(0)
    initial_delay: Duration = Duration(0)
    fast_interval: Duration | None = None

    def __post_init__(self) -> None:
        settle_types(self)
        checks = [name for name in NAMES if getattr(self, name) is not None]
        if len(checks) != 1:
            got = " and ".join(checks) or "none"
            wanted = f"want exactly one of {', '.join(NAMES[:-1])} and {NAMES[-1]}"
            raise FieldError("check", got, wanted)
        for name in ("interval", "fast_interval"):
            value: Duration | None = getattr(self, name)
            if value is not None and value < SHORTEST_INTERVAL:
                raise FieldError(name, value, "want at least 10ms")
        if self.fast_interval is not None and self.fast_interval > self.interval:
            wanted = f"want at most the interval, {self.interval}"
            raise FieldError("fast_interval", self.fast_interval, wanted)
        if self.timeout <= 0:
            raise FieldError("timeout", self.timeout, "want more than 0")

    @property
    def check(self) -> Check:
        """The question this probe asks."""
        for name in NAMES:
            check: Check | None = getattr(self, name)
            if check is not None:
                return check
        raise AssertionError("a probe has a check")

    @property
    def pace(self) -> float:
        """Seconds between attempts until the first pass (S8)."""
        return self.fast_interval if self.fast_interval is not None else min(self.interval, 1.0)
