"""What the planner decides: how many, what follows an end, what is pending, what is kept."""

from __future__ import annotations

import pytest
from planning_kit import (
    LEASE,
    START,
    Planned,
    chain,
    failure,
    in_pieces,
    running,
    spec,
    task_row,
)

from warren.model.cluster import Desired, PutTask
from warren.model.event import EventKind
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import Condition, Restart
from warren.model.task import Phase, ProbeStatus
from warren.rules.probe_timing import phase
from warren.rules.restart import replacement_delay
from warren.scheduler.planner import HISTORY
from warren.state.cluster_state import Touched
from warren.state.pending import LONGEST_WAIT
from warren.state.slot_index import restarts_in

# How many


def test_planner_fills_the_slots_of_a_new_service() -> None:
    planned = Planned("n1")
    planned.create(spec(replicas=3))
    planned.settle()
    assert planned.current() == ["web.1#1", "web.2#1", "web.3#1"]
    row = planned.row("web.2#1")
    assert (row.node, row.phase, row.desired) == ("n1", Phase.ASSIGNED, Desired.RUN)
    assert (row.revision, row.spec, row.created_at) == (1, spec(replicas=3), planned.now)
    assert planned.told("placed") == ["placed on n1"] * 3


@pytest.mark.parametrize("most", [1, 7])
def test_planner_in_pieces_comes_to_the_same_as_at_once(most: int) -> None:
    at_once, pieces = Planned("n1", "n2"), Planned("n1", "n2")
    for planned in (at_once, pieces):
        planned.create(spec(replicas=20))
        planned.create(spec("db", replicas=9))
    at_once.settle()
    largest = in_pieces(pieces, most)
    assert largest <= most
    assert pieces.cluster.tasks == at_once.cluster.tasks
    for planned in (at_once, pieces):
        planned.scale("web", 3)
        planned.remove("db")
    at_once.settle()
    in_pieces(pieces, most)
    assert pieces.cluster.tasks == at_once.cluster.tasks


def test_planner_numbers_a_services_tasks_from_its_first_number() -> None:
    planned = Planned("n1")
    planned.create(spec(), first_number=8)
    planned.settle()
    assert planned.current() == ["web.1#8"]


def test_planner_leaves_alone_what_is_as_wanted() -> None:
    planned = running(3)
    planned.touched = Touched.everything(planned.cluster)
    assert planned.settle().changes == ()
    assert planned.last.wake_at is None


def test_planner_adds_the_lowest_free_slots() -> None:
    planned = running(4)
    planned.report("web.1#1", Phase.RUNNING, ready=False)
    planned.report("web.3#1", Phase.RUNNING, ready=False)
    planned.scale("web", 2)
    planned.settle()
    planned.report("web.1#1", Phase.STOPPED)
    planned.report("web.3#1", Phase.STOPPED)
    planned.settle()
    assert planned.current() == ["web.2#1", "web.4#1"]  # survivors keep their numbers
    planned.scale("web", 5)
    planned.settle()
    assert planned.current() == ["web.1#2", "web.2#1", "web.3#2", "web.4#1", "web.5#1"]


def test_planner_scales_down_what_is_not_ready_first_then_the_newest() -> None:
    planned = running(2)
    planned.now += 10
    planned.scale("web", 4)
    planned.settle()
    planned.ready("web.3#1", "web.4#1")
    planned.report("web.1#1", Phase.RUNNING, ready=False)
    planned.settle()
    planned.scale("web", 2)
    planned.settle()
    stopping = [t for t in planned.current() if planned.row(t).desired is Desired.STOP]
    assert stopping == ["web.1#1", "web.4#1"]
    assert planned.row("web.4#1").stop_reason == "scaled down to 2"
    assert planned.row("web.4#1").phase is Phase.RUNNING  # its node says when it has ended


def test_planner_scales_to_none() -> None:
    planned = running(2)
    planned.scale("web", 0)
    planned.settle()
    planned.report("web.1#1", Phase.STOPPED)
    planned.report("web.2#1", Phase.STOPPED)
    planned.settle()
    assert planned.current() == []
    assert len(planned.cluster.of_service("web")) == 2  # kept, so that numbers go on counting


def test_planner_ends_a_victim_that_is_on_no_node_by_itself() -> None:
    planned = Planned()
    planned.create(spec(replicas=2))
    planned.settle()
    planned.scale("web", 1)
    planned.settle()
    assert planned.current() == ["web.1#1"]
    assert chain(planned, 2) == ["web.2#1 stop STOPPED"]


