"""What a spec's probes mean, when a task is ready, and `a/b healthy`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.check import Argv, TcpCheck
from warren.model.identity import TaskId
from warren.model.probe import Probe, ProbeKind, Verdict
from warren.model.service import Condition, Restart, ServiceSpec
from warren.model.task import End, Phase, Reason, TaskStatus
from warren.rules.health import has_ended_for_good, is_over, is_ready, probes, summarize
from warren.rules.probe import ProbeRecord, ProbeState

STARTUP, LIVENESS, READINESS = ProbeKind.STARTUP, ProbeKind.LIVENESS, ProbeKind.READINESS
PROBE = Probe(tcp=TcpCheck(80))
OTHER = Probe(tcp=TcpCheck(81))
CRASHED = End(reason=Reason.EXITED, message="exit code 1", at=0.0, exit_code=1)
ASKED = End(reason=Reason.STOP_ASKED, message="asked", at=0.0)


def spec(
    *,
    health: Probe | None = None,
    startup: Probe | None = None,
    liveness: Probe | None = None,
    readiness: Probe | None = None,
) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        command=Argv(["true"]),
        health=health,
        startup=startup,
        liveness=liveness,
        readiness=readiness,
    )


def record(kind: ProbeKind, state: ProbeState, *, has_passed: bool | None = None) -> ProbeRecord:
    passed = state is ProbeState.PROVEN if has_passed is None else has_passed
    return ProbeRecord(kind=kind, state=state, has_passed=passed)


def status(
    slot: int, *, ready: bool = False, last_end: End | None = None, phase: Phase = Phase.RUNNING
) -> TaskStatus:
    task = TaskId("web", slot, 1)
    return TaskStatus(id=task, phase=phase, ready=ready, last_end=last_end)


def test_health_flat_form_is_the_liveness_probe() -> None:
    assert probes(spec(health=PROBE)) == {LIVENESS: PROBE}


def test_health_separate_forms_are_each_their_own() -> None:
    assert probes(spec()) == {}
    assert probes(spec(startup=PROBE, liveness=OTHER)) == {STARTUP: PROBE, LIVENESS: OTHER}
    assert probes(spec(readiness=OTHER)) == {READINESS: OTHER}


def test_ready_without_probes_is_to_run() -> None:
    assert is_ready(spec(), {})


@pytest.mark.parametrize(
    ("state", "ready"),
    [(ProbeState.UNPROVEN, False), (ProbeState.PROVEN, True), (ProbeState.FAILED, False)],
)
def test_ready_of_the_flat_form_waits_for_its_first_pass(state: ProbeState, ready: bool) -> None:
    assert is_ready(spec(health=PROBE), {LIVENESS: record(LIVENESS, state)}) is ready


@pytest.mark.parametrize("state", ProbeState)
def test_ready_does_not_ask_a_separate_liveness_probe(state: ProbeState) -> None:
    assert is_ready(spec(liveness=PROBE), {LIVENESS: record(LIVENESS, state)})


@pytest.mark.parametrize("state", ProbeState)
def test_ready_without_a_readiness_probe_is_startup_passed(state: ProbeState) -> None:
    records = {STARTUP: record(STARTUP, state), LIVENESS: record(LIVENESS, ProbeState.UNPROVEN)}
    asked = spec(startup=PROBE, liveness=OTHER)
    assert is_ready(asked, records) is (state is ProbeState.PROVEN)


@pytest.mark.parametrize("startup", ProbeState)
@pytest.mark.parametrize("readiness", ProbeState)
def test_ready_with_a_readiness_probe_is_its_verdict_once_started(
    startup: ProbeState, readiness: ProbeState
) -> None:
    asked = spec(startup=PROBE, readiness=OTHER)
    records = {STARTUP: record(STARTUP, startup), READINESS: record(READINESS, readiness)}
    ready = readiness is ProbeState.PROVEN
    assert is_ready(asked, records) is (ready and startup is ProbeState.PROVEN)
    assert is_ready(spec(readiness=OTHER), records) is ready


def test_ready_needs_a_verdict_and_not_one_pass() -> None:
    passed_once = record(READINESS, ProbeState.UNPROVEN, has_passed=True)
    assert passed_once.verdict is Verdict.UNHEALTHY
    assert not is_ready(spec(readiness=PROBE), {READINESS: passed_once})


@pytest.mark.parametrize(
    ("replicas", "tasks", "text"),
    [
        (3, [status(slot, ready=True) for slot in (1, 2, 3)], "3/3 healthy"),
        (2, [status(s, last_end=CRASHED) for s in (1, 2)], "0/2 healthy, 2/2 restarting"),
        (2, [status(1, ready=True, last_end=CRASHED), status(2)], "1/2 healthy"),
        (2, [status(1, ready=True), status(2, last_end=CRASHED)], "1/2 healthy, 1/2 restarting"),
        (2, [status(1, last_end=ASKED), status(2, last_end=None)], "0/2 healthy"),
        (2, [status(s, phase=Phase.COMPLETE) for s in (1, 2)], "2/2 complete"),
        (2, [status(1, ready=True), status(2, phase=Phase.COMPLETE)], "1/2 healthy, 1/2 complete"),
        (2, [status(1, phase=Phase.COMPLETE)], "0/2 healthy, 1/2 complete"),
        (2, [], "0/2 healthy"),
        (0, [], "0/0 healthy"),
    ],
)
def test_health_of_a_service_says_ready_of_wanted(
    replicas: int, tasks: list[TaskStatus], text: str
) -> None:
    assert str(summarize(replicas, tasks)) == text


def test_health_counts_what_is_stale_as_nothing_else() -> None:
    health = summarize(3, [status(1, ready=True), status(2, last_end=CRASHED)], stale=1)
    assert str(health) == "1/3 healthy, 1/3 restarting, 1/3 stale"
    assert str(summarize(1, [], stale=1)) == "0/1 healthy, 1/1 stale"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([None, CRASHED, ASKED])), max_size=20))
def test_health_never_counts_a_task_as_ready_and_restarting(
    tasks: list[tuple[bool, End | None]],
) -> None:
    health = summarize(len(tasks), (status(1, ready=ready, last_end=last) for ready, last in tasks))
    assert health.healthy + health.restarting <= health.total == len(tasks)
    assert health.healthy == sum(ready for ready, _ in tasks)


def job(condition: Condition, replicas: int = 2) -> ServiceSpec:
    restart = Restart(condition=condition)
    return ServiceSpec(name="web", command=Argv(["true"]), restart=restart, replicas=replicas)


@pytest.mark.parametrize(
    ("condition", "phase", "is_last"),
    [
        (Condition.NEVER, Phase.COMPLETE, True),
        (Condition.NEVER, Phase.FAILED, True),
        (Condition.NEVER, Phase.CRASHED, True),
        (Condition.NEVER, Phase.STOPPED, False),
        (Condition.NEVER, Phase.RUNNING, False),
        (Condition.ON_FAILURE, Phase.COMPLETE, True),
        (Condition.ON_FAILURE, Phase.FAILED, False),  # another follows
        (Condition.ALWAYS, Phase.FAILED, False),
    ],
)
def test_service_is_over_when_every_slot_has_ended_for_good(
    condition: Condition, phase: Phase, is_last: bool
) -> None:
    spec = job(condition)
    done, other = status(1, phase=Phase.COMPLETE), status(2, phase=phase)
    assert has_ended_for_good(spec, other) is is_last
    assert is_over(spec, [done, other], is_changing=False) is is_last
    assert not is_over(spec, [done, other], is_changing=True)
    assert not is_over(spec, [done], is_changing=False)  # a slot is empty


def test_service_of_no_replicas_is_not_over() -> None:
    assert not is_over(job(Condition.NEVER, replicas=0), [], is_changing=False)
