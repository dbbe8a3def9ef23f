"""Restart here, or give up (S17): pure; the jitter is drawn by the caller.

failure 1, or after good running   at once
failure 2, 3, 4 ...                delay, 2 delay, 4 delay ... up to max_delay, with jitter
max_attempts restarts in window    FAILED; the slot gets a new task
"""

from __future__ import annotations

import msgspec

from warren.model.duration import format_duration
from warren.model.plural import counted
from warren.model.service import Condition, Restart
from warren.model.task import End, Phase, Reason, RestartHistory

JITTER = 0.1  # a wait is lengthened by up to this share
REPLACEMENT_DELAY = 10.0  # seconds
REPLACEMENT_MAX_DELAY = 300.0


class StartAgain(msgspec.Struct, frozen=True):
    """Start a new instance after `delay` seconds."""

    delay: float
    history: RestartHistory


class GiveUp(msgspec.Struct, frozen=True):
    """End the task in this phase, for this reason."""

    phase: Phase
    message: str


def decide(
    policy: Restart,
    history: RestartHistory,
    end: End,
    *,
    now: float,
    ready_for: float,
    jitter: float,
) -> StartAgain | GiveUp:
    """What follows an instance's end at wall time `now`, after `ready_for` seconds of readiness.

    `jitter` is drawn from [0, 1).
    """
    if end.reason is Reason.STOP_ASKED:
        return GiveUp(Phase.STOPPED, end.message)
    if end.reason is Reason.REBOOTED:
        return StartAgain(0.0, history)  # not caused by the task: no restart is counted
    if policy.condition is Condition.NEVER and end.is_failure:
        return GiveUp(Phase.FAILED, end.message)
    if policy.condition is not Condition.ALWAYS and not end.is_failure:
        return GiveUp(Phase.COMPLETE, end.message)
    # A clock set back must not keep old restarts in the window for ever, hence the lower bound.
    recent = tuple(t for t in history.times if now - policy.window < t <= now)
    if len(recent) >= policy.max_attempts:
        restarts = f"{counted(len(recent), 'restart')} within {format_duration(policy.window)}"
        return GiveUp(Phase.FAILED, f"{end.message}; {restarts}")
    streak = 0 if ready_for >= policy.reset_after else history.streak
    return StartAgain(
        _delay(policy.delay, policy.max_delay, streak, jitter),
        RestartHistory((*recent, now), streak + 1, history.total + 1),
    )


def replacement_delay(failed_before: int, *, jitter: float) -> float:
    """Seconds until a slot whose tasks FAILED gets a new one: 0, then 10, 20 ... up to 300."""
    return _delay(REPLACEMENT_DELAY, REPLACEMENT_MAX_DELAY, failed_before, jitter)


def _delay(first: float, longest: float, streak: int, jitter: float) -> float:
    if streak == 0:
        return 0.0
    # min() before the power is spent: 2.0 ** 2000 would overflow.
    return min(longest, first * 2.0 ** min(streak - 1, 60)) * (1 + JITTER * jitter)
