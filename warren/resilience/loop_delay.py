"""How late the event loop is: the delay that a share of all moments does not exceed."""

from __future__ import annotations

from collections.abc import Sequence

from warren.resilience.conditions import Conditions

WINDOW = 10.0  # seconds looked back
SHARE = 0.99
TOO_LATE = 0.1  # seconds
PART = 2.0  # seconds: stalls so long in ...
SEVERAL = 3  # ... fewer parts of the window than this are a hiccup, a burst of starts say


def lateness(stalls: Sequence[float], *, window: float = WINDOW, share: float = SHARE) -> float:
    """A task that comes due within a stall waits for the rest of it: the wait, in seconds, that is
    not exceeded at this share of all moments of the window."""
    allowed = (1 - share) * window
    lengths = sorted(stalls, reverse=True)
    excess = 0.0
    for count, length in enumerate(lengths, 1):
        shorter = lengths[count] if count < len(lengths) else 0.0
        if excess + count * (length - shorter) >= allowed:
            return length - (allowed - excess) / count
        excess += count * (length - shorter)
    return 0.0


def note_lateness(conditions: Conditions, stalls: Sequence[tuple[float, float]]) -> None:
    """Set the condition where the loop is late, by its stalls of the last WINDOW seconds: how long
    each was, and how long ago it ended."""
    late = lateness([length for length, _ in stalls])
    several = len({ago // PART for length, ago in stalls if length > TOO_LATE}) >= SEVERAL
    conditions.hold(
        "lag",
        f"the event loop is {late * 1000:.0f} ms late (p99 of {WINDOW:.0f} s): too much to do, or "
        "too little of a processor"
        if late > TOO_LATE and several
        else None,
    )
