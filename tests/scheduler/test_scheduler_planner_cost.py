"""What a plan costs, counted in lines of the rules that are executed: it grows with changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from planning_kit import LEASE, START, node_row, service_row, spec, task_row

import warren
from warren.model.cluster import Change, PutNode, PutService, PutTask
from warren.model.task import Phase
from warren.scheduler.plan_lint import lint
from warren.scheduler.planner import plan
from warren.state.cluster_state import ClusterState, Touched

WARREN = Path(warren.__file__).parent
DECIDING = tuple(str(WARREN / name) for name in ("rules", "scheduler", "state"))


def lines_of(do: Callable[[], object]) -> int:
    """Lines of what decides that are executed; every turn of a loop counts."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_filename.startswith(DECIDING) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
    return count


def large(replicas: int) -> ClusterState:
    """A service whose tasks are all ready, on two nodes."""
    wanted = spec(replicas=replicas)
    changes: list[Change] = [PutNode(node_row("n1")), PutNode(node_row("n2"))]
    changes.append(PutService(service_row(wanted)))
    for slot in range(1, replicas + 1):
        row = task_row(f"web.{slot}#1", wanted, node=f"n{slot % 2 + 1}", ready=True)
        changes.append(PutTask(row))
    world = ClusterState()
    world.apply(changes, 1)
    return world


def cost(world: ClusterState, change: Change) -> tuple[int, int]:
    """Lines for one change to be applied, planned for, linted and its plan applied; and how many
    changes the plan has."""
    size = 0

    def step() -> None:
        nonlocal size
        touched = world.apply([change], world.generation + 1)
        made = plan(world, touched, now=START, connected={"n1", "n2"}, lease=LEASE)
        assert lint(world, made, connected={"n1", "n2"}) == []
        size = len(made.changes)
        world.apply(made.changes, world.generation + 1)

    return lines_of(step), size


def failure(world: ClusterState) -> Change:
    row = world.slot("web", 7)[0]
    status = msgspec.structs.replace(row.status, phase=Phase.FAILED, ready=False)
    return PutTask(msgspec.structs.replace(row, status=status))


def unready(world: ClusterState) -> Change:
    row = world.slot("web", 7)[0]
    status = msgspec.structs.replace(row.status, ready=False)
    return PutTask(msgspec.structs.replace(row, status=status))


def one_more(world: ClusterState) -> Change:
    row = world.services["web"]
    new = msgspec.structs.replace(row.spec, replicas=row.spec.replicas + 1)
    return PutService(msgspec.structs.replace(row, spec=new, version=2))


@pytest.mark.parametrize(("change", "size"), [(failure, 3), (unready, 0), (one_more, 2)])
def test_planner_cost_of_a_change_is_the_same_in_any_service(
    change: Callable[[ClusterState], Change], size: int
) -> None:
    costs = set[tuple[int, int]]()
    for replicas in (16, 1600):
        world = large(replicas)
        costs.add(cost(world, change(world)))
    assert len(costs) == 1
    assert costs.pop()[1] == size


def test_planner_cost_of_a_slot_in_a_change_of_spec_is_the_same_in_any_service() -> None:
    costs = set[tuple[int, int]]()
    for replicas in (16, 1600):
        world = large(replicas)
        row = world.services["web"]
        again = msgspec.structs.replace(row, version=2, revision=2, restarts_asked=1)
        cost(world, PutService(again))
        old, new = world.slot("web", 1)
        ended = msgspec.structs.replace(old.status, phase=Phase.STOPPED, ready=False)
        costs.add(cost(world, PutTask(msgspec.structs.replace(old, status=ended))))
        ready = msgspec.structs.replace(new.status, phase=Phase.RUNNING, ready=True)
        placed = msgspec.structs.replace(world.tasks[new.id], status=ready)
        costs.add(cost(world, PutTask(placed)))
    assert len(costs) == 2


def test_planner_cost_of_a_piece_is_the_same_in_any_service() -> None:
    costs = set[int]()
    for replicas in (16, 1600):
        world = ClusterState()
        created = [PutNode(node_row("n1")), PutService(service_row(spec(replicas=replicas)))]
        touched = world.apply(created, 1)

        def step(world: ClusterState = world, touched: Touched = touched) -> None:
            made = plan(world, touched, now=START, connected={"n1"}, lease=LEASE, most=4)
            touched |= world.apply(made.changes, world.generation + 1)

        for _ in range(replicas // 4 - 2):  # most of it is there
            step()
        costs.add(lines_of(step))
    assert max(costs) < 1.1 * min(costs)


def test_planner_cost_is_seen_where_it_grows() -> None:
    """The count can fail: a change of spec looks at every slot once."""
    costs = list[int]()
    for replicas in (16, 1600):
        world = large(replicas)
        row = world.services["web"]
        costs.append(cost(world, PutService(msgspec.structs.replace(row, revision=2)))[0])
    assert costs[1] > 50 * costs[0]
