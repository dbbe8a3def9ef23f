"""The world: its indexes, what a commit has touched, and what that costs."""

from __future__ import annotations

import msgspec
import pytest

from tests.scheduler.planning_kit import (
    START,
    indexes,
    node_row,
    service_row,
    snapshot_of,
    spec,
    task_row,
    tid,
)
from warren.model.cluster import (
    Change,
    Desired,
    DropNode,
    DropService,
    DropTask,
    PutNode,
    PutService,
    PutTask,
    Snapshot,
    TaskRow,
)
from warren.model.task import Phase
from warren.state.cluster_state import ClusterState, Touched
from warren.state.pending import LONGEST_WAIT, PendingTasks, is_due
from warren.state.slot_index import SlotIndex


def world_of(*rows: TaskRow, nodes: tuple[str, ...] = ("n1", "n2")) -> ClusterState:
    """With services `web` and `db`."""
    return ClusterState.of(
        Snapshot(
            generation=7,
            services=(service_row(spec("web", 3)), service_row(spec("db", 1))),
            tasks=rows,
            nodes=tuple(node_row(name) for name in nodes),
        )
    )


def moved(row: TaskRow, **fields: object) -> TaskRow:
    return msgspec.structs.replace(row, **fields)


def test_world_has_the_rows_of_its_snapshot() -> None:
    world = world_of(task_row("web.1#1", node="n1"))
    assert world.generation == 7
    assert set(world.services) == {"web", "db"}
    assert set(world.tasks) == {tid("web.1#1")}
    assert set(world.nodes) == {"n1", "n2"}
    assert world.statistics() == {
        "services": 2, "tasks": 1, "alive": 1, "unplaced": 0, "nodes": 2,
    }  # fmt: skip
    assert repr(world) == "<ClusterState at 7: 2 services, 1 tasks, 1 alive, 0 unplaced, 2 nodes>"
    assert repr(world.slots("web")) == "<SlotIndex 1 held, 1 alive>"
    assert len(world.slots("web")) == 1
    assert indexes(world) == indexes(ClusterState.of(snapshot_of(world)))


def test_world_gives_the_current_task_of_every_slot_in_order() -> None:
    world = world_of(
        task_row("web.10#1"),
        task_row("web.2#9", phase=Phase.FAILED),
        task_row("web.2#10"),
        task_row("web.3#1", phase=Phase.STOPPED, desired=Desired.STOP),
        task_row("web.4#1", desired=Desired.STOP),
        task_row("web.5#1", phase=Phase.COMPLETE),
        task_row("db.1#1"),
    )
    current = [str(row.id) for row in world.current("web")]
    assert current == ["web.2#10", "web.4#1", "web.5#1", "web.10#1"]
    assert [str(row.id) for row in world.slot("web", 2)] == ["web.2#9", "web.2#10"]
    every = [str(row.id) for row in world.of_service("web")]
    assert every == ["web.2#9", "web.2#10", "web.3#1", "web.4#1", "web.5#1", "web.10#1"]
    assert list(world.current("nobody")) == list(world.slot("web", 77)) == []


def test_world_keeps_a_slots_tasks_in_order_whatever_the_order_they_came_in() -> None:
    world = world_of(task_row("web.1#3"), task_row("web.1#1"), task_row("web.1#2"))
    assert [row.id.number for row in world.slot("web", 1)] == [1, 2, 3]


def test_world_counts_what_is_on_a_node_and_has_not_ended() -> None:
    world = world_of(
        task_row("web.1#1", node="n1"),
        task_row("web.2#1", node="n1", desired=Desired.STOP),
        task_row("web.3#1", node="n1", phase=Phase.FAILED),
        task_row("web.4#1", node=None, phase=Phase.PENDING),
        task_row("db.1#1", node="n1"),
        task_row("db.2#1", node="n2"),
    )
    assert set(world.on_node("n1")) == {tid("web.1#1"), tid("web.2#1"), tid("db.1#1")}
    assert (world.count_on("n1"), world.count_on("n1", "web"), world.count_on("n1", "db")) == (
        3,
        2,
        1,
    )
    assert (world.count_on("n3"), world.count_on("n3", "web")) == (0, 0)
    assert list(world.on_node("n3")) == []


