"""The events of a whole cluster's run: each of a known kind, with the facts that docs/protocol.md
says it has (S24)."""

from __future__ import annotations

from sim_world import SICK_PORT, Sim, open_sim, spec
from test_sim_cluster import Story, unrest
from trio import move_on_after, sleep
from trio.testing import MockClock

from tests.event_facts import broken
from warren.model.cluster import Entry
from warren.model.event import EventFacts, EventKind
from warren.model.identity import TaskId
from warren.model.task import Phase, Reason

SELDOM = {
    EventKind.ENDED,  # nothing sends it yet
    EventKind.PROBE_WARNING,  # the checks of this run can always run
    EventKind.STOPPED,  # its nodes are killed
    EventKind.UNKNOWN,
}


def web(port: int, **more: object) -> dict[str, object]:
    probe = {"tcp": {"port": port}, "interval": "1s"}
    return {"liveness": probe, "readiness": probe, **more}


def told(sim: Sim, kind: EventKind) -> list[Entry]:
    return [entry for entry in sim.store.events(limit=100_000) if entry.kind is kind]


async def until_told(sim: Sim, kind: EventKind, count: int = 1) -> Entry:
    """The last of so many events of a kind."""
    with move_on_after(3000):
        while len(told(sim, kind)) < count:  # noqa: ASYNC110 - virtual time
            await sleep(1)
    assert len(told(sim, kind)) >= count, kind
    return told(sim, kind)[count - 1]


async def rest(sim: Sim) -> None:
    story = Story(sim)
    with move_on_after(1000):
        while unrest(story):  # noqa: ASYNC110 - virtual time
            await sleep(10)


async def test_every_event_of_a_run_keeps_what_the_docs_say_of_its_kind(
    autojump_clock: MockClock,
) -> None:
    async with open_sim(3, nodes=2) as sim:
        await sim.operator.create(spec("web", **web(80, replicas=2)))
        await until_told(sim, EventKind.READY, 2)
        await sim.operator.scale("web", 3)
        await until_told(sim, EventKind.READY, 3)
        await sim.operator.update(spec("web", **web(80, replicas=3, env={"LEVEL": "debug"})))
        await until_told(sim, EventKind.READY, 6)
        await sim.operator.restart("web")
        await until_told(sim, EventKind.READY, 9)

        running = next(iter(sim.machines[0].runtime.alive.values()))
        await running.kill()
        restarted = await until_told(sim, EventKind.RESTARTING)
        assert restarted.facts is not None
        assert (restarted.facts.reason, restarted.facts.restarts) == (Reason.SIGNALED, 1)
        assert restarted.facts.signal == "SIGKILL"
        assert restarted.facts.node == "n1"

        readiness = {"tcp": {"port": SICK_PORT}, "interval": "1s"}  # new probes alone
        await sim.operator.update(
            spec("web", **{**web(80, replicas=3, env={"LEVEL": "debug"}), "readiness": readiness})
        )
        await until_told(sim, EventKind.UNREADY)
        await sim.operator.update(spec("web", **web(SICK_PORT, replicas=3)))
        finished = await until_told(sim, EventKind.FINISHED, 10)
        assert finished.facts is not None
        assert finished.facts.phase in (Phase.FAILED, Phase.STOPPED)
        await sim.operator.create(spec("fixed", replicas=3, ports={"http": 8080}))
        await until_told(sim, EventKind.PENDING)

        await sim.machines[0].kill()
        sim.start_node(sim.machines[0])
        await until_told(sim, EventKind.ADOPTED)
        await sim.machines[1].kill()
        await until_told(sim, EventKind.REPLACED, 10)
        await sim.operator.remove_node("n2", force=True)
        await sim.operator.remove("web")
        await sim.operator.remove("fixed")
        await until_told(sim, EventKind.REMOVED, 3)
        await rest(sim)

        events = sim.store.events(limit=100_000)
        assert [said for entry in events for said in broken(entry)] == []
        assert {*EventKind} - {entry.kind for entry in events} == SELDOM
        assert all(one.facts and one.facts.pid for one in told(sim, EventKind.STARTED))
        (scaled,) = told(sim, EventKind.SCALED)
        assert scaled.facts == EventFacts(changed=("replicas",), replicas=3, replicas_before=2)
        replaced = told(sim, EventKind.REPLACED)[0].facts
        assert replaced == EventFacts(replaces=TaskId("web", 1, 1))
