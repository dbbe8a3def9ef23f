"""Services that go, and nodes that come and go (S20)."""

from __future__ import annotations

import pytest
from planning_kit import LEASE, Planned, chain, in_pieces, running, spec

from warren.model.cluster import AddEvent, Desired, DropNode
from warren.model.task import Phase, Reason

# Removal


def test_planner_removes_a_service_when_all_of_it_has_ended() -> None:
    planned = running(2)
    planned.scale("web", 3)
    planned.lose("n1")
    planned.settle()  # web.3#1 is on no node
    planned.join("n1")
    planned.remove("web")
    planned.settle()
    assert {row.stop_reason for row in planned.cluster.of_service("web")} == {"removed"}
    planned.report("web.1#1", Phase.STOPPED)
    planned.settle()
    assert "web" in planned.cluster.services
    for row in planned.cluster.of_service("web"):
        planned.report(row.id, Phase.STOPPED)
    planned.settle()
    assert planned.cluster.services == {}
    assert planned.cluster.tasks == {}
    assert planned.told("removed") == ["service web is removed"]
    assert isinstance(planned.last.changes[-1], AddEvent)


def test_planner_removes_a_service_without_tasks_at_once() -> None:
    planned = Planned()
    planned.create(spec(replicas=2))
    planned.settle()
    planned.remove("web")
    planned.settle()
    assert planned.cluster.services == {}


def test_planner_removes_a_service_whose_node_is_down() -> None:
    planned = running()
    planned.lose("n1")
    planned.remove("web")
    planned.settle()
    assert "web" in planned.cluster.services
    assert planned.last.wake_at == planned.now + LEASE
    planned.settle(LEASE)
    assert planned.cluster.services == {}


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
    assert planned.cluster.on_node("n1") == ()  # so it stops what it no longer owns


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


def test_planner_holds_a_lost_node_neither_against_a_task_nor_in_its_favour() -> None:  # S17
    planned = running(1, "n1", "n2")
    planned.report("web.1#1", Phase.RUNNING, failed_before=3)
    planned.lose("n1")
    planned.settle()
    planned.settle(LEASE)
    row = planned.row("web.1#2")
    assert (row.node, row.failed_before, row.status.failed_before) == ("n2", 3, 3)


def test_planner_does_not_move_what_is_given_up_at_that_moment() -> None:
    planned = running(2, "n1", "n2")
    planned.lose("n1")
    planned.now += LEASE
    planned.scale("web", 0)
    planned.settle()
    assert planned.current() == ["web.2#1"]
    assert chain(planned) == ["web.1#1 stop STOPPED"]


def test_planner_takes_a_session_for_more_than_what_is_written_down() -> None:
    planned = running(1, "n1", "n2")
    planned.lose("n1")
    planned.connected.add("n1")
    assert planned.settle(LEASE).changes == ()


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
    assert {row.revision for row in planned.cluster.current("web") if row.node == "n2"} == {1, 2}


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


# In pieces


@pytest.mark.parametrize("most", [1, 7])
def test_planner_in_pieces_moves_what_a_down_node_had(most: int) -> None:  # S20
    at_once, pieces = running(30), running(30)
    for planned in (at_once, pieces):
        planned.create(spec("old", replicas=30))
        planned.settle()
        planned.scale("old", 10)  # of whose 20 that are to stop nobody tells any more
        planned.settle()
        planned.join("n2")
        planned.lose("n1")
        planned.now += LEASE
    at_once.settle()
    assert in_pieces(pieces, most) <= most + 1  # one that is moved is two rows
    assert pieces.cluster.tasks == at_once.cluster.tasks
    assert set(pieces.nodes().values()) == {"n2"}


@pytest.mark.parametrize("most", [1, 7])
def test_planner_in_pieces_places_what_waits_for_a_node(most: int) -> None:
    at_once, pieces = Planned(), Planned()
    for planned in (at_once, pieces):
        planned.create(spec(replicas=30))
        planned.settle()
        planned.join("n1")
    at_once.settle()
    assert in_pieces(pieces, most) <= most
    assert pieces.cluster.tasks == at_once.cluster.tasks


def test_planner_in_pieces_restarts_many_services() -> None:
    planned = Planned("n1")
    names = [f"s{number}" for number in range(20)]
    for name in names:
        planned.create(spec(name))
    planned.settle()
    planned.ready(*[f"{name}.1#1" for name in names])
    planned.settle()
    for name in names:
        planned.restart(name)
    assert in_pieces(planned, 5) <= 6
    assert all(planned.current(name) == [f"{name}.1#2"] for name in names)