def test_world_knows_who_holds_a_fixed_port() -> None:
    wanted = spec(ports={"http": 8080, "any": 0})
    row = task_row("web.1#1", wanted, node="n1")
    world = world_of(row)
    assert world.holder("n1", 8080) == row.id
    assert world.holder("n2", 8080) is world.holder("n1", 0) is None
    contained = msgspec.structs.replace(wanted, image="web")
    world.apply([PutTask(task_row("db.1#1", contained, node="n2"))], 8)
    assert world.holder("n2", 8080) is None  # a container has its own address
    shared = task_row("hub.1#1", msgspec.structs.replace(contained, network="host"), node="n2")
    world.apply([PutTask(shared)], 8)
    assert world.holder("n2", 8080) == shared.id
    ended = msgspec.structs.replace(row.status, phase=Phase.STOPPED)
    world.apply([PutTask(moved(row, status=ended))], 9)
    assert world.holder("n1", 8080) is None


def test_world_gives_a_port_held_twice_back_only_when_its_holder_ends() -> None:
    wanted = spec(ports={"http": 8080})
    first, second = (task_row(f"web.{slot}#1", wanted, node="n1") for slot in (1, 2))
    world = world_of(first, second)
    world.apply([DropTask(first.id)], 8)
    assert world.holder("n1", 8080) == second.id


# What a commit touches


def touched_by(world: ClusterState, *changes: Change) -> Touched:
    touched = world.apply(changes, world.generation + 1)
    assert indexes(world) == indexes(ClusterState.of(snapshot_of(world)))
    return touched


def test_world_says_what_a_tasks_change_has_touched() -> None:
    row = task_row("web.1#1", node="n1")
    world = world_of()
    touched = touched_by(world, PutTask(row))
    assert touched == Touched({"web": {1}}, {"n1"}, {"n1": {row.id}}, set())
    ready = moved(row, status=msgspec.structs.replace(row.status, ready=True))
    assert touched_by(world, PutTask(ready)) == Touched({"web": {1}}, set(), {}, set())
    renewed = moved(ready, revision=2)
    assert touched_by(world, PutTask(renewed)) == Touched({"web": {1}}, set(), {"n1": {row.id}})
    stop = moved(renewed, desired=Desired.STOP)
    touched = touched_by(world, PutTask(stop))
    assert (touched.nodes, touched.assigned) == ({"n1"}, {"n1": {row.id}})
    ended = moved(stop, status=msgspec.structs.replace(row.status, phase=Phase.STOPPED))
    touched = touched_by(world, PutTask(ended))
    assert (touched.nodes, touched.assigned) == ({"n1"}, {"n1": {row.id}})
    assert touched_by(world, DropTask(row.id)) == Touched({"web": {1}}, set(), {}, set())
    assert world.generation == 13


def test_world_says_what_a_services_change_has_touched() -> None:
    world = world_of(task_row("web.1#1", node="n1"))
    row = world.services["web"]
    resized = msgspec.structs.replace(row, spec=spec("web", 9), version=2)
    assert touched_by(world, PutService(resized)) == Touched({"web": set()}, services={"web"})
    renewed = msgspec.structs.replace(resized, version=3, revision=3, restarts_asked=1)
    assert touched_by(world, PutService(renewed)) == Touched({"web": None}, services={"web"})
    assert world.changing == {"web"}
    going = msgspec.structs.replace(renewed, is_removing=True)
    assert touched_by(world, PutService(going)).slots == {"web": None}
    new = service_row(spec("new"))
    assert touched_by(world, PutService(new)).slots == {"new": None}
    gone = touched_by(world, DropService("web"))
    assert gone == Touched({"web": None}, {"n1"}, {"n1": {tid("web.1#1")}}, {"web"})
    assert not world.tasks
    assert not world.changing


def test_world_says_what_a_nodes_change_has_touched() -> None:
    world = world_of(task_row("web.1#1", node="n1"))
    row = world.nodes["n1"]
    lost = msgspec.structs.replace(row, lost_at=START)
    assert touched_by(world, PutNode(lost)) == Touched(nodes={"n1"})
    assert world.absent == {"n1"}
    touched_by(world, PutNode(row))
    assert world.absent == set()
    assert touched_by(world, DropNode("n1")).nodes == {"n1"}
    assert world.absent == {"n1"}  # it is not known, and has a task
    touched_by(world, DropTask(tid("web.1#1")))
    assert world.absent == set()


def test_world_takes_it_easily_where_there_is_nothing_to_drop() -> None:
    world = world_of()
    touched_by(world, DropTask(tid("web.1#1")), DropNode("nobody"), DropService("nobody"))
    assert len(world.services) == 2


