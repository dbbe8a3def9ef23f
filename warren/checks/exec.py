"""The exec check: a command in the task's own context; exit 0 passes (S13).

The runtime starts the command, keeps the time, and kills and reaps all of it; here its result is
interpreted. Invariant: the detail is the end first, then the output, bounded.
"""

from __future__ import annotations

from warren.checks.attempt import excused
from warren.checks.detail import bounded, decode_output
from warren.model.check import DETAIL_LIMIT, ExecCheck, Outcome, Result
from warren.model.duration import format_duration
from warren.model.interfaces import CannotRunError, CommandResult, Target
from warren.resilience.loop_lag import LoopLag


class ExecChecker:
    """Runs exec checks."""

    def __init__(self, *, lag: LoopLag | None = None) -> None:
        self._lag = lag

    async def __call__(self, check: ExecCheck, target: Target, *, timeout: float) -> Outcome:
        """One attempt. `timeout` seconds count from when the command has started."""
        if target.run is None:
            return Outcome(Result.ERROR, "this task has no context to run commands in")
        lag = self._lag or LoopLag.current()
        lag.begin()
        try:
            result = await target.run(check.command, timeout=timeout, output_limit=DETAIL_LIMIT)
        except CannotRunError as error:
            return Outcome(Result.ERROR, bounded(str(error)))
        finally:
            lag.finish()
        outcome = _outcome(result, timeout)
        if outcome.result is Result.FAIL:
            start = lag.clock() - result.duration
            end = start + (timeout if result.timed_out else result.duration)
            stalled = lag.blamed(start, end, timeout=timeout)
            if stalled is not None:
                return excused(outcome, stalled, is_cut=result.timed_out)
        return outcome


def _outcome(result: CommandResult, timeout: float) -> Outcome:
    passed = result.exit_code == 0 and not result.timed_out
    output = decode_output(result.output)
    detail = f"{_end(result, timeout)}: {output}" if output else _end(result, timeout)
    return Outcome(Result.PASS if passed else Result.FAIL, bounded(detail), result.duration)


def _end(result: CommandResult, timeout: float) -> str:
    if result.timed_out:
        return f"no exit within {format_duration(timeout)}"
    if result.exit_code is None:
        return f"killed by {result.signal}"
    return f"exit code {result.exit_code}"