def test_planner_lets_a_slot_that_comes_back_wait_for_the_one_before() -> None:
    planned = running(2)
    planned.scale("web", 1)
    planned.settle()
    planned.scale("web", 2)
    planned.settle()
    assert chain(planned, 2) == ["web.2#1 stop RUNNING", "web.2#2 run PENDING"]
    assert planned.row("web.2#2").status.pending_reason == "waits for web.2#1 to end"
    planned.report("web.2#1", Phase.STOPPED)
    planned.settle()
    assert planned.row("web.2#2").node == "n1"


# What follows an end


def test_planner_leaves_a_complete_task_alone() -> None:
    planned = running(restart=Restart(condition=Condition.ON_FAILURE))
    planned.report("web.1#1", Phase.COMPLETE)
    planned.settle()
    assert planned.current() == ["web.1#1"]


@pytest.mark.parametrize("how", [Phase.FAILED, Phase.CRASHED])
def test_planner_replaces_no_failure_under_never(how: Phase) -> None:
    planned = running(restart=Restart(condition=Condition.NEVER))
    planned.report("web.1#1", how)
    planned.settle()
    assert planned.current() == ["web.1#1"]


@pytest.mark.parametrize("how", [Phase.FAILED, Phase.CRASHED])
def test_planner_replaces_a_first_failure_at_once(how: Phase) -> None:  # S17
    planned = running()
    end = failure("liveness probe failed 3 times: HTTP 500")
    planned.report("web.1#1", how, last_end=end)
    planned.settle()
    assert planned.current() == ["web.1#2"]
    row = planned.row("web.1#2")
    assert (row.node, row.failed_before, row.not_before) == ("n1", 1, None)
    assert (row.status.last_end, row.status.failed_before) == (end, 1)
    assert row.status.is_restarting
    said = "web.1#2 replaces web.1#1: liveness probe failed 3 times: HTTP 500"
    assert planned.told("replaced") == [said]
    told = next(entry for entry in planned.events if entry.kind is EventKind.REPLACED)
    assert (told.subject, told.service, told.reason) == ("web.1#2", "web", how.name.lower())


def test_planner_waits_longer_before_every_further_replacement() -> None:  # S17
    planned, waits = running(), list[float]()
    for number in range(1, 9):
        task = f"web.1#{number}"
        planned.fail(task)
        planned.settle()
        row = planned.row(f"web.1#{number + 1}")
        waits.append((row.not_before or planned.now) - planned.now)
        assert row.failed_before == number
        if row.not_before is None:
            continue
        assert row.node is None
        assert row.status.restart_at == row.not_before == planned.last.wake_at
        assert row.status.is_restarting
        planned.settle(row.not_before - planned.now - 0.5)
        assert planned.row(str(row.id)).node is None
        planned.settle(row.not_before - planned.now)
        assert planned.row(str(row.id)).node == "n1"
        assert planned.row(str(row.id)).status.restart_at is None
    jitters = [phase(f"web.1#{number}") for number in range(2, 10)]
    wanted = [replacement_delay(n, jitter=j) for n, j in enumerate(jitters)]
    assert waits == pytest.approx(wanted)
    assert waits[0] == 0
    assert 10 <= waits[1] <= 11


def test_planner_says_why_a_replacement_waits() -> None:  # S26
    planned = running()
    planned.fail("web.1#1", failed_before=1)
    planned.settle()
    status = planned.row("web.1#2").status
    assert status.pending_reason == "web.1#1 failed"  # nothing in it that is wrong a second later
    assert status.restart_at is not None
    assert 10 <= status.restart_at - planned.now <= 11
    assert "; starts in 1" in planned.told("replaced")[0]


def test_planner_starts_afresh_after_good_running() -> None:  # S17
    planned = running()
    for number in (1, 2, 3):
        planned.fail(f"web.1#{number}", failed_before=0)  # the node has wiped the slate
        planned.settle()
        assert planned.row(f"web.1#{number + 1}").not_before is None


def test_planner_replaces_a_task_that_nobody_asked_to_stop() -> None:
    planned = running()
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    assert planned.nodes() == {"web.1#2": "n1"}
    assert planned.told("replaced") == ["web.1#2 replaces web.1#1: stopped"]


def test_planner_tells_of_a_long_reason_on_one_line() -> None:
    planned = running()
    planned.fail("web.1#1", "exit code 1\nand more")
    planned.settle()
    assert planned.told("replaced") == ["web.1#2 replaces web.1#1: exit code 1 and more"]


def test_planner_takes_a_wait_longer_than_any_for_a_clock_set_back() -> None:
    planned = Planned("n1")
    planned.create(spec(replicas=2))
    for slot, wait in ((1, LONGEST_WAIT), (2, LONGEST_WAIT + 1)):
        row = task_row(
            f"web.{slot}#1",
            spec(replicas=2),
            phase=Phase.PENDING,
            pending_reason="failed",
            not_before=START + wait,
        )
        planned.commit([PutTask(row)])
    planned.settle()
    assert planned.nodes() == {"web.1#1": None, "web.2#1": "n1"}
    assert planned.last.wake_at == START + LONGEST_WAIT


