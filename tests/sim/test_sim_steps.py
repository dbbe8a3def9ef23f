"""The manager dies at every step between receive, commit, acknowledge, plan and push (S22).

A manager's steps are its commits: it dies right before the n-th, or right after, when nobody has
been told yet. An edit is received before its commit and acknowledged after it; a plan is made
before its commit and pushed after it. So every gap between two of its steps is one of these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
import trio
from sim_world import KilledError, Sim, open_sim, spec
from test_sim_cluster import Story, invariants, unrest
from trio.testing import MockClock

from warren.model.cluster import Change, TaskRow
from warren.model.event import EventKind
from warren.model.service import ServiceSpec
from warren.store.state import StateStore

LIVES = 80  # commits: more than the story has


class MortalStore(StateStore):
    """A store whose manager dies at one of its commits. Nothing is written after a death."""

    dies_at = 0  # which commit, from 1; 0 for none
    dies_after = False
    count = 0
    is_dead = False

    def commit(self, changes: Sequence[Change], *, based_on: int | None = None, now: float) -> int:
        if self.is_dead:
            raise KilledError
        if not changes:
            return super().commit(changes, based_on=based_on, now=now)
        self.count += 1
        if self.count == self.dies_at and not self.dies_after:
            self._die()
        generation = super().commit(changes, based_on=based_on, now=now)
        if self.count == self.dies_at:
            self._die()
        return generation

    def _die(self) -> None:
        self.is_dead = True
        raise KilledError


@dataclass
class Edit:
    """An edit, and the service's spec and version as they shall be; None where it is gone."""

    name: str
    ask: Callable[[Sim], Awaitable[object]]
    after: tuple[ServiceSpec, int] | None


WEB = spec("web", replicas=2, health={"tcp": {"port": 80}, "interval": "1s"})
NEW = msgspec.structs.replace(WEB, env={"V": "2"})
MORE = msgspec.structs.replace(NEW, replicas=3)
JOB = spec("job", replicas=1)
EDITS = [
    Edit("web", lambda sim: sim.operator.create(WEB), (WEB, 1)),
    Edit("job", lambda sim: sim.operator.create(JOB), (JOB, 1)),
    Edit("web", lambda sim: sim.operator.update(NEW), (NEW, 2)),
    Edit("web", lambda sim: sim.operator.scale("web", 3), (MORE, 3)),
    Edit("job", lambda sim: sim.operator.remove("job"), None),
    Edit("web", lambda sim: sim.operator.restart("web"), (MORE, 4)),
]


@dataclass
class Life:
    """A cluster whose manager dies once. `known` is what was acknowledged, by name."""

    sim: Sim
    store: MortalStore
    known: dict[str, tuple[ServiceSpec, int]] = field(
        default_factory=dict[str, tuple[ServiceSpec, int]]
    )

    async def make(self, edit: Edit) -> None:
        """Ask until it is acknowledged. What was not is whole or absent."""
        before = self.known.get(edit.name)
        while True:
            await self.revive()
            found = self.stored(edit.name)
            assert found in (before, edit.after), f"{edit.name} is {found}"
            if found == edit.after:
                break
            try:
                await edit.ask(self.sim)
            except KilledError:
                continue
            await self.revive()  # it may have died while it answered: its word is given
            assert self.stored(edit.name) == edit.after
            break
        self.known.pop(edit.name, None)
        if edit.after is not None:
            self.known[edit.name] = edit.after

    async def revive(self) -> None:
        """A new manager on the same store, where the old one has died."""
        if self.store.is_dead:
            await self.sim.kill_manager()
            self.store.is_dead = False
            self.store.dies_at = 0
            await self.sim.start_manager()

    def stored(self, name: str) -> tuple[ServiceSpec, int] | None:
        assert self.sim.manager is not None
        row = self.sim.manager.commit_log.cluster.services.get(name)
        return None if row is None or row.is_removing else (row.spec, row.version)

    async def pass_time(self) -> None:
        """Let the cluster work, and a manager that died meanwhile come back."""
        for _ in range(40):
            await trio.sleep(0.25)
            await self.revive()


async def story(store: MortalStore) -> Life:
    """The whole story, to its rest."""
    async with open_sim(1, nodes=2, store=store) as sim:
        life = Life(sim, store)
        for edit in EDITS:
            await life.make(edit)
            await life.pass_time()
            assert all(life.stored(name) == known for name, known in life.known.items())
            if edit.after == (NEW, 2):
                await crash_one(sim)
                await life.pass_time()
                restarts = [row.status.restarts for row in rows(sim)]
                assert sorted(restarts) == [0, 1]  # counted once
        told = Story(sim)
        told.wanted = {name: known for name, (known, _) in life.known.items()}
        with trio.move_on_after(1000):
            while unrest(told):  # noqa: ASYNC110 - virtual time
                await trio.sleep(10)
        assert not unrest(told)
        assert not invariants(told)
        events = store.events(limit=10_000)
        assert [e.kind for e in events if e.service == "web"].count(EventKind.RESTARTING) == 1
        assert len({(e.subject, e.at, e.kind, e.message) for e in events}) == len(events)
        return life


async def crash_one(sim: Sim) -> None:
    """An instance of web is killed."""
    machine = next(m for m in sim.machines if any(t.service == "web" for t in m.alive()))
    running = next(r for r in machine.runtime.alive.values() if r.instance.task.service == "web")
    await running.kill()


def rows(sim: Sim) -> list[TaskRow]:
    assert sim.manager is not None
    return list(sim.manager.commit_log.cluster.current("web"))


def mortal(dies_at: int, *, dies_after: bool = False) -> MortalStore:
    store = MortalStore.open(None)
    assert isinstance(store, MortalStore)  # made by `cls`
    store.dies_at, store.dies_after = dies_at, dies_after
    return store


@pytest.mark.parametrize("dies_after", [False, True], ids=["before", "after"])
async def test_manager_that_dies_at_any_step_keeps_its_word(
    autojump_clock: MockClock, dies_after: bool
) -> None:
    peaceful = mortal(0)
    await story(peaceful)
    assert 20 < peaceful.count < LIVES
    for step in range(1, peaceful.count + 1):
        store = mortal(step, dies_after=dies_after)
        try:
            await story(store)
        except BaseException as error:
            error.add_note(f"the manager had died at commit {step}, after it: {dies_after}")
            raise
        assert store.dies_at == 0, f"step {step} was not reached"
