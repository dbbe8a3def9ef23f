"""Where a task goes, and why not (S23, S26)."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_kit import node_row, spec, task_row

from warren.model.cluster import PutNode, PutTask
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.service import ServiceSpec
from warren.rules import requirements
from warren.scheduler import placement
from warren.scheduler.placement import (
    FILTERS,
    NODES_NAMED,
    PlacementRequest,
    Refusal,
    SpreadRanking,
    place,
    rank,
)
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


def request(
    world: ClusterState,
    wanted: ServiceSpec | None = None,
    *,
    connected: Collection[str] | None = None,
    down: Collection[str] = (),
) -> PlacementRequest:
    there = world.nodes.keys() if connected is None else connected
    return PlacementRequest(world, wanted or spec(), there, is_down=down.__contains__)


def placed(
    world: ClusterState,
    wanted: ServiceSpec | None = None,
    *,
    connected: Collection[str] | None = None,
    down: Collection[str] = (),
) -> str:
    found = place(request(world, wanted, connected=connected, down=down))
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


def test_placement_refuses_a_node_that_lacks_what_the_spec_needs(  # S26
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_up = requirements.Feature("limits", "user", lambda spec: spec.user)
    monkeypatch.setattr(requirements, "FEATURES", (made_up,))
    world = world_of("db.1#1@n2")
    able = NodeDescription(runtimes=(RuntimeInfo(name="process", features=("limits", "later")),))
    world.apply([PutNode(node_row("n2", description=able))], 3)
    wanted = spec(user="nobody")
    assert placed(world, wanted) == "on n2"
    assert placed(world) == "on n1"
    assert placed(world, wanted, connected={"n1", "n3"}) == (
        "n1: lacks limits; n3: lacks limits; n2: unreachable"
    )


def test_placement_without_nodes_says_so() -> None:
    assert placed(world_of(nodes="")) == "no node has joined yet"


def test_placement_refusal_has_every_node_and_names_a_few() -> None:
    world = world_of(nodes=" ".join(f"n{number}" for number in range(10, 30)))
    refusal = place(request(world, connected=(), down=world.nodes.keys()))
    assert isinstance(refusal, Refusal)
    assert len(refusal.reasons) == 20
    assert str(refusal) == "; ".join(f"n{n}: down" for n in range(10, 15)) + "; and 15 more"
    assert NODES_NAMED == 5


def test_placement_refusal_names_the_nodes_that_are_there_first() -> None:
    world = world_of("db.1#1@n9", nodes="n1 n2 n9", ports={"p": 80})
    said = placed(world, spec(ports={"p": 80}), connected={"n9"})
    assert said.startswith("n9: port p: 80 is held by db.1#1; n1: ")


def test_placement_filter_is_a_function_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:  # S26
    def refuse_even(request: PlacementRequest, node: str) -> str | None:
        return None if int(node[1:]) % 2 else f"{request.spec.name} wants an odd node"

    monkeypatch.setattr(placement, "FILTERS", (*FILTERS, refuse_even))
    world = world_of("web.1#1@n1", "db.1#1@n4", nodes="n1 n2 n3 n4", ports={"sql": 5432})
    assert placed(world) == "on n3"
    assert placed(world, connected={"n2", "n4"}, down={"n1"}) == (
        "n2: web wants an odd node; n4: web wants an odd node; n1: down; n3: unreachable"
    )
    assert placed(world, spec(ports={"p": 5432}), connected={"n4"}).startswith(
        "n4: port p: 5432 is held by db.1#1; "  # the first filter that refuses says why
    )


@given(
    st.lists(st.sampled_from("abcd"), max_size=8),
    st.sets(st.sampled_from("abcd")),
    st.booleans(),
)
def test_placement_takes_the_best_that_no_filter_refuses_or_explains_them_all(
    there: list[str], connected: set[str], wants_port: bool
) -> None:
    world = world_of(
        *(f"db.{slot}#1@{node}" for slot, node in enumerate(there, start=1)),
        nodes="a b c d",
        ports={"sql": 5432},
    )
    asked = request(world, spec(ports={"p": 5432} if wants_port else {}), connected=connected)
    said = {node: [one for one in (f(asked, node) for f in FILTERS) if one] for node in world.nodes}
    free = [node for node in world.nodes if not said[node]]
    found = place(asked)
    if free:
        assert found == min(free, key=lambda node: rank(asked, node))
    else:
        assert isinstance(found, Refusal)
        assert dict(found.reasons) == {node: reasons[0] for node, reasons in said.items()}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 12))
def test_placement_spreads_as_evenly_as_can_be(there: list[int], count: int) -> None:
    """Placed one by one, the nodes differ by no more than they did."""
    world = world_of(nodes=" ".join(f"n{node}" for node in range(len(there))))
    slot = 0
    for node, tasks in enumerate(there):
        for _ in range(tasks):
            slot += 1
            world.apply([PutTask(task_row(f"web.{slot}#1", node=f"n{node}"))], 2)
    spread = SpreadRanking(request(world))
    for _ in range(count):
        counts = {name: world.count_on(name) for name in world.nodes}
        best = spread.best()
        assert best is not None
        assert counts[best] == min(counts.values())
        assert best == min(name for name in counts if counts[name] == counts[best])
        slot += 1
        world.apply([PutTask(task_row(f"web.{slot}#1", node=best))], 2)
