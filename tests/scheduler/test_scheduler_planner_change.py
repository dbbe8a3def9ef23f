"""A change of spec: one slot at a time, next when ready."""

from __future__ import annotations

import pytest
from planning_kit import START, Planned, chain, node_row, running, spec

from warren.model.check import TcpCheck
from warren.model.cluster import Desired, PutNode
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.probe import Probe
from warren.model.service import Condition, Restart, ServiceSpec
from warren.model.task import Instance, Phase
from warren.rules import requirements


def test_planner_changes_a_spec_one_slot_at_a_time_next_when_ready() -> None:
    planned = running(3)
    planned.update("web")
    for slot in (1, 2, 3):
        planned.settle()
        assert chain(planned, slot) == [f"web.{slot}#1 stop RUNNING", f"web.{slot}#2 run PENDING"]
        assert planned.row(f"web.{slot}#1").stop_reason == "the spec has changed"
        alive = [row for row in planned.cluster.tasks.values() if row.desired is Desired.RUN]
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
    planned.scale("web", 3)
    planned.settle()
    planned.ready("web.3#1")
    planned.restart("web")
    planned.settle()
    assert planned.row("web.1#1").stop_reason == "restart asked"
    assert planned.current() == ["web.1#2", "web.2#1", "web.3#1"]


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
        for row in planned.cluster.of_service("web"):
            if row.desired is Desired.STOP and not row.has_ended:
                planned.report(row.id, Phase.STOPPED)
    placed = [row for row in planned.cluster.current("web") if row.node is not None]
    assert {row.revision for row in placed} == {2}
    assert len(placed) == 2


def test_planner_loses_one_slot_to_a_spec_that_fits_nowhere() -> None:
    planned = running(3, ports={})
    planned.create(spec("other", ports={"http": 9090}))
    planned.settle()
    planned.update("web", ports={"http": 9090})
    for _ in range(5):
        planned.settle()
        for row in planned.cluster.of_service("web"):
            if row.desired is Desired.STOP and not row.has_ended:
                planned.report(row.id, Phase.STOPPED)
    assert planned.nodes() == {"web.1#2": None, "web.2#1": "n1", "web.3#1": "n1"}
    reason = planned.row("web.1#2").status.pending_reason
    assert reason == "n1: port http: 9090 is held by other.1#1"


def test_planner_going_back_leaves_alone_what_has_the_spec_already() -> None:
    planned = running(3, env={"V": "a"})
    planned.update("web", env={"V": "b"})
    planned.settle()
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()  # web.1#2 never gets ready
    planned.update("web", env={"V": "a"})
    planned.settle()
    assert planned.current() == ["web.1#3", "web.2#1", "web.3#1"]
    assert planned.row("web.1#2").stop_reason == "the spec has changed"
    planned.report("web.1#2", Phase.STOPPED)
    planned.settle()
    planned.ready("web.1#3")
    assert planned.settle().changes == ()
    assert planned.cluster.slots("web").outdated == set()
    planned.scale("web", 2)
    planned.settle()
    planned.restart("web")  # asked for is asked for, whatever the spec was once
    planned.settle()
    assert "restart asked" in {row.stop_reason for row in planned.cluster.of_service("web")}


def test_planner_restarts_once_more_what_was_restarted_to_the_same_spec() -> None:
    planned = running(2)
    planned.restart("web")
    planned.settle()
    assert planned.current() == ["web.1#2", "web.2#1"]
    planned.update("web", env={"V": "b"})
    planned.update("web", env={})
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    planned.ready("web.1#2")
    planned.settle()
    assert planned.current() == ["web.1#2", "web.2#2"]  # and the first is not done again
    assert planned.row("web.2#1").stop_reason == "restart asked"


def test_planner_leaves_a_job_complete_that_went_back() -> None:
    planned = running(1, restart=Restart(condition=Condition.ON_FAILURE))
    planned.report("web.1#1", Phase.COMPLETE)
    planned.settle()
    planned.update("web", env={"V": "b"})
    planned.update("web", env={})
    assert planned.settle().changes == ()


# Nothing but probes


PROBED = {"readiness": Probe(tcp=TcpCheck()), "ports": {"http": 0}}
OTHER = Probe(tcp=TcpCheck(), retries=9)


