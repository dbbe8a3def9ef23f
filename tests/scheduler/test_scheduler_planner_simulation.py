"""A cluster at random: users edit, nodes come and go, tasks fail, time passes, plans are lost.

After every step (`Planned.settle` and `commit`): the plan is fit, a function of the world, leaves
nothing to do, wakes later than now, and the indexes are what a fresh world's would be.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from planning_kit import LEASE, Planned, failure, snapshot_of, spec

from warren.model.byte_size import ByteSize
from warren.model.check import TcpCheck
from warren.model.cluster import Change, Desired, PutTask, TaskRow
from warren.model.identity import TaskId
from warren.model.node_description import UNDESCRIBED, NodeDescription, RuntimeInfo
from warren.model.probe import Probe
from warren.model.service import Condition, Resources, Restart
from warren.model.task import Instance, Phase, TaskStatus
from warren.rules.merge import merge
from warren.scheduler.planner import HISTORY
from warren.state.cluster_state import ClusterState, Touched
from warren.state.slot_index import is_as_wanted

NAMES = ("api", "db", "web")
NODES = ("n1", "n2", "n3")
STEPS = 250
ABLE = NodeDescription(runtimes=(RuntimeInfo(name="process", features=("memory-limit",)),))


class Node:
    """What runs on a node, whether the manager knows or not."""

    def __init__(self, *, knows_revisions: bool = True) -> None:
        self.tasks: dict[TaskId, TaskStatus] = {}
        self.knows_revisions = knows_revisions

    def sync(self, planned: Planned, name: str) -> None:
        """Take over what is assigned; end what is not."""
        wanted = set(planned.cluster.on_node(name))
        for task in wanted - self.tasks.keys():
            row = planned.cluster.tasks[task]
            self.tasks[task] = msgspec.structs.replace(
                row.status, phase=Phase.STARTING, revision=row.revision * self.knows_revisions
            )
        for task in wanted & self.tasks.keys():
            old, row = self.tasks[task], planned.cluster.tasks[task]
            if self.knows_revisions and old.revision != row.revision:
                self.change(task, ready=old.ready, revision=row.revision, is_proving=True)
        for task in self.tasks.keys() - wanted:
            del self.tasks[task]

    def change(self, task: TaskId, **fields: object) -> None:
        old = self.tasks[task]
        if not old.phase.is_end:
            given = {"ready": False, "sequence": old.sequence + 1} | fields
            self.tasks[task] = msgspec.structs.replace(old, **given)


class Simulation:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.planned = Planned()
        self.nodes = {name: Node(knows_revisions=name != "n3") for name in NODES}

    def step(self) -> None:
        doings: list[tuple[int, Callable[[], None]]] = [
            (3, self.edit),
            (2, self.move_node),
            (3, self.wait),
            (20, self.run_tasks),
            (1, self.restart_manager),
        ]
        weights = [weight for weight, _ in doings]
        self.chance.choices([do for _, do in doings], weights)[0]()
        if self.chance.random() < 0.8:  # else more is planned for at once
            self.settle()

    def settle(self) -> None:
        self.planned.settle()
        self.check()

    def check(self) -> None:
        world = self.planned.cluster
        for name, service in world.services.items():
            running = [r for r in world.of_service(name) if r.desired is Desired.RUN]
            slots = [row.id.slot for row in running if not row.has_ended]
            assert len(slots) == len(set(slots)), "two tasks are to run in one slot"
            wanted = 0 if service.is_removing else service.spec.replicas
            assert len(world.slots(name).held) == wanted
            for slot in world.slots(name).numbers():
                ended = [row for row in world.slot(name, slot)[:-1] if row.has_ended]
                assert len(ended) <= HISTORY or service.is_removing
        for row in world.tasks.values():
            assert row.node or row.has_ended or row.status.pending_reason, "S26"

    # Users

    def edit(self) -> None:
        name = self.chance.choice(NAMES)
        row = self.planned.cluster.services.get(name)
        if row is None:
            self.planned.create(
                spec(
                    name,
                    self.chance.randrange(5),
                    ports={"http": self.chance.choice([0, 0, 8080])},
                    restart=Restart(condition=self.chance.choice(list(Condition))),
                )
            )
        elif not row.is_removing:
            self.edit_existing(name)

    def edit_existing(self, name: str) -> None:
        match self.chance.randrange(12):
            case 11:
                memory = self.chance.choice([None, ByteSize(1 << 30)])
                self.planned.update(name, resources=Resources(memory=memory))
            case 9 | 10:
                probe = Probe(tcp=TcpCheck(80), retries=self.chance.randrange(1, 4))
                self.planned.update(name, health=probe)
            case 0:
                self.planned.remove(name)
            case 1:
                self.planned.update(name)
            case 2 | 8:  # to a spec that was there before, often
                self.planned.update(name, env={"V": self.chance.choice("ab")})
            case 3:
                self.planned.update(name, ports={"http": self.chance.choice([0, 8080, 9090])})
            case 4:
                self.planned.restart(name)
            case _:
                self.planned.scale(name, self.chance.randrange(6))

    # Nodes

    def move_node(self) -> None:
        name = self.chance.choice(NODES)
        if name not in self.planned.connected:
            self.join(name)
        elif self.chance.random() < 0.7:
            self.planned.lose(name)

    def join(self, name: str) -> None:
        """Its supervisor may be of another version than before."""
        self.planned.join(name, description=self.chance.choice([UNDESCRIBED, ABLE]))

    def wait(self) -> None:
        wake_at = self.planned.last.wake_at
        if wake_at is not None and self.chance.random() < 0.5:
            self.planned.now = max(self.planned.now, wake_at)
        else:
            self.planned.now += self.chance.choice([0.1, 1, 10, LEASE, 400])

    def restart_manager(self) -> None:
        planned = self.planned
        planned.cluster = ClusterState.of(snapshot_of(planned.cluster))
        planned.touched = Touched.everything(planned.cluster)

    def run_tasks(self) -> None:
        for node in self.nodes.values():
            for task in sorted(node.tasks):
                if self.chance.random() < 0.4:
                    self.run_task(node, task)
        self.report()

    def run_task(self, node: Node, task: TaskId) -> None:
        row = self.planned.cluster.tasks.get(task)
        if row is not None and row.desired is Desired.STOP:
            node.change(task, phase=self.chance.choice([Phase.STOPPING, Phase.STOPPED]))
            return
        match self.chance.randrange(10):
            case 0:
                before = self.chance.choice([0, node.tasks[task].failed_before])
                how = self.chance.choice([Phase.FAILED, Phase.CRASHED])
                node.change(task, phase=how, last_end=failure(), failed_before=before)
            case 1:
                ends = [Phase.COMPLETE, Phase.STOPPED, Phase.RUNNING, Phase.RUNNING]
                node.change(task, phase=self.chance.choice(ends))
            case _:
                instance = Instance(id=str(task), task=task, started_at=1.0)
                proving = node.tasks[task].is_proving and self.chance.random() < 0.5
                ready = self.chance.random() < 0.8
                node.change(
                    task, phase=Phase.RUNNING, ready=ready, is_proving=proving, instance=instance
                )

    def report(self) -> None:
        """What connected nodes have to say, some of it twice."""
        changes = dict[TaskId, Change]()
        for name in sorted(self.planned.connected):
            self.nodes[name].sync(self.planned, name)
            for task, status in self.nodes[name].tasks.items():
                merged = merge(self.planned.cluster.tasks[task], status, epoch=1)
                if merged is not None:
                    changes[task] = PutTask(merged)
        if changes:
            self.planned.commit(changes.values())

    # Peace

    def calm_down(self) -> None:
        """All nodes are there, nothing fails any more, and time passes."""
        for name in NODES:
            if name not in self.planned.connected:
                self.join(name)
        for _ in range(100):
            generation = self.planned.cluster.generation
            for node in self.nodes.values():
                for task in sorted(node.tasks):
                    self.go_well(node, task)
            self.report()
            self.settle()
            wake_at = self.planned.last.wake_at
            if wake_at is not None:
                self.planned.now = wake_at
            elif self.planned.cluster.generation == generation:
                return
        raise AssertionError("it does not converge")

    def go_well(self, node: Node, task: TaskId) -> None:
        row = self.planned.cluster.tasks.get(task)
        if row is not None and row.desired is Desired.STOP:
            node.change(task, phase=Phase.STOPPED)
        elif not node.tasks[task].ready or node.tasks[task].is_proving:
            node.change(task, phase=Phase.RUNNING, ready=True, is_proving=False)


def is_content(row: TaskRow) -> bool:
    """Ready, ended for good, or with a good reason not to be there."""
    if row.has_ended:
        never = row.spec.restart.condition is Condition.NEVER
        return row.phase is Phase.COMPLETE or (row.phase is not Phase.STOPPED and never)
    why = row.status.pending_reason or ""
    return row.status.ready or "is held by" in why or "lacks memory-limit" in why


@pytest.mark.parametrize("seed", range(40))
def test_planner_keeps_its_promises_and_converges(seed: int) -> None:
    simulation = Simulation(seed)
    for _ in range(STEPS):
        simulation.step()
    simulation.settle()
    simulation.calm_down()
    world = simulation.planned.cluster
    for name, service in world.services.items():
        assert not service.is_removing
        current = world.current(name)
        assert len(current) == service.spec.replicas
        assert all(is_content(row) for row in current), current
    for row in world.tasks.values():
        if not is_as_wanted(row, world.services[row.id.service]) and not row.has_ended:
            assert world.slots(row.id.service).stuck, "only for want of a place"


def test_planner_simulation_is_not_idle() -> None:
    """What the seeds go through, so that they prove something."""
    told, phases, lacks = set[str](), set[Phase](), 0
    for seed in range(5):
        simulation = Simulation(seed)
        for _ in range(STEPS):
            simulation.step()
            phases |= {row.phase for row in simulation.planned.cluster.tasks.values()}
        lacks += sum("lacks memory-limit" in e.message for e in simulation.planned.events)
        told |= {f"{e.kind.value} {e.reason}".strip() for e in simulation.planned.events}
    kinds = ["failed", "crashed", "stopped", "lost", "outdated"]
    assert told >= {
        "placed",
        "pending",
        "removed",
        "probes changed",
        *(f"replaced {kind}" for kind in kinds),
    }
    assert lacks
    assert phases == {*Phase} - {Phase.UNKNOWN}  # which no row ever has
