"""Times of a clock that is wrong are the manager's own; all others are left alone."""

from __future__ import annotations

import pytest

from warren.model.check import Argv, Outcome, Result, Sample
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind, Verdict
from warren.model.report import Report, Told
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, Phase, ProbeStatus, Reason, TaskRecord, TaskStatus
from warren.rules.reported_times import mend_record, mend_report, mend_statuses

WEB = TaskId("web", 1, 1)
NOW = 1_700_000_000.0
BORN = NOW - 86400


def report(at: float) -> Report:
    """Everything that has a time, at this one."""
    probe = ProbeStatus(verdict=Verdict.HEALTHY, last=Sample(at, Outcome(Result.PASS, "ok")))
    status = TaskStatus(
        id=WEB,
        phase=Phase.RUNNING,
        instance=Instance(id="i", task=WEB, started_at=at),
        last_end=End(reason=Reason.EXITED, message="exit code 1", at=at),
        restart_at=at,
        probes={ProbeKind.LIVENESS: probe},
    )
    event = TaskEvent(at=at, task=WEB, kind=EventKind.ENDED, message="it ended")
    return Report(statuses=(status,), events=(Told(1, event),), is_whole=True)


@pytest.mark.parametrize("at", [BORN - 3000, BORN, NOW - 10, NOW, NOW + 3000])
def test_times_that_may_be_are_left_alone(at: float) -> None:
    told = report(at)
    mended, off = mend_report(told, born=lambda task: BORN, now=NOW)
    assert mended is told
    assert off == 0


@pytest.mark.parametrize("at", [1e308, -1e308, -5000.0, NOW + 2e9])
def test_times_of_a_wrong_clock_are_the_managers_own(at: float) -> None:
    mended, off = mend_report(report(at), born=lambda task: BORN, now=NOW)
    assert mended == report(NOW)
    assert (off > 0) is (at > 0)
    assert mend_statuses(report(at).statuses, now=NOW) == list(report(NOW).statuses)


def test_event_that_is_older_than_its_task_is_of_a_wrong_clock() -> None:
    mended, off = mend_report(report(BORN - 4000), born=lambda task: BORN, now=NOW)
    assert mended.events == report(NOW).events
    assert mended.statuses == report(BORN - 4000).statuses  # a slot's last end may be old
    assert off < 0


def test_record_that_was_written_while_the_clock_was_ahead_is_of_now() -> None:
    task = TaskId("web", 1, 1)
    spec = ServiceSpec(name="web", command=Argv(["x"]))
    late = NOW + 100_000
    instance = Instance(id="web.1#1-1-0", task=task, started_at=late)
    end = End(reason=Reason.EXITED, message="exit code 1", at=late)
    wrong = TaskRecord(id=task, spec=spec, instance=instance, last_end=end, ready_since=late)
    mended = mend_record(wrong, now=NOW)
    assert mended.instance is not None
    assert mended.last_end is not None
    assert (mended.instance.started_at, mended.last_end.at, mended.ready_since) == (NOW, NOW, NOW)
    assert mend_record(mended, now=NOW) is mended
    assert mend_record(wrong, now=late) is wrong