# Pending


def test_planner_says_why_a_task_is_pending_and_says_it_once() -> None:  # S26
    planned = Planned()
    planned.create(spec(ports={"http": 8080}, replicas=2))
    planned.settle()
    assert planned.row("web.1#1").status.pending_reason == "no node has joined yet"
    planned.join("n1")
    planned.settle()
    reason = planned.row("web.2#1").status.pending_reason
    assert reason == "n1: port http: 8080 is held by web.1#1"  # S23
    planned.join("n2")
    planned.settle()
    assert planned.nodes() == {"web.1#1": "n1", "web.2#1": "n2"}
    assert planned.row("web.2#1").status.pending_reason is None
    assert planned.told("pending") == ["pending: no node has joined yet"] * 2 + [
        f"pending: {reason}"
    ]


def test_planner_gives_a_port_that_is_free_again_to_who_waits_for_it() -> None:
    planned = Planned("n1")
    planned.create(spec(ports={"http": 8080}))
    planned.create(spec("other", ports={"web": 8080}))
    planned.settle()
    waiting = next(t for t in ("web.1#1", "other.1#1") if planned.row(t).node is None)
    holder = {"web.1#1": "other", "other.1#1": "web"}[waiting]
    planned.remove(holder)
    planned.settle()
    planned.report(f"{holder}.1#1", Phase.STOPPED)
    planned.settle()
    assert planned.row(waiting).node == "n1"


def test_planner_tells_unreachable_from_down() -> None:
    planned = Planned("n1")
    planned.lose("n1")
    planned.create(spec())
    planned.settle()
    assert planned.row("web.1#1").status.pending_reason == "n1: unreachable"
    planned.settle(LEASE)
    assert planned.row("web.1#1").status.pending_reason == "n1: down"


# What is kept


def test_planner_keeps_the_last_ended_tasks_of_a_slot() -> None:
    planned = running()
    for number in range(1, 12):
        planned.fail(f"web.1#{number}", failed_before=0)
        planned.settle()
    rows = planned.cluster.slot("web", 1)
    assert len(rows) == HISTORY + 1
    assert str(rows[-1].id) == "web.1#12"


def test_planner_trims_the_history_of_a_slot_that_comes_back() -> None:
    planned = running()
    for number in range(1, HISTORY + 1):
        planned.fail(f"web.1#{number}", failed_before=0)
        planned.settle()
    planned.scale("web", 0)
    planned.settle()
    planned.report(f"web.1#{HISTORY + 1}", Phase.STOPPED)
    planned.settle()
    planned.scale("web", 1)
    planned.settle()
    assert len(planned.cluster.slot("web", 1)) == HISTORY + 1


# What cannot be


def test_planner_leaves_tasks_of_no_service_alone() -> None:
    planned = Planned("n1", "n2")
    rows = [
        task_row("lone.1#1", node="n1"),
        task_row("lone.2#1", phase=Phase.PENDING, pending_reason="none"),
        task_row("lone.3#1", node="n1", phase=Phase.FAILED),
    ]
    planned.commit([PutTask(row) for row in rows])
    assert planned.settle().changes == ()
    planned.lose("n1")
    planned.settle()
    assert planned.settle(LEASE).changes == ()


def test_planner_does_nothing_for_a_slot_without_tasks() -> None:
    planned = running()
    planned.touched.slots["web"] = {7}
    assert planned.settle().changes == ()


def test_planner_counts_the_restarts_of_a_slot_over_its_tasks() -> None:
    planned = running()
    planned.fail("web.1#1", restarts=5)
    planned.settle()
    planned.fail("web.1#2", restarts=3)
    planned.settle(400)
    assert planned.row("web.1#3").restarts_before == 8
    for number in range(3, 12):  # the first are forgotten by then
        planned.fail(f"web.1#{number}", restarts=1)
        planned.settle(400)
    assert "web.1#1" not in [str(row.id) for row in planned.cluster.slot("web", 1)]
    assert planned.row("web.1#12").restarts_before == 17
    assert restarts_in(planned.cluster.slot("web", 1)) == 17


def test_planner_leaves_no_healthy_probe_on_a_lost_task() -> None:
    planned = running(1, "n1", "n2")
    node = planned.nodes()["web.1#1"]
    assert node is not None
    healthy = {ProbeKind.LIVENESS: ProbeStatus(verdict=Verdict.HEALTHY)}
    planned.report("web.1#1", Phase.RUNNING, ready=True, probes=healthy)
    planned.lose(node)
    planned.settle(LEASE)
    assert planned.row("web.1#1").phase is Phase.FAILED
    assert planned.row("web.1#1").status.probes == {}
