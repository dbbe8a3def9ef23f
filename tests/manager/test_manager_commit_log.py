"""What the manager keeps of what nodes say, and what it makes of a clock that was set back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from warren.manager.commit_log import CommitLog
from warren.manager.program import open_manager
from warren.model.check import Argv
from warren.model.cluster import Entry, PutService, PutTask, ServiceRow, TaskRow
from warren.model.event import EventFacts, EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.report import Report, Told
from warren.model.service import ServiceSpec
from warren.model.task import End, Phase, Reason, TaskStatus
from warren.store.state import StateStore

SPEC = ServiceSpec(name="web", command=Argv(["run"]))
WEB = TaskId("web", 1, 1)
NOON = 1_000_000.0  # wall time


def service_row() -> ServiceRow:
    return ServiceRow(spec=SPEC, version=1, revision=1, created_at=NOON, updated_at=NOON)


def task_row(task: TaskId = WEB, **fields: object) -> TaskRow:
    given = {"node": "n1", "created_at": NOON} | fields
    status = TaskStatus(id=task, phase=Phase.ASSIGNED if given["node"] else Phase.PENDING)
    return TaskRow(id=task, revision=1, spec=SPEC, status=status, **given)  # pyright: ignore


async def kept(*reports: Report) -> list[Entry]:
    """The events there are after these reports."""
    with closing(StateStore.open(None)) as store:
        commit_log = CommitLog(store, now=lambda: NOON)
        commit_log.commit([PutService(service_row()), PutTask(task_row())])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit_log.serve_reports)
            for report in reports:
                await commit_log.report("n1", 1, report)
            nursery.cancel_scope.cancel()
        return commit_log.events(after=0, since=0, limit=100)


async def test_every_event_keeps_its_own_reason(autojump_clock: MockClock) -> None:
    """Not the status's: that has no end yet when the first probe fails, and one end for all."""
    last = End(reason=Reason.EXITED, message="exit code 1", at=NOON, exit_code=1)
    kinds = [
        (EventKind.PROBE_FAILED, Reason.PROBE_FAILED.value),
        (EventKind.RESTARTING, Reason.PROBE_FAILED.value),
        (EventKind.STARTED, ""),
        (EventKind.RESTARTING, Reason.EXITED.value),
    ]
    told = tuple(
        Told(n, TaskEvent(at=NOON, task=WEB, kind=kind, message="said", reason=reason))
        for n, (kind, reason) in enumerate(kinds, 1)
    )
    bare = TaskStatus(id=WEB, phase=Phase.RUNNING, sequence=1)
    late = TaskStatus(id=WEB, phase=Phase.RUNNING, sequence=4, last_end=last)
    entries = await kept(
        Report(statuses=(bare,), events=told[:1]), Report(statuses=(late,), events=told[1:])
    )
    assert [entry.reason for entry in entries] == [reason for _, reason in kinds]


def of_web(kind: EventKind = EventKind.RESTARTING, **fields: object) -> Report:
    """A node's report of one event."""
    event = TaskEvent(at=NOON, task=WEB, kind=kind, message="said")
    return Report(events=(Told(1, msgspec.structs.replace(event, **fields)),))


async def test_what_a_node_tells_is_cut_to_what_it_may_tell(autojump_clock: MockClock) -> None:
    facts = EventFacts(
        node="other",
        pid=7,
        probes=(ProbeKind.STARTUP,) * 10_000,
        reason=Reason.EXITED,
        exit_code=2**40,
        signal="y" * 900,
        restarts=2,
        restart_in=1e308,
        replaces=WEB,
        changed=("x" * 1000,) * 10_000,
        replicas=3,
        replicas_before=2,
    )
    (entry,) = await kept(of_web(facts=facts, message="m" * 16_000, reason="r" * 1000))
    assert entry.facts == EventFacts(
        node="n1",
        pid=7,
        probes=(ProbeKind.STARTUP,) * 16,
        reason=Reason.EXITED,
        signal="y" * 63,
        restarts=2,
    )
    assert (len(entry.message), len(entry.reason)) == (4000, 255)


async def test_what_a_node_means_to_tell_is_kept_whole(autojump_clock: MockClock) -> None:
    facts = EventFacts(
        pid=7,
        probes=(ProbeKind.STARTUP, ProbeKind.LIVENESS),
        reason=Reason.SIGNALED,
        exit_code=-9,
        signal="SIGKILL",
        phase=Phase.FAILED,
        restarts=2,
        restart_in=1.5,
    )
    (entry,) = await kept(of_web(facts=facts, reason=Reason.SIGNALED.value))
    assert entry.facts == msgspec.structs.replace(facts, node="n1")
    assert (entry.kind, entry.reason) == (EventKind.RESTARTING, "signaled")


OF_THE_MANAGER = [*EventKind][[*EventKind].index(EventKind.UNKNOWN) + 1 :]


@pytest.mark.parametrize("kind", OF_THE_MANAGER)
async def test_a_node_tells_no_event_of_the_managers(
    kind: EventKind, autojump_clock: MockClock
) -> None:
    (entry,) = await kept(of_web(kind))
    assert (entry.kind, entry.word) == (EventKind.UNKNOWN, kind.value)


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind not in OF_THE_MANAGER])
async def test_a_node_tells_what_happens_to_its_tasks(
    kind: EventKind, autojump_clock: MockClock
) -> None:
    (entry,) = await kept(of_web(kind))
    assert (entry.kind, entry.word) == (kind, "")


@pytest.mark.parametrize("set_back", [0.0, 5.0, 3600.0])
async def test_replacement_waits_no_longer_than_its_delay_for_a_clock_set_back(
    autojump_clock: MockClock, tmp_path: Path, set_back: float
) -> None:  # S17
    path = tmp_path / "state.sqlite"
    waiting = task_row(node=None, not_before=NOON + 20.0)
    with closing(StateStore.open(path)) as store:
        store.commit([PutService(service_row()), PutTask(waiting)], now=NOON)
    with closing(StateStore.open(path)) as store:
        async with open_manager(store, wall=lambda: NOON - set_back) as manager:
            (due, task), *_ = manager.commit_log.cluster.waiting.later(manager.commit_log.now())
            assert (due - manager.commit_log.now(), task) == (20.0, WEB)
            assert manager.commit_log.cluster.tasks[WEB].status.pending_reason is None
            begun = trio.current_time()
            with trio.fail_after(100):
                while manager.commit_log.cluster.tasks[WEB].status.pending_reason is None:  # noqa: ASYNC110
                    await trio.sleep(0.1)  # virtual time, until it is looked at: there is no node
            assert trio.current_time() - begun == pytest.approx(20.0, abs=0.2)
        assert store.load().tasks[0].not_before == NOON - set_back + 20.0
