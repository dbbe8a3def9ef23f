"""From outcomes to verdicts: the table, the rules one by one, and a slow model to agree with."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.check import Outcome, Result, TcpCheck
from warren.model.duration import Duration
from warren.model.probe import Probe, ProbeKind, Verdict
from warren.rules.probe import (
    FINAL,
    TABLE,
    ProbeEvent,
    ProbeRecord,
    ProbeState,
    Publish,
    adopted,
    observe,
)

TCP = TcpCheck(80)
KINDS = [kind for kind in ProbeKind if kind is not ProbeKind.UNKNOWN]  # that are ever run here
PASS, FAIL, ERROR = Result.PASS, Result.FAIL, Result.ERROR
LETTERS = {"p": PASS, "f": FAIL, "e": ERROR}
Attempts = Sequence[tuple[float, Result]]


def run(
    probe: Probe, kind: ProbeKind, attempts: Attempts, *, started: float = 0.0
) -> tuple[ProbeRecord, list[Publish], list[bool]]:
    """The record after these attempts, and what each led to."""
    record = ProbeRecord(kind=kind)
    published: list[Publish] = []
    warned: list[bool] = []
    for at, result in attempts:
        seen = observe(probe, record, Outcome(result, ""), at=at, started=started)
        record = seen.record
        published.append(seen.publish)
        warned.append(seen.has_warning)
    return record, published, warned


def every(seconds: float, letters: str) -> Attempts:
    """One attempt every so many seconds: `ppf` is pass, pass, fail."""
    return [(index * seconds, LETTERS[letter]) for index, letter in enumerate(letters)]


# The table


def test_probe_table_is_total() -> None:
    assert set(TABLE) == {(state, event) for state in ProbeState for event in ProbeEvent}


@pytest.mark.parametrize("state", ProbeState)
@pytest.mark.parametrize("event", ProbeEvent)
def test_probe_table_says_what_the_words_say(state: ProbeState, event: ProbeEvent) -> None:
    expected = (state, Publish.NOTHING)
    if event is ProbeEvent.ENOUGH_PASSES and state is not ProbeState.PROVEN:
        expected = (ProbeState.PROVEN, Publish.HEALTHY)
    if event is ProbeEvent.ENOUGH_FAILS and state is not ProbeState.FAILED:
        expected = (ProbeState.FAILED, Publish.UNHEALTHY)
    assert TABLE[state, event] == expected


def test_probe_makes_no_attempt_after_its_last_word() -> None:
    # S5, S6: startup ends with its verdict, liveness with its failure, readiness never.
    assert FINAL[ProbeKind.STARTUP] == {ProbeState.PROVEN, ProbeState.FAILED}
    assert FINAL[ProbeKind.LIVENESS] == {ProbeState.FAILED}
    assert FINAL[ProbeKind.READINESS] == frozenset()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ProbeState)
def test_probe_record_is_final_by_kind(kind: ProbeKind, state: ProbeState) -> None:
    assert ProbeRecord(kind=kind, state=state).is_final is (state in FINAL[kind])


# S2


@pytest.mark.parametrize("kind", KINDS)
def test_probe_error_moves_no_counter(kind: ProbeKind) -> None:
    probe = Probe(tcp=TCP, interval=Duration(10))
    before, _, _ = run(probe, kind, every(10, "ff"))
    after = observe(probe, before, Outcome(ERROR, ""), at=20, started=0).record
    assert after == msgspec.structs.replace(before, errors=1)
    assert run(probe, kind, every(10, "ffeeeef"))[1][-1] is not Publish.HEALTHY
    assert run(probe, kind, every(10, "ffeeeef"))[0].state is ProbeState.FAILED


def test_probe_error_does_not_break_a_row_of_passes() -> None:
    probe = Probe(tcp=TCP, successes=3)
    assert run(probe, ProbeKind.READINESS, every(10, "pepep"))[1][-1] is Publish.HEALTHY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("letters", "warned"),
    [
        ("ee", []),
        ("eee", [2]),
        ("eeeeeeee", [2]),
        ("eepee", []),
        ("eefeeee", [5]),
        ("eeepeeee", [2, 6]),
    ],
)
def test_probe_three_errors_give_one_warning_per_series(
    kind: ProbeKind, letters: str, warned: list[int]
) -> None:
    _, published, has_warning = run(Probe(tcp=TCP), kind, every(30, letters))
    assert [index for index, warns in enumerate(has_warning) if warns] == warned
    assert Publish.UNHEALTHY not in published


# S3


def test_probe_publishes_only_changes() -> None:
    probe = Probe(tcp=TCP, retries=2, successes=2)
    _, published, _ = run(probe, ProbeKind.READINESS, every(30, "ffffppppffffpfpp"))
    assert [(i, p) for i, p in enumerate(published) if p is not Publish.NOTHING] == [
        (5, Publish.HEALTHY),
        (9, Publish.UNHEALTHY),
        (15, Publish.HEALTHY),
    ]


def test_probe_never_compares_output() -> None:
    probe = Probe(tcp=TCP)
    one = observe(probe, ProbeRecord(kind=ProbeKind.LIVENESS), Outcome(PASS, "a"), at=0, started=0)
    two = observe(probe, ProbeRecord(kind=ProbeKind.LIVENESS), Outcome(PASS, "b"), at=0, started=0)
    assert one == two


def test_probe_fails_in_a_row_start_again_after_a_pass() -> None:
    probe = Probe(tcp=TCP, retries=3)
    record, published, _ = run(probe, ProbeKind.LIVENESS, every(30, "pffpff"))
    assert record.failures == 2
    assert Publish.UNHEALTHY not in published


# S4


def test_probe_starts_with_its_kinds_verdict() -> None:
    assert {kind: ProbeRecord(kind=kind).verdict for kind in KINDS} == {
        ProbeKind.STARTUP: Verdict.UNKNOWN,
        ProbeKind.LIVENESS: Verdict.HEALTHY,
        ProbeKind.READINESS: Verdict.UNHEALTHY,
    }


# S6


@pytest.mark.parametrize("kind", [ProbeKind.STARTUP, ProbeKind.LIVENESS])
def test_probe_failure_is_published_once_and_is_final(kind: ProbeKind) -> None:
    record, published, _ = run(Probe(tcp=TCP, retries=3), kind, every(30, "fff"))
    assert published == [Publish.NOTHING, Publish.NOTHING, Publish.UNHEALTHY]
    assert record.is_final
    assert record.verdict is Verdict.UNHEALTHY


# S8


@pytest.mark.parametrize("kind", KINDS)
def test_probe_before_its_first_pass_counts_one_fail_an_interval(kind: ProbeKind) -> None:
    # Attempts every second, a fail counts at 0, 10 and 20: failed at interval x (retries - 1).
    probe = Probe(tcp=TCP, interval=Duration(10), retries=3, fast_interval=Duration(1))
    record, _, _ = run(probe, kind, every(1, "f" * 20))
    assert (record.failures, record.state) == (2, ProbeState.UNPROVEN)
    record, _, _ = run(probe, kind, every(1, "f" * 21))
    assert (record.failures, record.state) == (3, ProbeState.FAILED)


def test_probe_attempt_under_way_when_a_fail_is_due_counts_as_of_then() -> None:
    probe = Probe(tcp=TCP, interval=Duration(10.5), retries=3)
    record = ProbeRecord(kind=ProbeKind.LIVENESS)
    for at, over, last in ((0.0, 10.0, 0.0), (10.0, 20.0, 10.5), (20.0, 20.9, 10.5)):
        seen = observe(probe, record, Outcome(FAIL, ""), at=at, over=over, started=0)
        record = seen.record
        assert record.last_counted_fail == last  # S8
    seen = observe(probe, record, Outcome(FAIL, ""), at=20.9, over=30.9, started=0)
    assert seen.publish is Publish.UNHEALTHY  # (3 - 1) x 10.5 + 10 after the first


def test_probe_grace_spares_an_attempt_that_began_in_it() -> None:
    probe = Probe(tcp=TCP, retries=1, start_period=Duration(60))
    record = ProbeRecord(kind=ProbeKind.LIVENESS)
    seen = observe(probe, record, Outcome(FAIL, ""), at=59, over=69, started=0)
    assert seen.record.failures == 0


def test_probe_after_its_first_pass_counts_every_fail() -> None:
    probe = Probe(tcp=TCP, interval=Duration(10), retries=3)
    record, published, _ = run(probe, ProbeKind.LIVENESS, every(0.1, "pfff"))
    assert record.state is ProbeState.FAILED
    assert published[-1] is Publish.UNHEALTHY


@pytest.mark.parametrize("kind", KINDS)
def test_probe_grace_spares_fails_until_the_first_pass(kind: ProbeKind) -> None:
    probe = Probe(tcp=TCP, interval=Duration(1), retries=1, start_period=Duration(60))
    assert run(probe, kind, every(1, "f" * 60))[0].failures == 0
    assert run(probe, kind, every(1, "f" * 61))[0].state is ProbeState.FAILED


def test_probe_grace_ends_with_the_first_pass() -> None:
    probe = Probe(tcp=TCP, retries=1, start_period=Duration(60))
    record, published, _ = run(probe, ProbeKind.LIVENESS, every(1, "pf"))
    assert (record.state, published[-1]) == (ProbeState.FAILED, Publish.UNHEALTHY)


def test_probe_grace_counts_from_the_instances_start() -> None:
    probe = Probe(tcp=TCP, retries=1, start_period=Duration(60))
    attempts = [(1059.0, FAIL), (1060.0, FAIL)]
    record, published, _ = run(probe, ProbeKind.LIVENESS, attempts, started=1000.0)
    assert published == [Publish.NOTHING, Publish.UNHEALTHY]
    assert record.last_counted_fail == 1060.0


def test_probe_spared_fail_breaks_a_row_of_passes() -> None:
    # A pass ends the grace, so a spared fail can only follow none; the counter stands at 0.
    probe = Probe(tcp=TCP, successes=2, start_period=Duration(60))
    record, published, _ = run(probe, ProbeKind.READINESS, every(1, "fpfp"))
    assert (record.successes, record.verdict) == (1, Verdict.UNHEALTHY)
    assert Publish.HEALTHY not in published


# S21


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("proven", [Verdict.HEALTHY, Verdict.UNHEALTHY])
def test_probe_adopted_keeps_its_verdict_until_disproved(kind: ProbeKind, proven: Verdict) -> None:
    record = adopted(kind, proven)
    assert (record.verdict, record.has_passed, record.failures) == (proven, True, 0)


def test_probe_adopted_that_never_passed_starts_anew() -> None:
    for kind in KINDS:
        assert adopted(kind, None) == ProbeRecord(kind=kind)


def test_probe_adopted_needs_the_full_number_of_retries() -> None:
    probe, record = Probe(tcp=TCP, retries=3), adopted(ProbeKind.READINESS, Verdict.HEALTHY)
    published: list[Publish] = []
    for at in (0.0, 30.0, 60.0):
        seen = observe(probe, record, Outcome(FAIL, ""), at=at, started=0)
        record = seen.record
        published.append(seen.publish)
    assert published == [Publish.NOTHING, Publish.NOTHING, Publish.UNHEALTHY]


# A second opinion: everything so far, judged anew from the words alone


def counted_fails(probe: Probe, attempts: Attempts) -> list[int]:
    """Which attempts are fails that count (S8, start_period). The instance starts at 0."""
    counted: list[int] = []
    for index, (at, result) in enumerate(attempts):
        if result is not FAIL:
            continue
        has_passed = any(earlier is PASS for _, earlier in attempts[:index])
        in_grace = at < probe.start_period
        too_soon = any(at - attempts[before][0] < probe.interval for before in counted)
        if has_passed or not (in_grace or too_soon):
            counted.append(index)
    return counted


def in_a_row(attempts: Attempts, counted: list[int], wanted: Result) -> int:
    """How many answers of one kind stand at the end; errors and spared fails are not answers."""
    row = 0
    for index in range(len(attempts) - 1, -1, -1):
        result = attempts[index][1]
        if result is ERROR or (result is FAIL and wanted is FAIL and index not in counted):
            continue
        if result is not wanted:
            break
        row += 1
    return row


def verdicts(probe: Probe, kind: ProbeKind, attempts: Attempts) -> list[Verdict]:
    """The verdict before the first attempt and after each, from the words of S2, S3, S4 and S8."""
    first = {
        ProbeKind.STARTUP: Verdict.UNKNOWN,
        ProbeKind.LIVENESS: Verdict.HEALTHY,
        ProbeKind.READINESS: Verdict.UNHEALTHY,
    }[kind]
    known = [first]
    for end in range(1, len(attempts) + 1):
        so_far = attempts[:end]
        counted = counted_fails(probe, so_far)
        verdict = known[-1]
        if so_far[-1][1] is PASS and in_a_row(so_far, counted, PASS) >= probe.successes:
            verdict = Verdict.HEALTHY
        if end - 1 in counted and in_a_row(so_far, counted, FAIL) >= probe.retries:
            verdict = Verdict.UNHEALTHY
        known.append(verdict)
    return known


def warnings(attempts: Attempts) -> list[bool]:
    """Whether each attempt is the third error of a series (S2)."""
    letters = "".join("e" if result is ERROR else "." for _, result in attempts)
    return [
        letters[: end + 1].endswith("eee") and not letters[: end + 1].endswith("eeee")
        for end in range(len(letters))
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[Probe, ProbeKind, Attempts]:
    """A probe and attempts at whole quarters of a second, so that sums are exact."""
    quarters = st.integers(1, 24).map(lambda n: Duration(n / 4))
    kind = draw(st.sampled_from(KINDS))
    interval = draw(quarters)
    probe = Probe(
        tcp=TCP,
        interval=interval,
        fast_interval=draw(st.none() | quarters.map(lambda pace: min(pace, interval))),
        retries=draw(st.integers(1, 4)),
        successes=draw(st.integers(1, 4)) if kind is ProbeKind.READINESS else 1,
        start_period=draw(st.just(Duration(0)) | quarters),
    )
    steps = draw(
        st.lists(st.tuples(st.integers(1, 12), st.sampled_from((PASS, FAIL, ERROR))), max_size=40)
    )
    at, attempts = draw(st.integers(0, 8)) / 4, list[tuple[float, Result]]()
    for quarter, result in steps:
        attempts.append((at, result))
        at += quarter / 4
    return probe, kind, attempts


@given(histories(), st.sampled_from([0.0, 1000.0, 2.0**20]))
def test_probe_agrees_with_a_slow_model_of_the_words(
    history: tuple[Probe, ProbeKind, Attempts], started: float
) -> None:
    probe, kind, attempts = history
    known = verdicts(probe, kind, attempts)
    asked = 0
    record = ProbeRecord(kind=kind)
    for index, (at, result) in enumerate(attempts):
        if record.is_final:
            break
        seen = observe(probe, record, Outcome(result, ""), at=started + at, started=started)
        record, asked = seen.record, index + 1
        assert seen.has_warning is warnings(attempts)[index]
        assert record.verdict is known[asked]
        if known[asked] is not known[index]:
            assert seen.publish.value == known[asked].value
        elif result is PASS and not any(r is PASS for _, r in attempts[:index]):
            # Liveness was healthy before; its first pass is told, for readiness may wait for it.
            assert seen.publish is (
                Publish.HEALTHY if kind is ProbeKind.LIVENESS else Publish.NOTHING
            )
        else:
            assert seen.publish is Publish.NOTHING
    last_word = {
        ProbeKind.STARTUP: known[asked] is not Verdict.UNKNOWN,
        ProbeKind.LIVENESS: known[asked] is Verdict.UNHEALTHY,
        ProbeKind.READINESS: False,
    }[kind]
    assert record.is_final is last_word  # S5, S6


@given(histories())
def test_probe_with_errors_alone_says_nothing(history: tuple[Probe, ProbeKind, Attempts]) -> None:
    probe, kind, attempts = history
    record, published, _ = run(probe, kind, [(at, ERROR) for at, _ in attempts])
    assert set(published) <= {Publish.NOTHING}
    assert record.verdict is ProbeRecord(kind=kind).verdict


@given(histories())
def test_probe_errors_change_nothing_but_the_warning(
    history: tuple[Probe, ProbeKind, Attempts],
) -> None:
    probe, kind, attempts = history
    with_errors = run(probe, kind, attempts)[0]
    without = run(probe, kind, [(at, result) for at, result in attempts if result is not ERROR])[0]
    assert msgspec.structs.replace(with_errors, errors=0) == without
