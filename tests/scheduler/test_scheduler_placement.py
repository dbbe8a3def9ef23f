"""Where a task goes, and why not (S23, S26)."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st
from planning_kit import node_row, spec, task_row

from warren.model.cluster import PutNode, PutTask
from warren.model.service import ServiceSpec
from warren.scheduler.placement import NODES_NAMED, Refusal, SpreadRanking, place
from warren.state.cluster_state import ClusterState


def world_of(
    *tasks: str, nodes: str = "n1 n2 n3", ports: dict[str, int] | None = None
) -> ClusterState:
    """Nodes, and tasks written `web.1#1@n1`."""
    world = ClusterState()
    world.apply([PutNode(node_row(name)) for name in nodes.split()], 1)
    for text in tasks:
        task, _, node = text.partition("@")
        wanted = spec(task.partition(".")[0], ports=ports or {})
        world.apply([PutTask(task_row(task, wanted, node=node))], 2)
    return world


def placed(
    world: ClusterState,
    wanted: ServiceSpec | None = None,
    *,
    connected: Collection[str] | None = None,
    down: Collection[str] = (),
) -> str:
    found = place(
        world,
        wanted or spec(),
        connected=world.nodes.keys() if connected is None else connected,
        is_down=lambda name: name in down,
    )
    return str(found) if isinstance(found, Refusal) else f"on {found}"


def test_placement_takes_the_node_with_the_fewest_tasks_of_the_service() -> None:
    world = world_of("web.1#1@n1", "db.1#1@n2", "db.2#1@n2", "web.2#1@n3")
    assert placed(world) == "on n2"


def test_placement_then_takes_the_node_with_the_fewest_tasks() -> None:
    world = world_of("db.1#1@n1", "db.2#1@n3", "db.3#1@n3")
    assert placed(world) == "on n2"
    assert placed(world, connected={"n1", "n3"}) == "on n1"


def test_placement_then_goes_by_name() -> None:
    assert placed(world_of(nodes="n2 n10 n1")) == "on n1"


def test_placement_takes_only_nodes_that_are_there() -> None:
    assert placed(world_of(), connected={"n3"}) == "on n3"
    assert placed(world_of(), connected={"nobody"}, down={"n2"}) == (
        "n1: unreachable; n2: down; n3: unreachable"
    )


def test_placement_refuses_a_node_whose_fixed_port_is_held() -> None:  # S23
    world = world_of("db.1#1@n1", ports={"sql": 5432})
    wanted = spec(ports={"any": 0, "http": 5432})
    assert placed(world, wanted) == "on n2"
    assert placed(world, wanted, connected={"n1"}, down={"n2", "n3"}) == (
        "n1: port http: 5432 is held by db.1#1; n2: down; n3: down"
    )


def test_placement_without_nodes_says_so() -> None:
    assert placed(world_of(nodes="")) == "no node has joined yet"


def test_placement_refusal_has_every_node_and_names_a_few() -> None:
    world = world_of(nodes=" ".join(f"n{number}" for number in range(10, 30)))
    refusal = place(world, spec(), connected=(), is_down=lambda name: True)
    assert isinstance(refusal, Refusal)
    assert len(refusal.reasons) == 20
    assert str(refusal) == "; ".join(f"n{n}: down" for n in range(10, 15)) + "; and 15 more"
    assert NODES_NAMED == 5


def test_placement_refusal_names_the_nodes_that_are_there_first() -> None:
    world = world_of("db.1#1@n9", nodes="n1 n2 n9", ports={"p": 80})
    said = placed(world, spec(ports={"p": 80}), connected={"n9"})
    assert said.startswith("n9: port p: 80 is held by db.1#1; n1: ")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 12))
def test_placement_spreads_as_evenly_as_can_be(there: list[int], count: int) -> None:
    """Placed one by one, the nodes differ by no more than they did."""
    world = world_of(nodes=" ".join(f"n{node}" for node in range(len(there))))
    slot = 0
    for node, tasks in enumerate(there):
        for _ in range(tasks):
            slot += 1
            world.apply([PutTask(task_row(f"web.{slot}#1", node=f"n{node}"))], 2)
    spread = SpreadRanking(world, spec(), connected=world.nodes.keys())
    for _ in range(count):
        counts = {name: world.count_on(name) for name in world.nodes}
        best = spread.best()
        assert best is not None
        assert counts[best] == min(counts.values())
        assert best == min(name for name in counts if counts[name] == counts[best])
        slot += 1
        world.apply([PutTask(task_row(f"web.{slot}#1", node=best))], 2)
