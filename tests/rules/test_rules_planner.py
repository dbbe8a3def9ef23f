"""What the planner decides: how many, where, what follows what, and when."""

from __future__ import annotations

from typing import Any

import pytest
from planning_kit import LEASE, START, Planned, failure, spec, task_row

from warren.model.cluster import AddEvent, Desired, DropNode, PutTask
from warren.model.service import Condition, Restart
from warren.model.task import Phase, Reason
from warren.rules.planner import HISTORY
from warren.rules.restart import replacement_delay
from warren.rules.schedule import phase
from warren.rules.waiting import LONGEST_WAIT
from warren.rules.world import Touched


def running(replicas: int = 1, *nodes: str, **fields: Any) -> Planned:
    """A service `web` whose tasks are all ready."""
    planned = Planned(*(nodes or ("n1",)))
    planned.create(spec(replicas=replicas, **fields))
    planned.settle()
    planned.ready(*planned.current())
    planned.settle()
    return planned


def chain(planned: Planned, slot: int = 1) -> list[str]:
    rows = planned.world.slot("web", slot)
    return [f"{row.id} {row.desired.value} {row.phase.name}" for row in rows]


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


def test_planner_numbers_a_services_tasks_from_its_first_number() -> None:
    planned = Planned("n1")
    planned.create(spec(), first_number=8)
    planned.settle()
    assert planned.current() == ["web.1#8"]


def test_planner_leaves_alone_what_is_as_wanted() -> None:
    planned = running(3)
    planned.touched = Touched.everything(planned.world)
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
    assert len(planned.world.of_service("web")) == 2  # kept, so that numbers go on counting


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
    told = next(entry for entry in planned.events if entry.kind == "replaced")
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
    reason = planned.row("web.1#2").status.pending_reason
    assert reason in ("web.1#1 failed: starts after 10s", "web.1#1 failed: starts after 11s")
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


# A change of spec


def test_planner_changes_a_spec_one_slot_at_a_time_next_when_ready() -> None:
    planned = running(3)
    planned.update("web")
    for slot in (1, 2, 3):
        planned.settle()
        assert chain(planned, slot) == [f"web.{slot}#1 stop RUNNING", f"web.{slot}#2 run PENDING"]
        assert planned.row(f"web.{slot}#1").stop_reason == "the spec has changed"
        alive = [row for row in planned.world.tasks.values() if row.desired is Desired.RUN]
        assert sum(row.status.ready for row in alive) == 2
        planned.report(f"web.{slot}#1", Phase.STOPPED)
        planned.settle()
        assert planned.row(f"web.{slot}#2").node == "n1"
        planned.report(f"web.{slot}#2", Phase.RUNNING, ready=False)
        assert planned.settle().changes == ()
        planned.ready(f"web.{slot}#2")
    assert planned.settle().changes == ()
    assert planned.current() == ["web.1#2", "web.2#2", "web.3#2"]
    assert planned.told("replaced")[0] == "web.1#2 replaces web.1#1: the spec has changed"


def test_planner_changes_what_is_not_ready_first() -> None:
    planned = running(3)
    planned.report("web.2#1", Phase.RUNNING, ready=False)
    planned.update("web")
    planned.settle()
    assert planned.current() == ["web.1#1", "web.2#2", "web.3#1"]


def test_planner_restarts_a_service_the_same_way() -> None:
    planned = running(2)
    planned.scale("web", 2)
    planned.restart("web")
    planned.settle()
    assert planned.row("web.1#1").stop_reason == "restart asked"
    assert planned.current() == ["web.1#2", "web.2#1"]


def test_planner_holds_nothing_against_a_new_spec() -> None:
    planned = running()
    for number in (1, 2, 3):
        planned.fail(f"web.1#{number}")
        planned.settle(400)
    planned.fail("web.1#4")
    planned.settle()
    assert planned.row("web.1#5").not_before is not None
    planned.update("web")
    planned.settle()
    row = planned.row("web.1#6")
    assert (row.node, row.failed_before, row.not_before, row.status.last_end) == (
        "n1",
        0,
        None,
        None,
    )
    assert chain(planned)[-2] == "web.1#5 stop STOPPED"


