"""Exec checks: what a command's end means (S13)."""

from __future__ import annotations

import pytest

from warren.checks import Checker, LoopLag, run_check
from warren.model.check import DETAIL_LIMIT, Argv, ExecCheck, Outcome, Result
from warren.model.interfaces import CannotRunError, CommandResult, Target

CHECK = ExecCheck(Argv(("pg_isready", "-q")))


class Context:
    """A task's context in which every command ends as told."""

    def __init__(self, result: CommandResult | CannotRunError) -> None:
        self.result = result
        self.asked: list[tuple[Argv, float, int]] = []

    async def __call__(self, argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
        self.asked.append((argv, timeout, output_limit))
        if isinstance(self.result, CannotRunError):
            raise self.result
        return self.result


async def ask(result: CommandResult | CannotRunError) -> Outcome:
    return await run_check(CHECK, Target(run=Context(result)), timeout=1)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (CommandResult(exit_code=0, duration=0.5), Outcome(Result.PASS, "exit code 0", 0.5)),
        (CommandResult(exit_code=0, output=b"up\n"), Outcome(Result.PASS, "exit code 0: up")),
        (CommandResult(exit_code=3, output=b"a\nb\n"), Outcome(Result.FAIL, "exit code 3: a\nb")),
        (CommandResult(exit_code=127), Outcome(Result.FAIL, "exit code 127")),
        (
            CommandResult(exit_code=None, signal="SIGKILL"),
            Outcome(Result.FAIL, "killed by SIGKILL"),
        ),
        (CommandResult(exit_code=None, timed_out=True), Outcome(Result.FAIL, "no exit within 1s")),
        (
            CommandResult(exit_code=None, timed_out=True, output=b"waiting"),
            Outcome(Result.FAIL, "no exit within 1s: waiting"),
        ),
        (CannotRunError("pg_isready: not found"), Outcome(Result.ERROR, "pg_isready: not found")),
    ],
)
async def test_exec_outcome_follows_from_the_end(
    result: CommandResult | CannotRunError, outcome: Outcome
) -> None:
    assert await ask(result) == outcome  # S1, S13


async def test_exec_runs_in_the_tasks_context() -> None:
    context = Context(CommandResult(exit_code=0))
    await run_check(CHECK, Target(run=context), timeout=2.5)
    assert context.asked == [(CHECK.command, 2.5, 4096)]  # S13


@pytest.mark.parametrize(
    ("late", "detail"),
    [
        (CommandResult(exit_code=None, timed_out=True, duration=1.1), ""),
        (CommandResult(exit_code=1, duration=0.8), "; then: exit code 1"),
    ],
)
async def test_exec_fail_while_our_loop_stalled_is_an_error(
    late: CommandResult, detail: str
) -> None:
    now = [0.0]
    lag = LoopLag(lambda: now[0])
    now[0] = 0.5
    lag.before_io_wait(late.duration - 0.5)  # a pass of half a second
    now[0] = late.duration
    outcome = await Checker(lag=lag)(CHECK, Target(run=Context(late)), timeout=1)  # S1
    told = f"our own event loop was stalled for 0.5s{detail}"
    assert outcome == Outcome(Result.ERROR, told, late.duration)


async def test_exec_without_a_context_is_an_error() -> None:
    outcome = await run_check(CHECK, Target(), timeout=1)  # S1
    assert outcome.result is Result.ERROR


async def test_exec_detail_is_bounded_and_harmless() -> None:
    outcome = await ask(CommandResult(exit_code=1, output=b"\x1b[2J\xff" + "€".encode() * 2000))
    assert len(outcome.detail.encode()) <= DETAIL_LIMIT  # S13
    assert "\x1b" not in outcome.detail
    assert outcome.detail.endswith("€")
