"""Reasons of an end, in words for people (S18)."""

from __future__ import annotations

from warren.model.check import Outcome
from warren.model.plural import counted
from warren.model.probe import ProbeKind
from warren.model.task import End


def probe_failure(kind: ProbeKind, failures: int, last: Outcome | None) -> str:
    """`liveness probe failed 3 times: HTTP 500`."""
    times = "once" if failures == 1 else counted(failures, "time")
    return f"{kind.value} probe failed {times}: {last.detail if last else 'no outcome'}"


def settle(cause: End | None, own: End | None) -> End:
    """How an instance ended: our `cause` where we ended it, with the process's `own` exit."""
    if cause is None:
        assert own is not None
        return own
    if own is None:
        return cause
    return End(
        reason=cause.reason,
        message=_with_exit(cause.message, own),
        at=own.at,
        exit_code=own.exit_code,
        signal=own.signal,
        memory=own.memory,
    )


def _with_exit(message: str, own: End) -> str:
    if own.memory is not None:
        return f"{message}; {own.message}"
    if own.signal == "SIGKILL":
        return f"{message}; killed by SIGKILL"
    return f"{message}; exit code {own.exit_code}" if own.exit_code else message