@pytest.mark.parametrize("how", [Phase.COMPLETE, Phase.FAILED])
def test_planner_runs_a_new_spec_where_the_old_one_has_ended_for_good(how: Phase) -> None:
    planned = running(2, restart=Restart(condition=Condition.NEVER))
    planned.report("web.1#1", how)
    planned.report("web.2#1", how)
    planned.settle()
    planned.update("web")
    planned.settle()
    assert planned.nodes() == {"web.1#2": "n1", "web.2#2": "n1"}


def test_planner_goes_on_with_a_change_when_a_new_task_has_ended_for_good() -> None:
    planned = running(2, restart=Restart(condition=Condition.ON_FAILURE))
    planned.update("web")
    planned.settle()
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    planned.report("web.1#2", Phase.COMPLETE)
    planned.settle()
    assert planned.current() == ["web.1#2", "web.2#2"]


def test_planner_stays_at_the_slot_where_a_new_spec_fails() -> None:
    planned = running(2)
    planned.update("web")
    planned.settle()
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    for number in (2, 3, 4):
        planned.fail(f"web.1#{number}")
        planned.settle(400)
        assert planned.row("web.2#1").desired is Desired.RUN
    planned.update("web")  # a better one begins where it is broken
    planned.settle()
    planned.report("web.1#5", Phase.STOPPED)
    planned.settle()
    assert planned.nodes() == {"web.1#6": "n1", "web.2#1": "n1"}


def test_planner_takes_a_change_in_the_middle_of_a_change() -> None:
    planned = running(2)
    planned.update("web")
    planned.settle()
    planned.update("web")
    planned.settle()
    assert chain(planned) == [
        "web.1#1 stop RUNNING",
        "web.1#2 stop STOPPED",
        "web.1#3 run PENDING",
    ]
    assert planned.row("web.1#3").status.pending_reason == "waits for web.1#1 to end"
    assert planned.row("web.2#1").desired is Desired.RUN


def test_planner_gives_up_slots_in_the_middle_of_a_change() -> None:
    planned = running(3)
    planned.update("web")
    planned.settle()
    planned.scale("web", 2)
    planned.settle()
    assert planned.current() == ["web.2#2", "web.3#1"]  # the one that is not ready goes first
    assert chain(planned) == ["web.1#1 stop RUNNING", "web.1#2 stop STOPPED"]


def test_planner_changes_a_service_with_a_slot_that_fits_nowhere() -> None:
    planned = running(3, "n1", "n2", ports={"http": 8080})
    assert planned.nodes() == {"web.1#1": "n1", "web.2#1": "n2", "web.3#1": None}
    planned.update("web", env={"V": "2"})
    for _ in range(10):
        planned.settle()
        for task in planned.current():
            if planned.row(task).node is not None:
                planned.ready(task)
        for row in planned.world.of_service("web"):
            if row.desired is Desired.STOP and not row.has_ended:
                planned.report(row.id, Phase.STOPPED)
    placed = [row for row in planned.world.current("web") if row.node is not None]
    assert {row.revision for row in placed} == {2}
    assert len(placed) == 2


def test_planner_loses_one_slot_to_a_spec_that_fits_nowhere() -> None:
    planned = running(3, ports={})
    planned.create(spec("other", ports={"http": 9090}))
    planned.settle()
    planned.update("web", ports={"http": 9090})
    for _ in range(5):
        planned.settle()
        for row in planned.world.of_service("web"):
            if row.desired is Desired.STOP and not row.has_ended:
                planned.report(row.id, Phase.STOPPED)
    assert planned.nodes() == {"web.1#2": None, "web.2#1": "n1", "web.3#1": "n1"}
    reason = planned.row("web.1#2").status.pending_reason
    assert reason == "n1: port http: 9090 is held by other.1#1"


# Removal


def test_planner_removes_a_service_when_all_of_it_has_ended() -> None:
    planned = running(2)
    planned.scale("web", 3)
    planned.lose("n1")
    planned.settle()  # web.3#1 is on no node
    planned.join("n1")
    planned.remove("web")
    planned.settle()
    assert {row.stop_reason for row in planned.world.of_service("web")} == {"removed"}
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    assert "web" in planned.world.services
    for row in planned.world.of_service("web"):
        planned.report(row.id, Phase.STOPPED)
    planned.settle()
    assert planned.world.services == {}
    assert planned.world.tasks == {}
    assert planned.told("removed") == ["service web is removed"]
    assert isinstance(planned.last.changes[-1], AddEvent)