def runs(planned: Planned, task: str, **fields: object) -> None:
    """What a node that knows of revisions says of a task that is ready."""
    row = planned.row(task)
    instance = row.status.instance or Instance(id=f"{task}.1", task=row.id, started_at=START)
    given = {"ready": True, "instance": instance, "revision": row.revision, "is_proving": False}
    planned.report(task, Phase.RUNNING, **(given | fields))


def probed(replicas: int) -> Planned:
    planned = running(replicas, **PROBED)
    for task in planned.current():
        runs(planned, task)
    planned.settle()
    return planned


def test_planner_changes_probes_slot_by_slot_and_keeps_the_tasks() -> None:
    planned = probed(2)
    planned.update("web", readiness=OTHER)
    planned.settle()
    assert planned.current() == ["web.1#1", "web.2#1"]
    specs = [planned.row(task).spec.readiness for task in planned.current()]
    assert specs == [OTHER, PROBED["readiness"]]
    assert planned.told("probes changed") == ["probes changed: the spec has changed"]
    assert planned.settle().changes == ()  # the node has not said that it goes by them
    runs(planned, "web.1#1", is_proving=True)
    assert planned.settle().changes == ()  # nor are they proved
    runs(planned, "web.1#1")
    planned.settle()
    assert planned.row("web.2#1").spec.readiness == OTHER
    runs(planned, "web.2#1")
    assert planned.settle().changes == ()
    assert len(planned.cluster.of_service("web")) == 2


def test_planner_stops_a_change_of_probes_where_a_new_one_does_not_pass() -> None:
    planned = probed(2)
    planned.update("web", readiness=OTHER)
    planned.settle()
    runs(planned, "web.1#1", ready=False)
    assert planned.settle(1000).changes == ()
    assert planned.row("web.2#1").revision == 1
    planned.update("web", readiness=PROBED["readiness"])  # and back
    planned.settle()
    assert planned.row("web.1#1").spec.readiness == PROBED["readiness"]
    assert planned.row("web.2#1").revision == 1
    runs(planned, "web.1#1")
    assert planned.settle().changes == ()


@pytest.mark.parametrize(
    ("said", "edit"),
    [
        ({"revision": 0}, {"readiness": OTHER}),  # its node is of an older version
        ({"instance": None}, {"readiness": OTHER}),  # nothing runs that could be kept
        ({}, {"readiness": OTHER, "env": {"A": "b"}}),
    ],
)
def test_planner_replaces_a_task_that_cannot_keep_its_instance(
    said: dict[str, object], edit: dict[str, object]
) -> None:
    planned = probed(1)
    runs(planned, "web.1#1", **said)
    planned.update("web", **edit)
    planned.settle()
    assert planned.current() == ["web.1#2"]


def test_planner_replaces_a_task_whose_node_cannot_do_the_new_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_up = requirements.Feature("many-retries", "readiness", lambda spec: is_other(spec) or None)
    monkeypatch.setattr(requirements, "FEATURES", (made_up,))
    able = NodeDescription(runtimes=(RuntimeInfo(name="process"),), features=("many-retries",))
    planned = probed(1)
    planned.commit([PutNode(node_row("n2", description=able))])
    planned.connected.add("n2")
    planned.update("web", readiness=OTHER)
    planned.settle()
    assert planned.current() == ["web.1#2"]
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    assert planned.nodes() == {"web.1#2": "n2"}


def test_planner_leaves_the_slots_whose_node_cannot_do_what_a_stuck_change_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited = requirements.Feature("limits", "user", lambda spec: spec.user)
    monkeypatch.setattr(requirements, "FEATURES", (limited,))
    planned = running(3)
    planned.update("web", user="nobody")
    planned.settle()
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    assert planned.row("web.1#2").status.pending_reason == "n1: lacks limits"
    assert planned.settle(1000).changes == ()
    assert planned.current() == ["web.1#2", "web.2#1", "web.3#1"]


def is_other(spec: ServiceSpec) -> bool:
    return spec.readiness == OTHER


def test_planner_restarts_what_was_to_be_restarted_whatever_becomes_of_its_probes() -> None:
    planned = probed(1)
    planned.restart("web")
    planned.update("web", readiness=OTHER)
    planned.settle()
    assert planned.current() == ["web.1#2"]