def test_world_keeps_tasks_whose_service_comes_later() -> None:
    world = ClusterState()
    world.apply([PutTask(task_row("web.1#1"))], 1)
    assert world.slots("web").outdated == {1}
    world.apply([PutService(service_row(spec()))], 2)
    assert world.slots("web").outdated == set()
    assert world.changing == set()


def test_touched_is_merged_and_the_whole_stays_the_whole() -> None:
    one, two, more = {"a": {tid("web.1#1")}}, {"b": {tid("web.2#1")}}, {"a": {tid("web.3#1")}}
    touched = Touched({"web": {1}, "db": None}, {"n1"}, one, {"db"})
    touched |= Touched({"web": {2}, "db": {3}, "new": set()}, {"n2"}, two, {"new"})
    touched |= Touched(assigned=more)
    assert touched.slots == {"web": {1, 2}, "db": None, "new": set()}
    assert touched.nodes == {"n1", "n2"}
    assert touched.assigned == {"a": {tid("web.1#1"), tid("web.3#1")}, "b": {tid("web.2#1")}}
    assert touched.services == {"db", "new"}
    touched |= Touched({"web": None})
    assert touched.slots["web"] is None


def test_touched_shares_nothing_with_what_was_merged_into_it() -> None:
    one, other = Touched(), Touched({"web": {1}})
    one |= other
    one |= Touched({"web": {2}})
    assert other.slots == {"web": {1}}


def test_touched_everything_is_all_there_is() -> None:
    world = world_of(task_row("web.1#1", node="n1"))
    everything = Touched.everything(world)
    assert everything.slots == {"web": None, "db": None}
    assert everything.nodes == {"n1", "n2"}
    assert everything.assigned == {"n1": {tid("web.1#1")}, "n2": set()}
    assert everything.services == {"web", "db"}


# Slots


def test_slots_gives_the_lowest_free_numbers() -> None:
    slots = SlotIndex()
    assert slots.free(2) == [1, 2]
    for text in ("web.2#1", "web.5#1"):
        slots.put(task_row(text))
    assert slots.free(0) == []
    assert slots.free(2) == [1, 3]
    assert slots.free(5) == [1, 3, 4, 6, 7]
    slots.put(task_row("web.5#1", desired=Desired.STOP))
    assert slots.free(4) == [1, 3, 4, 5]


def test_slots_is_the_services_while_the_current_task_is_to_run() -> None:
    slots = SlotIndex()
    slots.set_service(service_row(spec()))
    slots.put(task_row("web.1#1", desired=Desired.STOP))
    assert (slots.held, slots.shown, slots.alive) == (set(), {1}, 1)
    slots.put(task_row("web.1#2", phase=Phase.PENDING))
    assert (slots.held, slots.stuck, slots.unsettled) == ({1}, set(), {1})  # #1 is in the way
    slots.put(task_row("web.1#1", desired=Desired.STOP, phase=Phase.STOPPED))
    assert (slots.stuck, slots.unsettled, slots.alive) == ({1}, set(), 1)
    slots.put(task_row("web.1#2", node="n1", ready=True))
    assert (slots.ready, slots.stuck, slots.unsettled) == ({1}, set(), set())
    slots.set_service(service_row(spec(env={"V": "2"}), revision=2))
    assert slots.outdated == {1}


# Waiting


def test_waiting_gives_what_is_due_and_what_is_due_next() -> None:
    waiting = PendingTasks()
    times = {1: None, 2: START, 3: START + 5, 4: START + LONGEST_WAIT, 5: START + LONGEST_WAIT + 1}
    rows = {slot: task_row(f"web.{slot}#1", not_before=at) for slot, at in times.items()}
    for slot in (4, 1, 5, 3, 2):
        waiting.add(rows[slot])
    assert repr(waiting) == "<PendingTasks 5>"
    assert sorted(task.slot for task in waiting.due(START)) == [1, 2, 5]
    assert [(at, task.slot) for at, task in waiting.later(START)] == [
        (START + 5, 3),
        (START + LONGEST_WAIT, 4),
    ]
    for slot, at in times.items():
        assert is_due(at, START) is (slot in (1, 2, 5))
    for row in rows.values():
        waiting.remove(row)
    assert len(waiting) == 0


@pytest.mark.parametrize("text", ["web.1#1"])
def test_waiting_refuses_to_forget_what_it_does_not_have(text: str) -> None:
    with pytest.raises(KeyError):
        PendingTasks().remove(task_row(text))
