"""Seeded simulations of the whole cluster: whatever happens in whatever order, what was promised
holds, and when the faults are over everything comes to rest as it is wanted (S19-S22)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio
from sim_world import Faults, Sim, open_sim, spec
from trio.testing import MockClock

from warren.manager import message_room
from warren.manager.message_room import ROOM
from warren.model.cluster import Change
from warren.model.errors import ConflictError, NotFoundError
from warren.model.service import ServiceSpec
from warren.state.cluster_state import ClusterState

NAMES = ["a", "b", "c", "d"]
STEPS = 60
REST = 400.0  # virtual seconds without a change: backoffs are up to 330
LONGEST = 10_000.0
NARROW = 600  # bytes of assignments in a message: one task or two


class Story:
    """What was asked and acknowledged in one run."""

    def __init__(self, sim: Sim) -> None:
        self.sim = sim
        self.wanted: dict[str, ServiceSpec] = {}
        self.told: list[str] = []

    async def act(self) -> None:
        """Something happens."""
        acts: list[Callable[[], Awaitable[object]]] = [
            self.edit, self.edit, self.edit, self.scale, self.restart, self.remove,
            self.cut, self.kill_node, self.kill_manager, self.faults, self.pass_time,
            self.pass_time, self.pass_time,
        ]  # fmt: skip
        chosen = self.sim.chance.choice(acts)
        self.told.append(f"{trio.current_time():.2f} {chosen.__name__}")
        await chosen()

    async def edit(self) -> None:
        """Create or update a service."""
        chance = self.sim.chance
        name = chance.choice(NAMES)
        fields: dict[str, object] = {
            "replicas": chance.randrange(4),
            "env": {"V": str(chance.randrange(3))},
            "restart": {"max_attempts": chance.choice([1, 5]), "window": "1m"},
            "stop": {"grace": "2s"},
        }
        if chance.random() < 0.6:
            retries = chance.choice([2, 3])  # so that some edits change nothing but that
            fields["health"] = {"tcp": {"port": 80}, "interval": "1s", "retries": retries}
        wanted = spec(name, **fields)
        try:
            if name in self.wanted:
                await self.sim.operator.update(wanted)
            else:
                await self.sim.operator.create(wanted)
        except ConflictError:  # it is being removed
            return
        self.wanted[name] = wanted

    async def scale(self) -> None:
        """Another number of replicas."""
        if self.wanted:
            name = self.sim.chance.choice(sorted(self.wanted))
            view = await self.sim.operator.scale(name, self.sim.chance.randrange(5))
            self.wanted[name] = view.spec

    async def restart(self) -> None:
        """Every task anew."""
        if self.wanted:
            await self.sim.operator.restart(self.sim.chance.choice(sorted(self.wanted)))

    async def remove(self) -> None:
        """A service goes."""
        if self.wanted:
            name = self.sim.chance.choice(sorted(self.wanted))
            await self.sim.operator.remove(name)
            del self.wanted[name]

    async def cut(self) -> None:
        """A node's links are cut."""
        self.sim.chance.choice(self.sim.machines).cut()

    async def kill_node(self) -> None:
        """A supervisor dies, and comes back after a while."""
        machine = self.sim.chance.choice(self.sim.machines)
        await machine.kill()
        await trio.sleep(self.sim.chance.choice([0.0, 1.0, 30.0]))
        if machine.down.is_set():
            self.sim.start_node(machine)

    async def kill_manager(self) -> None:
        """The manager dies, and comes back after a while; what it knows is what it has written."""
        await self.sim.kill_manager()
        await trio.sleep(self.sim.chance.choice([0.0, 1.0, 60.0]))
        await self.sim.start_manager()

    async def faults(self) -> None:
        """Faults come and go."""
        chance = self.sim.chance
        self.sim.faults = Faults(
            delay=chance.choice([0.0, 0.1, 1.0]),
            cuts=chance.choice([0.0, 0.02, 0.1]),
            sick=chance.choice([0.0, 0.1, 0.7]),
            crash=chance.choice([0.0, 0.3, 0.9]),
        )

    async def pass_time(self) -> None:
        """Nothing happens for a while."""
        await trio.sleep(self.sim.chance.choice([0.01, 1.0, 10.0, 100.0]))