def test_planner_removes_a_service_without_tasks_at_once() -> None:
    planned = Planned()
    planned.create(spec(replicas=2))
    planned.settle()
    planned.remove("web")
    planned.settle()
    assert planned.world.services == {}


def test_planner_removes_a_service_whose_node_is_down() -> None:
    planned = running()
    planned.lose("n1")
    planned.remove("web")
    planned.settle()
    assert "web" in planned.world.services
    assert planned.last.wake_at == planned.now + LEASE
    planned.settle(LEASE)
    assert planned.world.services == {}


# Nodes


def test_planner_leaves_tasks_of_an_unreachable_node_alone() -> None:  # S20
    planned = running(2, "n1", "n2")
    planned.lose("n1")
    assert planned.settle().changes == ()
    assert planned.last.wake_at == planned.now + LEASE
    assert planned.settle(LEASE - 1).changes == ()


def test_planner_replaces_tasks_of_a_node_that_is_down_elsewhere() -> None:  # S20
    planned = running(2, "n1", "n2")
    planned.lose("n1")
    planned.settle()
    planned.settle(LEASE)
    assert planned.nodes() == {"web.1#2": "n2", "web.2#1": "n2"}
    lost = planned.row("web.1#1")
    assert (lost.desired, lost.phase, lost.node) == (Desired.STOP, Phase.FAILED, "n1")
    assert lost.status.last_end is not None
    assert lost.status.last_end.reason is Reason.LOST
    assert lost.status.last_end.message == "node n1 is down"
    assert planned.row("web.1#2").failed_before == 0
    assert planned.told("replaced") == ["web.1#2 replaces web.1#1: node n1 is down"]
    planned.join("n1")
    planned.settle()
    assert planned.world.on_node("n1") == ()  # so it stops what it no longer owns


def test_planner_leaves_tasks_of_a_down_node_where_no_other_can_take_them() -> None:  # S20
    planned = running(2, "n1", "n2", ports={"http": 8080})
    planned.lose("n1")
    planned.settle()
    assert planned.settle(LEASE).changes == ()
    planned.join("n3")
    planned.settle()
    assert planned.nodes() == {"web.1#2": "n3", "web.2#1": "n2"}


def test_planner_replaces_nothing_while_there_is_no_other_node() -> None:
    planned = running(2)
    planned.lose("n1")
    planned.settle()
    assert planned.settle(10 * LEASE).changes == ()
    planned.join("n1")
    assert planned.settle().changes == ()
    assert planned.current() == ["web.1#1", "web.2#1"]


def test_planner_takes_tasks_to_stop_on_a_down_node_for_stopped() -> None:
    planned = running(2)
    planned.scale("web", 1)
    planned.settle()
    planned.lose("n1")
    planned.settle()
    planned.settle(LEASE)
    assert chain(planned, 2) == ["web.2#1 stop STOPPED"]
    assert planned.row("web.1#1").phase is Phase.RUNNING


def test_planner_takes_a_node_that_is_not_known_for_down() -> None:
    planned = running(1, "n1", "n2")
    planned.connected.discard("n1")
    planned.commit([DropNode("n1")])
    planned.settle()
    assert planned.nodes() == {"web.1#2": "n2"}


def test_planner_moves_a_lost_task_to_its_services_present_spec() -> None:
    planned = running(2, "n1", "n2")
    planned.lose("n1")
    planned.update("web", env={"V": "2"})
    planned.settle()
    planned.settle(LEASE)
    assert {row.revision for row in planned.world.current("web") if row.node == "n2"} == {1, 2}


def test_planner_changes_a_spec_though_a_node_is_down() -> None:
    planned = running(2)
    planned.lose("n1")
    planned.settle()
    planned.now += LEASE
    planned.update("web")
    planned.settle()
    assert chain(planned) == ["web.1#1 stop STOPPED", "web.1#2 run PENDING"]
    assert planned.row("web.1#2").status.pending_reason == "n1: down"
    assert planned.row("web.2#1").desired is Desired.RUN  # one at a time, here too


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
    assert planned.told("pending") == ["no node has joined yet"] * 2 + [reason]


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
    rows = planned.world.slot("web", 1)
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
    assert len(planned.world.slot("web", 1)) == HISTORY + 1


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
