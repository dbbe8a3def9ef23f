"""What an observation means for its task: the table row by row, and what holds on every way."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.check import Argv, Outcome, Result, TcpCheck
from warren.model.identity import TaskId
from warren.model.probe import Probe, ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.model.task import TaskRecord
from warren.rules.health import probes
from warren.rules.probe import Observation, ProbeRecord, ProbeState, Publish, adopted, observe
from warren.rules.probe_exchange import exchange
from warren.rules.probe_meaning import Judgement, Meaning, judge, readiness_turn, takes_traffic

STARTUP, LIVENESS, READINESS = ProbeKind.STARTUP, ProbeKind.LIVENESS, ProbeKind.READINESS
UNPROVEN, PROVEN, FAILED = ProbeState.UNPROVEN, ProbeState.PROVEN, ProbeState.FAILED
PROBE, OTHER = Probe(tcp=TcpCheck(80)), Probe(tcp=TcpCheck(81))
EVERY = {"startup": PROBE, "liveness": PROBE, "readiness": PROBE}
Probes = dict[str, Probe]


def spec(given: Probes) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        command=Argv(["true"]),
        health=given.get("health"),
        startup=given.get("startup"),
        liveness=given.get("liveness"),
        readiness=given.get("readiness"),
    )


def task(given: Probes, *proving: ProbeKind, ready: bool) -> TaskRecord:
    since = 1.0 if ready else None
    return TaskRecord(id=TaskId("web", 1, 1), spec=spec(given), ready_since=since, proving=proving)


def record(kind: ProbeKind, state: ProbeState) -> ProbeRecord:
    return ProbeRecord(kind=kind, state=state, has_passed=state is PROVEN)


class Row(NamedTuple):
    """One observation: `states` are those after it, in the order of `ProbeKind`."""

    probes: Probes
    states: dict[ProbeKind, ProbeState]
    kind: ProbeKind
    publish: Publish
    ready: bool
    proving: tuple[ProbeKind, ...]
    meaning: Meaning
    left: tuple[ProbeKind, ...] = ()


LIVE, READY = {"liveness": PROBE}, {"readiness": PROBE}
FLAT, BOTH = {"health": PROBE}, {**LIVE, **READY}
ROWS = {
    "liveness fails": Row(
        BOTH, {LIVENESS: FAILED, READINESS: PROVEN}, LIVENESS, Publish.UNHEALTHY, True, (),
        Meaning.FAILED,
    ),
    "startup fails": Row(
        {"startup": PROBE}, {STARTUP: FAILED}, STARTUP, Publish.UNHEALTHY, False, (),
        Meaning.FAILED,
    ),
    "flat form fails": Row(
        FLAT, {LIVENESS: FAILED}, LIVENESS, Publish.UNHEALTHY, True, (), Meaning.FAILED
    ),
    "exchanged liveness fails: it stays to be proved": Row(
        BOTH, {LIVENESS: FAILED, READINESS: UNPROVEN}, LIVENESS, Publish.UNHEALTHY, True,
        (LIVENESS, READINESS), Meaning.FAILED, (LIVENESS, READINESS),
    ),
    "no verdict": Row(
        BOTH, {LIVENESS: PROVEN, READINESS: UNPROVEN}, READINESS, Publish.NOTHING, False, (),
        Meaning.NOTHING,
    ),
    "no verdict on an exchanged one": Row(
        READY, {READINESS: UNPROVEN}, READINESS, Publish.NOTHING, True, (READINESS,),
        Meaning.NOTHING, (READINESS,),
    ),
    "readiness passes": Row(
        READY, {READINESS: PROVEN}, READINESS, Publish.HEALTHY, False, (), Meaning.READY
    ),
    "flat form passes": Row(
        FLAT, {LIVENESS: PROVEN}, LIVENESS, Publish.HEALTHY, False, (), Meaning.READY
    ),
    "startup passes with nothing behind it": Row(
        {"startup": PROBE}, {STARTUP: PROVEN}, STARTUP, Publish.HEALTHY, False, (), Meaning.READY
    ),
    "startup passes before readiness": Row(
        EVERY, {STARTUP: PROVEN, LIVENESS: UNPROVEN, READINESS: UNPROVEN}, STARTUP,
        Publish.HEALTHY, False, (), Meaning.VERDICT,
    ),
    "exchanged readiness passes where it was not ready": Row(
        READY, {READINESS: PROVEN}, READINESS, Publish.HEALTHY, False, (READINESS,), Meaning.READY
    ),
    "readiness fails": Row(
        READY, {READINESS: FAILED}, READINESS, Publish.UNHEALTHY, True, (), Meaning.UNREADY
    ),
    "exchanged readiness fails, the first verdict that it has": Row(
        READY, {READINESS: FAILED}, READINESS, Publish.NOTHING, True, (READINESS,),
        Meaning.UNREADY,
    ),
    "exchanged readiness fails where it was not ready": Row(
        READY, {READINESS: FAILED}, READINESS, Publish.NOTHING, False, (READINESS,),
        Meaning.PROVEN,
    ),
    "the last exchanged one passes": Row(
        READY, {READINESS: PROVEN}, READINESS, Publish.HEALTHY, True, (READINESS,), Meaning.PROVEN
    ),
    "one of two exchanged ones passes": Row(
        BOTH, {LIVENESS: PROVEN, READINESS: UNPROVEN}, LIVENESS, Publish.HEALTHY, True,
        (LIVENESS, READINESS), Meaning.VERDICT, (READINESS,),
    ),
    "liveness passes, which is no readiness": Row(
        LIVE, {LIVENESS: PROVEN}, LIVENESS, Publish.HEALTHY, True, (), Meaning.VERDICT
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_observation_means_what_its_row_says(name: str) -> None:
    row = ROWS[name]
    records = {kind: record(kind, state) for kind, state in row.states.items()}
    seen = Observation(records[row.kind], row.publish)
    held = task(row.probes, *row.proving, ready=row.ready)
    assert judge(seen, held, records) == Judgement(row.meaning, row.left)


def test_every_meaning_has_a_row() -> None:
    assert {row.meaning for row in ROWS.values()} == set(Meaning)


@pytest.mark.parametrize(
    ("ready", "state", "proving", "turn"),
    [
        (False, PROVEN, (), Meaning.READY),
        (False, UNPROVEN, (READINESS,), Meaning.NOTHING),  # what holds is readiness, not its lack
        (True, PROVEN, (), Meaning.NOTHING),
        (True, UNPROVEN, (READINESS,), Meaning.NOTHING),
        (True, UNPROVEN, (LIVENESS,), Meaning.UNREADY),  # which readiness does not wait for
        (True, FAILED, (), Meaning.UNREADY),
        (False, FAILED, (), Meaning.NOTHING),
    ],
)
def test_readiness_turns_where_the_record_is_not_what_the_probes_say(
    ready: bool, state: ProbeState, proving: tuple[ProbeKind, ...], turn: Meaning
) -> None:
    records = {READINESS: record(READINESS, state), LIVENESS: record(LIVENESS, UNPROVEN)}
    assert readiness_turn(task(BOTH, *proving, ready=ready), records) is turn


def test_exchanged_readiness_that_has_one_of_two_passes_is_still_being_proved() -> None:
    # Also when the probes are changed once more, and this one is not.
    old = spec({"readiness": PROBE})
    passed_once = ProbeRecord(kind=READINESS, has_passed=True, successes=1)
    records = {READINESS: passed_once, LIVENESS: record(LIVENESS, UNPROVEN)}
    change = exchange(old, spec({"readiness": PROBE, "liveness": OTHER}), records)
    assert change.kept == {READINESS}
    assert change.proving == (LIVENESS, READINESS)
    held = task({"readiness": PROBE, "liveness": OTHER}, *change.proving, ready=True)
    assert takes_traffic(held, records)


# Whole lives

CHOICES = st.builds(
    Probe,
    tcp=st.sampled_from([TcpCheck(80), TcpCheck(81)]),
    retries=st.integers(1, 3),
)
GATES = st.builds(
    Probe,
    tcp=st.sampled_from([TcpCheck(80), TcpCheck(81)]),
    retries=st.integers(1, 3),
    successes=st.integers(1, 3),
)
SPECS = st.one_of(
    st.fixed_dictionaries(
        dict[str, st.SearchStrategy[Probe]](),
        optional={"startup": CHOICES, "liveness": CHOICES, "readiness": GATES},
    ),
    st.fixed_dictionaries({"health": CHOICES}),
)
RESULTS = st.sampled_from([Result.PASS, Result.PASS, Result.FAIL, Result.FAIL, Result.ERROR])
STEPS = st.lists(st.one_of(SPECS, st.tuples(st.sampled_from([0, 1]), RESULTS)), max_size=40)


class Life:
    """A running instance: its attempts, and its record changed as their meaning says."""

    def __init__(self, given: Probes) -> None:
        self.task = task(given, ready=False)
        self.records = {kind: ProbeRecord(kind=kind) for kind in probes(self.task.spec)}
        self.told: list[Meaning] = []
        self._now = 0.0
        self.turn(readiness_turn(self.task, self.records))

    def turn(self, to: Meaning) -> None:
        """Record the readiness that follows."""
        if to in (Meaning.READY, Meaning.UNREADY):
            since = 1.0 if to is Meaning.READY else None
            self.task = msgspec.structs.replace(self.task, ready_since=since)
        self.told.append(to)

    def kinds(self) -> list[ProbeKind]:
        """The probes that may ask now (S5)."""
        startup = self.records.get(STARTUP)
        if startup is not None and startup.verdict is not Verdict.HEALTHY:
            return [STARTUP]
        waiting = [kind for kind in (LIVENESS, READINESS) if kind in self.records]
        return [kind for kind in waiting if not self.records[kind].is_final]

    def attempt(
        self, which: int, result: Result
    ) -> tuple[ProbeKind, Observation, Judgement] | None:
        """The next attempt of one of them; None where none asks."""
        kinds = self.kinds()
        if not kinds:
            return None
        kind = kinds[which % len(kinds)]
        self._now += 100.0
        probe = probes(self.task.spec)[kind]
        seen = observe(probe, self.records[kind], Outcome(result, ""), at=self._now, started=0.0)
        self.records[kind] = seen.record
        now = judge(seen, self.task, self.records)
        self.task = msgspec.structs.replace(self.task, proving=now.proving)
        self.turn(now.meaning)
        return kind, seen, now

    def exchange(self, given: Probes) -> None:
        """Other probes, as the nursery changes them."""
        change = exchange(self.task.spec, spec(given), self.records)
        kept = {kind: self.records[kind] for kind in change.kept}
        fresh = {kind: adopted(kind, change.proven.get(kind)) for kind in probes(spec(given))}
        self.records = {**fresh, **kept}
        self.task = msgspec.structs.replace(self.task, spec=spec(given), proving=change.proving)


@given(SPECS, STEPS)
def test_recorded_readiness_is_at_all_times_what_the_probes_say(
    first: Probes, steps: list[Probes | tuple[int, Result]]
) -> None:
    life = Life(first)
    for step in steps:
        if isinstance(step, dict):
            was_ready = life.task.ready_since is not None
            life.exchange(step)
            # The old readiness holds until the new verdict.
            assert takes_traffic(life.task, life.records) or not was_ready
            life.turn(readiness_turn(life.task, life.records))
        else:
            life.attempt(*step)
        if Meaning.FAILED in life.told:
            break
        assert readiness_turn(life.task, life.records) is Meaning.NOTHING
    turns = [told for told in life.told if told in (Meaning.READY, Meaning.UNREADY)]
    assert turns[::2] == [Meaning.READY] * len(turns[::2])
    assert turns[1::2] == [Meaning.UNREADY] * len(turns[1::2])


@given(SPECS, STEPS)
def test_instance_fails_exactly_with_an_unhealthy_startup_or_liveness_verdict(
    first: Probes, steps: list[Probes | tuple[int, Result]]
) -> None:
    life = Life(first)
    for step in steps:
        if isinstance(step, dict):
            life.exchange(step)
            continue
        attempt = life.attempt(*step)
        if attempt is None:
            continue
        kind, seen, now = attempt
        fails = kind is not READINESS and seen.record.state is FAILED
        assert (now.meaning is Meaning.FAILED) is fails  # S16
        if fails:
            break


@given(SPECS, STEPS)
def test_nothing_follows_from_an_error_and_everything_from_a_new_verdict(
    first: Probes, steps: list[Probes | tuple[int, Result]]
) -> None:
    life = Life(first)
    for step in steps:
        if isinstance(step, dict):
            life.exchange(step)
            continue
        verdicts = {kind: each.verdict for kind, each in life.records.items()}
        before = life.task.proving
        attempt = life.attempt(*step)
        if attempt is None:
            continue
        _, _, now = attempt
        if now.meaning is Meaning.FAILED:
            break  # this instance is not asked any more
        is_new = verdicts != {kind: each.verdict for kind, each in life.records.items()}
        if step[1] is Result.ERROR:  # S2
            assert now == Judgement(Meaning.NOTHING, before)
        if is_new:
            assert now.meaning is not Meaning.NOTHING
        assert set(now.proving) <= set(before)
        assert all(life.records[kind].state is UNPROVEN for kind in now.proving)
        assert now.meaning is not Meaning.PROVEN or (before and not now.proving)