def invariants(story: Story) -> list[str]:
    """What is broken now, as sentences."""
    found = list[str]()
    for machine in story.sim.machines:
        slots = Counter((task.service, task.slot) for task in machine.alive())
        twice = [slot for slot, count in slots.items() if count > 1]
        found += [f"{machine.name} runs {slot} twice: {machine.alive()}" for slot in twice]
    manager = story.sim.manager
    if manager is not None:
        world = manager.commit_log.cluster
        rebuilt = ClusterState.of(story.sim.store.load())
        if (dict(world.services), dict(world.tasks), dict(world.nodes)) != (
            dict(rebuilt.services), dict(rebuilt.tasks), dict(rebuilt.nodes)
        ):  # fmt: skip
            found.append("the world is not what is on disk")
        for name, wanted in story.wanted.items():
            row = world.services.get(name)
            if row is None or row.spec != wanted or row.is_removing:
                found.append(f"{name} was acknowledged and is lost: {row}")
        if manager.reconciler.trouble is not None:
            found.append(f"the reconciler is in trouble: {manager.reconciler.trouble}")
    return found


def unrest(story: Story) -> list[str]:
    """What is not yet as it is wanted."""
    found = list[str]()
    assert story.sim.manager is not None
    world = story.sim.manager.commit_log.cluster
    alive = sorted(task for machine in story.sim.machines for task in machine.alive())
    current = sorted(
        row.id for name in world.services for row in world.current(name) if not row.has_ended
    )
    if alive != current:
        found.append(f"alive {alive}, wanted {current}")
    if set(world.services) != set(story.wanted):
        found.append(f"services {sorted(world.services)}, wanted {sorted(story.wanted)}")
    for name, wanted in story.wanted.items():
        ready = sum(row.status.ready for row in world.current(name))
        if ready != wanted.replicas:
            found.append(f"{name}: {ready} of {wanted.replicas} are ready")
    for machine in story.sim.machines:
        if machine.node is None:
            found.append(f"{machine.name} is down")
            continue
        held = {status.id: status for status in machine.node.agent.statuses()}
        placed = set(world.on_node(machine.name))
        if set(held) != placed:
            found.append(f"{machine.name} holds {sorted(held)}, placed are {sorted(placed)}")
        for task in set(held) & placed:
            known = world.tasks[task].status
            if (known.restarts, known.ready) != (held[task].restarts, held[task].ready):
                found.append(f"{task}: the manager knows {known}, the node {held[task]}")
    return found


@pytest.mark.parametrize(
    ("seed", "room"), [*((s, ROOM) for s in range(25)), *((s, NARROW) for s in range(6))]
)
async def test_cluster_keeps_its_promises_and_comes_to_rest(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int, room: int
) -> None:
    monkeypatch.setattr(message_room, "ROOM", room)
    async with open_sim(seed, nodes=1 + seed % 3) as sim:
        story = Story(sim)
        for _ in range(STEPS):
            await story.act()
            broken = invariants(story)
            assert not broken, [*broken, *story.told]
        sim.faults = Faults()
        written = list[Change]()
        assert sim.manager is not None
        sim.manager.commit_log.on_commit.append(lambda changes, _: written.extend(changes))
        with trio.move_on_after(LONGEST):
            while unrest(story) or written:
                written.clear()
                await trio.sleep(REST)
        assert not unrest(story), [*unrest(story), *story.told]
        assert written == [], story.told  # at rest nothing is written
        assert not invariants(story)


async def test_cluster_refuses_what_is_not_there(autojump_clock: MockClock) -> None:
    async with open_sim(0) as sim:
        with pytest.raises(NotFoundError, match="no such service: web"):
            await sim.operator.remove("web")
