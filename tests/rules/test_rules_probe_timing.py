"""When a probe asks next: at once, then at its pace, then on its grid."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.check import Outcome, Result, TcpCheck
from warren.model.duration import Duration
from warren.model.probe import Probe, ProbeKind
from warren.rules.probe import ProbeRecord, next_counted, observe
from warren.rules.probe_timing import (
    adopted_attempt,
    first_attempt,
    grid_point,
    next_attempt,
    phase,
)

KEY = "web.2#7/liveness"
lengths = st.floats(0.01, 3600)


@st.composite
def probes(draw: st.DrawFn) -> Probe:
    """Any interval, and any pace that it may have."""
    interval = draw(lengths)
    fast = draw(st.none() | st.floats(0.01, interval).map(Duration))
    return Probe(tcp=TcpCheck(80), interval=Duration(interval), fast_interval=fast)


times = st.floats(0, 1e7)
keys = st.text()


def probe(
    interval: float = 30, *, fast_interval: float | None = None, initial_delay: float = 0
) -> Probe:
    return Probe(
        tcp=TcpCheck(80),
        interval=Duration(interval),
        fast_interval=None if fast_interval is None else Duration(fast_interval),
        initial_delay=Duration(initial_delay),
    )


def is_on_grid(at: float, interval: float, key: str) -> bool:
    steps = (at - phase(key) * interval) / interval
    return math.isclose(steps, round(steps), abs_tol=1e-5)


def test_schedule_first_attempt_is_at_once() -> None:
    assert first_attempt(probe(), started=100, now=100.25) == 100.25  # S7


def test_schedule_first_attempt_waits_for_the_initial_delay_from_the_start() -> None:
    slow = probe(initial_delay=5)
    assert first_attempt(slow, started=100, now=101) == 105
    assert first_attempt(slow, started=100, now=105) == 105
    assert first_attempt(slow, started=100, now=106) == 106  # it has gone by: at once


@pytest.mark.parametrize(
    ("interval", "fast", "steps"),
    [(30, None, 1.0), (0.5, None, 0.5), (30, 0.25, 0.25), (30, 30, 30.0)],
)
def test_schedule_before_the_first_pass_keeps_the_fast_pace(
    interval: float, fast: float | None, steps: float
) -> None:
    asked = probe(interval, fast_interval=fast)
    following = next_attempt(asked, has_passed=False, key=KEY, last=100, now=100.01)
    assert following == 100 + steps  # S8


@pytest.mark.parametrize(
    ("over", "following"), [(100.0, 101), (100.9, 101), (101.0, 101), (101.1, 102), (107.5, 108)]
)
def test_schedule_drops_the_points_a_slow_attempt_has_missed(over: float, following: int) -> None:
    assert next_attempt(probe(), has_passed=False, key=KEY, last=100, now=over) == following  # S9


def test_schedule_after_the_first_pass_follows_a_fixed_grid() -> None:
    at, seen = 100.0, list[float]()
    for _ in range(1000):
        at = next_attempt(probe(30), has_passed=True, key=KEY, last=at, now=at + 0.3)
        seen.append(at)
    assert all(is_on_grid(point, 30, KEY) for point in seen)
    gaps = [after - before for before, after in itertools.pairwise(seen)]
    assert all(math.isclose(gap, 30, abs_tol=1e-6) for gap in gaps)  # no drift
    assert 115 <= seen[0] < 145.001


def test_schedule_grid_drops_what_a_slow_attempt_has_missed() -> None:
    last = grid_point(10, KEY, earliest=1000)
    following = next_attempt(probe(10), has_passed=True, key=KEY, last=last, now=last + 34)
    assert math.isclose(following, last + 40, abs_tol=1e-6)


def test_schedule_grid_attempt_that_ends_at_a_point_uses_that_point() -> None:
    last = grid_point(10, KEY, earliest=1000)
    following = next_attempt(probe(10), has_passed=True, key=KEY, last=last, now=last + 10)
    assert math.isclose(following, last + 10, abs_tol=1e-6)


def test_schedule_adopted_instance_joins_at_its_grid_point() -> None:
    before = adopted_attempt(probe(30), key=KEY, now=1000)
    assert is_on_grid(before, 30, KEY)
    assert 1000 - 1e-4 <= before < 1030
    # The same point on both sides of a supervisor's restart.
    again = adopted_attempt(probe(30), key=KEY, now=before - 0.5)
    assert math.isclose(again, before, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("key", "expected"), [("web.1#1/liveness", 0.207604), ("web.2#7/liveness", 0.646355)]
)
def test_schedule_phase_is_the_same_in_every_process(key: str, expected: float) -> None:
    assert math.isclose(phase(key), expected, abs_tol=1e-6)


@given(keys)
def test_schedule_phase_is_a_share_of_the_interval(key: str) -> None:
    assert 0 <= phase(key) < 1


def test_schedule_phases_of_a_thousand_tasks_are_spread() -> None:
    tenths = [0] * 10
    for slot in range(1, 1001):
        tenths[int(phase(f"web.{slot}#1/liveness") * 10)] += 1
    assert min(tenths) > 60
    assert max(tenths) < 140


def test_schedule_probes_of_one_task_do_not_fire_together() -> None:
    assert len({phase(f"web.1#1/{kind}") for kind in ("startup", "liveness", "readiness")}) == 3


@given(probes(), keys, times, st.floats(0, 1e4))
def test_schedule_grid_attempts_are_on_the_grid_and_apart(
    asked: Probe, key: str, last: float, took: float
) -> None:
    now = last + took
    following = next_attempt(asked, has_passed=True, key=key, last=last, now=now)
    slack = asked.interval * 1e-5 + 1e-6
    assert following >= now - slack  # S9: never before the last one is over
    assert following >= last + asked.interval / 2 - slack  # S7
    assert following <= max(now, last + asked.interval / 2) + asked.interval + slack
    if asked.interval > 1:
        assert is_on_grid(following, asked.interval, key)


@given(probes(), keys, times, st.floats(0, 1e4))
def test_schedule_fast_attempts_keep_their_pace(
    asked: Probe, key: str, last: float, took: float
) -> None:
    now = last + took
    following = next_attempt(asked, has_passed=False, key=key, last=last, now=now)
    slack = asked.pace * 1e-5 + 1e-6
    assert following >= now - slack
    assert following > last
    steps = (following - last) / asked.pace
    assert math.isclose(steps, round(steps), abs_tol=1e-3)
    assert following - max(now, last) <= asked.pace + slack


@given(probes(), times, times)
def test_schedule_first_attempt_is_never_in_the_past(
    asked: Probe, started: float, waited: float
) -> None:
    now = started + waited
    assert first_attempt(asked, started=started, now=now) >= now


@given(st.floats(0.01, 1e6), keys, times)
def test_schedule_grid_point_is_the_first(interval: float, key: str, earliest: float) -> None:
    point = grid_point(interval, key, earliest=earliest)
    slack = interval * 1e-5 + 1e-6
    assert earliest - slack <= point <= earliest + interval + slack


# S8: how late a judgement is


@st.composite
def slow_services(draw: st.DrawFn) -> tuple[Probe, list[float]]:
    """A probe whose service never passes, and how long each of its attempts takes."""
    hundredths = st.integers(1, 600).map(lambda n: n / 100)
    interval = draw(hundredths)
    probe = Probe(
        tcp=TcpCheck(80),
        interval=Duration(interval),
        fast_interval=draw(st.none() | hundredths.map(lambda n: Duration(min(n, interval)))),
        timeout=Duration(draw(hundredths)),
        retries=draw(st.integers(1, 12)),
        start_period=Duration(draw(st.just(0) | hundredths)),
        initial_delay=Duration(draw(st.just(0) | hundredths)),
    )
    shares = st.just(0.0) | st.just(1.0) | st.floats(0, 1)
    return probe, draw(st.lists(shares, min_size=1, max_size=20))


def judged(
    probe: Probe, shares: list[float], *, started: float
) -> tuple[list[tuple[float, float]], list[float]]:
    """Begin and end of every attempt until the judgement, and when fails counted."""
    record = ProbeRecord(kind=ProbeKind.LIVENESS)
    attempts: list[tuple[float, float]] = []
    counted: list[float] = []
    at = first_attempt(probe, started=started, now=started)
    while not record.is_final:
        over = at + probe.timeout * shares[len(attempts) % len(shares)]
        attempts.append((at, over))
        before = record.failures
        seen = observe(probe, record, Outcome(Result.FAIL, ""), at=at, over=over, started=started)
        record = seen.record
        if record.failures > before:
            assert record.last_counted_fail is not None
            counted.append(record.last_counted_fail)
        due = next_counted(probe, record, started=started)
        at = next_attempt(probe, has_passed=False, key=KEY, last=at, now=over, due=due)
    return attempts, counted


@given(slow_services(), st.sampled_from([0.0, 1000.0, 2.0**20]))
def test_schedule_judges_no_later_than_promised(
    service: tuple[Probe, list[float]], started: float
) -> None:
    probe, shares = service
    attempts, counted = judged(probe, shares, started=started)
    # Where an attempt takes longer than the interval, the next follows at once (S9).
    longest = max(probe.interval, probe.timeout)
    took = attempts[-1][1] - counted[0]
    assert took <= (probe.retries - 1) * longest + probe.timeout + 1e-4  # S8
    gaps = [after - before for before, after in itertools.pairwise(counted)]
    assert all(gap >= probe.interval - 1e-4 for gap in gaps)
    assert counted[0] >= started + probe.start_period - 1e-4


@given(slow_services())
def test_schedule_never_pauses_longer_than_the_pace(service: tuple[Probe, list[float]]) -> None:
    probe, shares = service
    attempts, _ = judged(probe, shares, started=0.0)
    for (at, over), (following, _) in itertools.pairwise(attempts):
        assert over - 1e-4 <= following <= max(over, at) + probe.pace + 1e-4  # S8, S9


def test_schedule_a_pace_that_does_not_divide_the_interval_costs_nothing() -> None:
    probe = Probe(tcp=TcpCheck(80), interval=Duration(1.01), retries=10)
    attempts, _ = judged(probe, [0.0], started=0.0)
    assert attempts[-1][1] == pytest.approx(9 * 1.01)  # S8


def test_schedule_asks_when_the_grace_ends() -> None:
    probe = Probe(tcp=TcpCheck(80), retries=1, start_period=Duration(2.5))
    attempts, _ = judged(probe, [0.0], started=0.0)
    assert [at for at, _ in attempts] == [0, 1, 2, 2.5]  # S8


def test_schedule_an_error_when_a_fail_was_due_is_no_reason_to_hurry() -> None:
    follow = next_attempt(probe(10), has_passed=False, key=KEY, last=10, now=10, due=10)
    assert follow == 11
    late = next_attempt(probe(10), has_passed=False, key=KEY, last=9, now=12.5, due=10)
    assert late == 12.5


@given(st.floats(0.01, 100), st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_grid_is_the_same_wherever_the_clock_counts_from(
    interval: float, now: float, origin: float
) -> None:  # S7
    point = grid_point(interval, "web.1#1/liveness", earliest=now)
    moved = grid_point(interval, "web.1#1/liveness", earliest=now + origin, origin=origin)
    off = (moved - origin - point) / interval
    assert abs(off - round(off)) < 1e-3
    assert abs(off) < 1.001
