"""What no plan may do: for each, a plan that does it is seen, by its sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from planning_kit import START, node_row, service_row, spec, task_row, tid

from warren.model.check import TcpCheck
from warren.model.cluster import (
    AddEvent,
    Change,
    Desired,
    DropNode,
    DropService,
    DropTask,
    Entry,
    Plan,
    PutNode,
    PutService,
    PutTask,
    Snapshot,
    TaskRow,
)
from warren.model.event import EventKind
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.probe import Probe
from warren.model.service import Resources
from warren.model.task import Phase
from warren.scheduler.plan_lint import lint
from warren.state.cluster_state import ClusterState

WEB = spec(replicas=3, ports={"http": 8080, "any": 0})
PROBED = spec("probed", 1, health=Probe(tcp=TcpCheck(80)))
UNPROBED = spec("limited", 2, resources=Resources(pids=9))
LIMITED = msgspec.structs.replace(UNPROBED, health=Probe(tcp=TcpCheck(80)))
OLD = spec("again", 1, env={"V": "old"})


def world() -> ClusterState:
    return ClusterState.of(
        Snapshot(
            generation=5,
            services=(
                service_row(WEB, first_number=1),
                service_row(spec("gone", 1), is_removing=True),
                service_row(spec("again", 1), first_number=4),
                service_row(PROBED),
                service_row(LIMITED),
            ),
            tasks=(
                task_row("web.1#1", WEB, node="n1"),
                task_row("web.2#1", WEB, node="n2", phase=Phase.FAILED),
                task_row("again.1#1", OLD, node="n1", revision=0),
                task_row("probed.1#1", spec("probed", 1), node="n1", revision=0),
                task_row("probed.2#1", spec("probed", 1), revision=0, pending_reason="none"),
                task_row("web.3#1", WEB, phase=Phase.PENDING, pending_reason="none"),
                task_row("web.9#1", WEB, desired=Desired.STOP, phase=Phase.STOPPED),
                task_row("gone.1#1", node="n1", desired=Desired.STOP),
                task_row("lost.1#1", node="n9"),
                task_row("limited.1#1", LIMITED, phase=Phase.PENDING, pending_reason="none"),
                task_row("limited.2#1", UNPROBED, node="n2", revision=0),
            ),
            nodes=(node_row("n1"), node_row("n2"), node_row("n9")),
        )
    )


def put(text: str, **fields: Any) -> PutTask:
    """A task of the world with other fields, of its row or its status; or a new one."""
    row = world().tasks.get(tid(text)) or task_row(text, WEB, phase=Phase.ASSIGNED)
    inner = {key: fields.pop(key) for key in ("phase", "ready", "pending_reason") if key in fields}
    status = msgspec.structs.replace(row.status, **inner)
    return PutTask(msgspec.structs.replace(row, status=status, **fields))


def new(text: str, **fields: Any) -> PutTask:
    return put(text, **({"phase": Phase.PENDING, "pending_reason": "waits"} | fields))


def stop(text: str) -> PutTask:
    return put(text, desired=Desired.STOP)


def found(*changes: Change, based_on: int = 5) -> list[str]:
    made = Plan(based_on=based_on, changes=changes)
    return lint(world(), made, connected={"n1", "n2"})


def event(message: str) -> AddEvent:
    return AddEvent(Entry(at=START, kind=EventKind.PLACED, subject="web.1#1", message=message))


FIT: list[tuple[Change, ...]] = [
    (),
    (put("web.3#1", node="n2", phase=Phase.ASSIGNED, pending_reason=None),),
    (put("web.3#1", pending_reason="another"),),
    (stop("again.1#1"), new("again.1#4", spec=spec("again", 1))),
    (put("probed.1#1", spec=PROBED, revision=1),),
    (new("web.2#2"), DropTask(tid("web.2#1"))),
    (new("web.2#2", node="n2", phase=Phase.ASSIGNED, pending_reason=None),),
    (put("lost.1#1", phase=Phase.FAILED, desired=Desired.STOP),),
    (event("placed on n1"),),
]


@pytest.mark.parametrize("changes", FIT)
def test_lint_finds_nothing_in_a_plan_that_is_fit(changes: tuple[Change, ...]) -> None:
    assert found(*changes) == []


WRONG: dict[str, tuple[Change, ...]] = {
    "web.1#2 and web.1#3 are both to run in one slot": (
        stop("web.1#1"), new("web.1#2"), new("web.1#3"),
    ),
    "web.1#1 and web.1#2 are both to run in one slot": (new("web.1#2"),),
    "web.3#1 is changed twice": (put("web.3#1"), put("web.3#1")),
    "other.1#1 is of no service": (new("other.1#1", revision=1),),
    "again.1#3 uses a number below 4, the service's first": (
        new("again.1#3", spec=spec("again", 1)),
    ),
    "gone.1#2 is new, and its service is being removed": (new("gone.1#2", spec=spec("gone", 1)),),
    "web.2#2 is new, and not of its service's revision 1": (new("web.2#2", revision=2),),
    "web.2#2 is new, and not to run": (new("web.2#2", desired=Desired.STOP),),
    "web.1#2 replaces web.1#1, which is as it is wanted": (stop("web.1#1"), new("web.1#2")),
    "again.1#4 is new, and not of its service's revision 1": (
        stop("again.1#1"), new("again.1#4", spec=spec("again", 1), restarts_asked=1),
    ),
    "probed.2#1 gets another spec": (put("probed.2#1", spec=PROBED, revision=1),),
    "probed.1#1 gets another spec": (
        put("probed.1#1", spec=msgspec.structs.replace(PROBED, env={"A": "b"}), revision=1),
    ),
    "probed.1#1 becomes another task": (
        put("probed.1#1", spec=PROBED, revision=1, restarts_asked=1),
    ),
    "web.1#1 becomes another task": (put("web.1#1", revision=2),),
    "web.1#1 gets another spec": (put("web.1#1", spec=spec()),),
    "web.1#1 moves from n1 to n2": (put("web.1#1", node="n2"),),
    "web.2#1 comes back from its end": (put("web.2#1", phase=Phase.RUNNING),),
    "web.1#1 goes from RUNNING to ASSIGNED": (put("web.1#1", phase=Phase.ASSIGNED),),
    "web.2#1 goes from FAILED to STOPPED": (put("web.2#1", phase=Phase.STOPPED),),
    "web.9#1 was to stop and is to run again": (put("web.9#1", desired=Desired.RUN),),
    "web.1#1 is on n1, which alone says how it fares": (put("web.1#1", ready=True),),
    "web.1#1 is declared ended, and its node n1 is there": (put("web.1#1", phase=Phase.STOPPED),),
    "web.3#1 is placed on n7, which is no node": (put("web.3#1", node="n7"),),
    "web.3#1 is placed on n9, which is not there": (put("web.3#1", node="n9"),),
    "limited.1#1 is on n1, which lacks pids-limit": (put("limited.1#1", node="n1"),),
    "limited.2#1 is on n2, which lacks pids-limit": (
        put("limited.2#1", spec=LIMITED, revision=1),
    ),
    "web.3#1 is pending without a reason": (put("web.3#1", pending_reason=None),),
    "web.8#8 is dropped, and there is no such task": (DropTask(tid("web.8#8")),),
    "web.1#1 is dropped, and has not ended": (DropTask(tid("web.1#1")),),
    "web.2#1 is dropped, and its number could be used again": (DropTask(tid("web.2#1")),),
    "service gone is dropped, and gone.1#1 has not ended": (DropService("gone"),),
    "service again is dropped, and that was not asked for": (DropService("again"),),
    "service nobody is dropped, and that was not asked for": (DropService("nobody"),),
    "web.1#2 is placed before web.1#1 has ended": (
        stop("web.1#1"), new("web.1#2", node="n2"),
    ),
    "service web gets 4 slots, and 3 are wanted": (new("web.4#1"),),
    "web.3#1 and web.1#1 both get port 8080 of n1": (put("web.3#1", node="n1"),),
    "web.3#1 and web.2#2 both get port 8080 of n2": (
        new("web.2#2", node="n2"), put("web.3#1", node="n2"),
    ),
    "an event's message is not one line: 'a\\nb'": (event("a\nb"),),
    "an event's message is not one line: ''": (event(""),),
    "PutService is not a plan's business": (PutService(service_row(WEB)),),
    "PutNode is not a plan's business": (PutNode(node_row("n1")),),
    "DropNode is not a plan's business": (DropNode("n1"),),
}  # fmt: skip


@pytest.mark.parametrize(("said", "changes"), list(WRONG.items()))
def test_lint_says_what_is_wrong(said: str, changes: tuple[Change, ...]) -> None:
    assert said in found(*changes)


def test_lint_refuses_a_plan_of_another_generation() -> None:
    assert found(based_on=4) == ["it is based on generation 4, and this is 5"]


def test_lint_refuses_a_number_that_does_not_grow() -> None:
    changed = world()
    changed.apply([PutTask(task_row("web.2#5", WEB, phase=Phase.FAILED))], 6)
    made = Plan(based_on=6, changes=(new("web.2#4"),))
    assert "web.2#4 is not the newest of its slot" in lint(changed, made, connected={"n1"})


def test_lint_refuses_to_drop_a_task_twice() -> None:
    twice = (new("web.2#2"), DropTask(tid("web.2#1")), DropTask(tid("web.2#1")))
    assert found(*twice) == ["web.2#1 is dropped, and there is no such task"]


def test_lint_lets_a_service_go_when_its_last_task_is_declared_ended() -> None:
    ended = put("gone.1#1", phase=Phase.STOPPED)
    made = Plan(based_on=5, changes=(ended, DropService("gone")))
    assert lint(world(), made, connected=()) == []


def test_lint_lets_a_service_that_has_too_many_slots_shrink_step_by_step() -> None:
    changed = world()
    smaller = msgspec.structs.replace(WEB, replicas=1)
    changed.apply([PutService(service_row(smaller, version=2))], 6)
    assert lint(changed, Plan(based_on=6, changes=(stop("web.1#1"),)), connected=()) == []


def test_lint_lets_a_port_go_with_a_task_that_is_declared_ended() -> None:
    changed = world()
    moving: list[TaskRow] = [
        msgspec.structs.replace(put("web.1#1", phase=Phase.STOPPED).row, desired=Desired.STOP),
        put("web.3#1", node="n1", phase=Phase.ASSIGNED, pending_reason=None).row,
    ]
    made = Plan(based_on=5, changes=tuple(PutTask(row) for row in moving))
    said = lint(changed, made, connected={"n1"})
    assert said == ["web.1#1 is declared ended, and its node n1 is there"]


def test_lint_knows_that_containers_have_addresses_of_their_own() -> None:
    contained = msgspec.structs.replace(WEB, image="web")
    able = NodeDescription(runtimes=(RuntimeInfo(name="jar", features=("images",)),))
    row = task_row("web.3#1", contained, phase=Phase.PENDING, pending_reason="none")
    changed = world()
    changed.apply([PutTask(row), PutNode(node_row("n1", description=able))], 6)
    assigned = msgspec.structs.replace(row.status, phase=Phase.ASSIGNED, pending_reason=None)
    placed = msgspec.structs.replace(row, node="n1", status=assigned)
    assert lint(changed, Plan(based_on=6, changes=(PutTask(placed),)), connected={"n1"}) == []
    shared = msgspec.structs.replace(contained, network="host")
    changed = world()
    named = RuntimeInfo(name="jar", features=("images", "host-network"))
    able = NodeDescription(runtimes=(named,))
    hosted = msgspec.structs.replace(row, spec=shared)
    changed.apply([PutTask(hosted), PutNode(node_row("n1", description=able))], 6)
    placed = msgspec.structs.replace(hosted, node="n1", status=assigned)
    assert lint(changed, Plan(based_on=6, changes=(PutTask(placed),)), connected={"n1"}) == [
        "web.3#1 and web.1#1 both get port 8080 of n1"
    ]
