"""Restart here, or give up (S17)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.duration import Duration
from warren.model.service import Condition, Restart
from warren.model.task import End, Phase, Reason, RestartHistory
from warren.rules.restart import JITTER, GiveUp, StartAgain, decide, replacement_delay

NEW = RestartHistory()
DEFAULT = Restart()
ENDLESS = Restart(max_attempts=1_000_000)
NO_FAILURES = (Reason.STOP_ASKED, Reason.REBOOTED, Reason.UNKNOWN)
FAILURES = [reason for reason in Reason if reason not in NO_FAILURES]


def end(reason: Reason = Reason.EXITED, exit_code: int | None = 1) -> End:
    return End(reason=reason, message="exit code 1", at=0.0, exit_code=exit_code)


def after(
    policy: Restart,
    history: RestartHistory,
    how: End | None = None,
    *,
    now: float = 1000.0,
    ready_for: float = 0.0,
    jitter: float = 0.0,
) -> StartAgain | GiveUp:
    return decide(policy, history, how or end(), now=now, ready_for=ready_for, jitter=jitter)


def delays(
    policy: Restart, count: int, *, apart: float = 1.0, jitter: float = 0.0
) -> list[float | str]:
    """The delay of each restart of a task that fails every so many seconds, or why it gave up."""
    history, found = NEW, list[float | str]()
    for index in range(count):
        decision = after(policy, history, now=1000.0 + index * apart, jitter=jitter)
        if isinstance(decision, GiveUp):
            found.append(decision.message)
            break
        found.append(decision.delay)
        history = decision.history
    return found


# How fast


def test_restart_is_at_once_then_backs_off_to_the_longest_delay() -> None:
    assert delays(ENDLESS, 10) == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_restart_delays_are_the_specs() -> None:
    policy = Restart(delay=Duration(0.5), max_delay=Duration(3), max_attempts=100)
    assert delays(policy, 6) == [0, 0.5, 1, 2, 3, 3]


def test_restart_delay_of_zero_stays_zero() -> None:
    policy = Restart(delay=Duration(0), max_attempts=100)
    assert delays(policy, 5) == [0, 0, 0, 0, 0]


def test_restart_streak_of_thousands_does_not_overflow() -> None:
    decision = after(ENDLESS, RestartHistory(streak=5000))
    assert isinstance(decision, StartAgain)
    assert decision.delay == 60


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_restart_jitter_lengthens_by_up_to_its_share(streak: int, jitter: float) -> None:
    plain = after(ENDLESS, RestartHistory(streak=streak))
    drawn = after(ENDLESS, RestartHistory(streak=streak), jitter=jitter)
    assert isinstance(plain, StartAgain)
    assert isinstance(drawn, StartAgain)
    assert plain.delay <= drawn.delay <= plain.delay * (1 + JITTER)
    assert drawn.delay <= 60 * (1 + JITTER)


# How often


def test_restart_gives_up_after_max_attempts_within_the_window() -> None:
    assert delays(DEFAULT, 10) == [0, 1, 2, 4, 8, "exit code 1; 5 restarts within 5m"]


def test_restart_gives_up_as_failed_so_that_the_slot_is_filled_again() -> None:
    history = RestartHistory((996.0, 997.0, 998.0, 999.0, 1000.0), 5, 5)
    decision = after(DEFAULT, history)
    assert isinstance(decision, GiveUp)
    assert decision.phase is Phase.FAILED


def test_restart_before_the_window_is_forgotten() -> None:
    # Every 75 s: four restarts are within any 300 s, the one 300 s ago just is not.
    assert len(delays(DEFAULT, 50, apart=75)) == 50
    assert delays(DEFAULT, 50, apart=59.9)[-1] == "exit code 1; 5 restarts within 5m"


def test_restart_history_holds_no_more_than_the_window() -> None:
    history = RestartHistory((100.0, 690.0, 700.0, 700.1, 999.0), 5, 9)
    decision = after(DEFAULT, history, now=1000.0)
    assert isinstance(decision, StartAgain)
    assert decision.history == RestartHistory((700.1, 999.0, 1000.0), 6, 10)


def test_restart_clock_set_back_holds_no_restart_for_ever() -> None:
    history = RestartHistory((9001.0, 9002.0, 9003.0, 9004.0, 9005.0), 5, 5)
    decision = after(DEFAULT, history, now=1000.0)
    assert isinstance(decision, StartAgain)
    assert decision.history.times == (1000.0,)
    assert decision.delay == 16  # the streak is no matter of the clock


def test_restart_clock_set_forward_forgets() -> None:
    history = RestartHistory((1.0, 2.0, 3.0, 4.0, 5.0), 5, 5)
    assert isinstance(after(DEFAULT, history, now=10_000.0), StartAgain)


# Good running


@pytest.mark.parametrize(("ready_for", "delay"), [(0, 4), (59.9, 4), (60, 0), (86400, 0)])
def test_restart_after_good_running_is_at_once(ready_for: float, delay: float) -> None:
    decision = after(DEFAULT, RestartHistory((), 3, 3), ready_for=ready_for, jitter=0.0)
    assert isinstance(decision, StartAgain)
    assert decision.delay == delay
    assert decision.history.streak == (4 if delay else 1)
    assert decision.history.total == 4


def test_restart_good_running_is_the_specs() -> None:
    policy = Restart(reset_after=Duration(5))
    decision = after(policy, RestartHistory((), 3, 3), ready_for=5)
    assert isinstance(decision, StartAgain)
    assert decision.delay == 0


# Whether at all


@pytest.mark.parametrize(
    ("condition", "exit_code", "phase"),
    [
        (Condition.ALWAYS, 0, None),
        (Condition.ALWAYS, 1, None),
        (Condition.ON_FAILURE, 0, Phase.COMPLETE),
        (Condition.ON_FAILURE, 1, None),
        (Condition.NEVER, 0, Phase.COMPLETE),
        (Condition.NEVER, 1, Phase.FAILED),
    ],
)
def test_restart_condition_decides(
    condition: Condition, exit_code: int, phase: Phase | None
) -> None:
    decision = after(Restart(condition=condition), NEW, end(exit_code=exit_code))
    assert (decision.phase if isinstance(decision, GiveUp) else None) is phase


@pytest.mark.parametrize("reason", [r for r in FAILURES if r is not Reason.EXITED])
@pytest.mark.parametrize("exit_code", [None, 0])
def test_restart_failure_is_one_whatever_the_exit_code(
    reason: Reason, exit_code: int | None
) -> None:
    how = end(reason, exit_code)  # S16
    assert isinstance(after(Restart(condition=Condition.ON_FAILURE), NEW, how), StartAgain)
    given_up = after(Restart(condition=Condition.NEVER), NEW, how)
    assert given_up == GiveUp(Phase.FAILED, how.message)


@pytest.mark.parametrize("condition", Condition)
def test_restart_never_follows_a_stop_that_was_asked_for(condition: Condition) -> None:
    asked = end(Reason.STOP_ASKED, 0)
    assert after(Restart(condition=condition), NEW, asked) == GiveUp(Phase.STOPPED, asked.message)


@pytest.mark.parametrize("condition", Condition)
def test_restart_after_a_reboot_is_none_and_is_not_counted(condition: Condition) -> None:
    history = RestartHistory((996.0, 997.0, 998.0, 999.0, 1000.0), 5, 5)
    rebooted = end(Reason.REBOOTED, None)
    decision = after(Restart(condition=condition), history, rebooted)
    assert decision == StartAgain(0.0, history)


@given(
    st.lists(st.tuples(st.floats(0, 400), st.floats(0, 100)), max_size=60),
    st.integers(1, 6),
)
def test_restart_never_exceeds_max_attempts_within_any_window(
    failures: list[tuple[float, float]], most: int
) -> None:
    policy, history, now = Restart(max_attempts=most), NEW, 1000.0
    restarts: list[float] = []
    for wait, ready_for in failures:
        now += wait
        decision = after(policy, history, now=now, ready_for=ready_for)
        if isinstance(decision, GiveUp):
            break
        history = decision.history
        restarts.append(now)
    for last in restarts:
        assert sum(last - policy.window < at <= last for at in restarts) <= most
    assert history.total == len(restarts)


# Replacement


def test_replacement_is_at_once_then_backs_off_to_five_minutes() -> None:
    waits = [replacement_delay(count, jitter=0) for count in range(9)]
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_replacement_delay_is_bounded(failed_before: int, jitter: float) -> None:
    assert 0 <= replacement_delay(failed_before, jitter=jitter) <= 300 * (1 + JITTER)


@pytest.mark.parametrize(
    ("exit_code", "signal", "is_failure"),
    [(0, None, False), (None, None, False), (3, None, True), (None, "SIGKILL", True)],
)
def test_restart_end_of_an_unknown_reason_is_judged_by_how_it_ended(
    exit_code: int | None, signal: str | None, *, is_failure: bool
) -> None:
    ended = End(reason=Reason.UNKNOWN, message="", at=0.0, exit_code=exit_code, signal=signal)
    assert ended.is_failure is is_failure
