"""What a node reports, merged: late and doubled news change nothing, samples are not written."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.planning_kit import failure, task_row, tid
from warren.model.check import Outcome, Result, Sample
from warren.model.cluster import TaskRow
from warren.model.probe import ProbeKind, Verdict
from warren.model.task import Instance, Phase, ProbeStatus, TaskStatus
from warren.rules.merge import merge

TASK = tid("web.1#1")
PASSED = Sample(1.0, Outcome(Result.PASS, "HTTP 200"))


def status(sequence: int = 11, phase: Phase = Phase.RUNNING, **fields: Any) -> TaskStatus:
    return TaskStatus(id=TASK, phase=phase, sequence=sequence, **fields)


def kept(**fields: Any) -> TaskRow:
    """At epoch 2, sequence 10."""
    row = task_row("web.1#1", node="n1", epoch=2)
    return msgspec.structs.replace(row, status=status(10, **fields))


def probe(verdict: Verdict = Verdict.HEALTHY, **fields: Any) -> dict[ProbeKind, ProbeStatus]:
    return {ProbeKind.LIVENESS: ProbeStatus(verdict=verdict, **fields)}


CHANGES: list[dict[str, Any]] = [
    {"ready": True},
    {"restarts": 1},
    {"failed_before": 1},
    {"instance": Instance(id="i", task=TASK, started_at=1.0)},
    {"last_end": failure()},
    {"pending_reason": "waits for a port"},
    {"restart_at": 5.0},
    {"phase": Phase.STOPPING},
    {"probes": probe()},
]


@pytest.mark.parametrize("change", CHANGES)
def test_merge_takes_what_is_newer_and_different(change: dict[str, Any]) -> None:
    merged = merge(kept(), status(**change), epoch=2)
    assert merged is not None
    assert merged.status == status(**change)
    assert merged.epoch == 2


def test_merge_takes_the_failures_before_from_the_status() -> None:  # S17: good running
    row = msgspec.structs.replace(kept(failed_before=3), failed_before=3)
    merged = merge(row, status(failed_before=0), epoch=2)
    assert merged is not None
    assert (merged.failed_before, merged.status.failed_before) == (0, 0)


@pytest.mark.parametrize(
    ("epoch", "sequence", "is_taken"),
    [(2, 9, False), (2, 10, True), (2, 11, True), (1, 99, False), (3, 0, True)],
)
def test_merge_goes_by_epoch_and_then_by_sequence(
    epoch: int, sequence: int, is_taken: bool
) -> None:
    merged = merge(kept(), status(sequence, ready=True), epoch=epoch)
    assert (merged is not None) is is_taken
    if merged is not None:
        assert (merged.epoch, merged.status.sequence) == (epoch, sequence)


def test_merge_lets_a_phase_only_grow() -> None:
    merged = merge(kept(), status(phase=Phase.STARTING, restarts=1), epoch=2)
    assert merged is not None
    assert merged.phase is Phase.RUNNING
    assert merge(kept(), status(phase=Phase.STARTING), epoch=2) is None


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.is_end])
def test_merge_of_an_unknown_phase_leaves_the_one_that_there_is(phase: Phase) -> None:
    row = kept(phase=max(phase, Phase.PENDING))
    merged = merge(row, status(phase=Phase.UNKNOWN, ready=True), epoch=2)
    assert merged is not None
    assert (merged.phase, merged.status.ready, merged.has_ended) == (row.phase, True, False)
    assert merge(merged, status(12, phase=Phase.UNKNOWN, ready=True), epoch=2) is None


@pytest.mark.parametrize("end", [phase for phase in Phase if phase.is_end])
def test_merge_changes_nothing_after_an_end(end: Phase) -> None:
    assert merge(kept(phase=end), status(99, Phase.STOPPED, restarts=9), epoch=9) is None


def test_merge_writes_no_samples_and_no_counters() -> None:
    row = kept(probes=probe(consecutive_successes=5))
    news = probe(consecutive_successes=99, consecutive_failures=1, last=PASSED)
    assert merge(row, status(99, probes=news), epoch=3) is None
    for change in (probe(Verdict.UNHEALTHY), probe(warning="cannot run"), {}):
        assert merge(row, status(probes=change), epoch=2) is not None


_statuses = st.builds(
    TaskStatus,
    id=st.just(TASK),
    phase=st.sampled_from(Phase),
    sequence=st.integers(0, 5),
    ready=st.booleans(),
    restarts=st.integers(0, 2),
)
_news = st.lists(st.tuples(st.integers(1, 3), _statuses), max_size=8)


def merged_all(news: list[tuple[int, TaskStatus]]) -> list[TaskRow]:
    rows = [task_row("web.1#1", node="n1", phase=Phase.ASSIGNED)]
    for epoch, told in news:
        rows.append(merge(rows[-1], told, epoch=epoch) or rows[-1])
    return rows


@given(_news)
def test_merge_only_ever_goes_forward(news: list[tuple[int, TaskStatus]]) -> None:
    rows = merged_all(news)
    for before, after in itertools.pairwise(rows):
        assert after.phase >= before.phase
        assert (after.epoch, after.status.sequence) >= (before.epoch, before.status.sequence)
        assert not before.has_ended or after == before


@given(_news)
def test_merge_of_news_told_again_changes_nothing(news: list[tuple[int, TaskStatus]]) -> None:
    """Where a sequence stands for one status, as a node has it."""
    told = {(epoch, status.sequence): status for epoch, status in news}
    ordered = [(epoch, told[epoch, seq]) for epoch, seq in sorted(told)]
    row = merged_all(ordered)[-1]
    for epoch, again in ordered[-1:]:
        assert merge(row, again, epoch=epoch) is None
