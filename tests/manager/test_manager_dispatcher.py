"""The desk where nodes enrol, and what is seen of a node that does not answer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
import yaml
from trio.testing import MockClock

from tests.event_facts import broken
from warren.client.watch import Watch
from warren.manager import reconciler
from warren.manager import session as session_module
from warren.manager.program import Manager, open_manager
from warren.manager.session import Session
from warren.manifest.service_file import load_text
from warren.model.check import Sample
from warren.model.check_places import KINDS_KEPT, CheckPlaces
from warren.model.cluster import Change, PutTask
from warren.model.condition import (
    CONDITIONS_KEPT,
    LONGEST_KIND,
    LONGEST_MESSAGE,
    NodeCondition,
)
from warren.model.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    LinkLostError,
    NotFoundError,
    UnavailableError,
)
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.node_description import (
    RUNTIMES_KEPT,
    UNDESCRIBED,
    NodeDescription,
    RuntimeInfo,
)
from warren.model.principal import Principal, PrincipalKind
from warren.model.probe import ProbeKind
from warren.model.report import Assignments, NodeHello, Report, Told
from warren.model.task import Phase, TaskStatus
from warren.model.usage import TaskUsage, Usage
from warren.model.view import LogChunk, LogPiece, LogWanted, NodeState, WatchWanted
from warren.rules import requirements
from warren.state.cluster_state import Touched
from warren.store.state import StateStore

WEB = TaskId("web", 1, 1)
HERE = Principal(PrincipalKind.EMBEDDED)


@dataclass
class FakeConnection:
    """Plays `Connection`."""

    principal: Principal = HERE
    host: str = ""
    closed: trio.Event = field(default_factory=trio.Event)


@dataclass
class FakeAgent:
    """Plays `Agent`. `refusals` are raised by the next calls, one each; silent, it never says."""

    is_silent: bool = False
    refusals: list[Exception] = field(default_factory=list[Exception])
    assigned: list[Assignments] = field(default_factory=list[Assignments])
    ready: bool = True
    tells_of: tuple[TaskId, ...] = ()

    async def assign(self, assignments: Assignments) -> None:
        await self._answer()
        self.assigned.append(assignments)

    async def look(self, tasks: Sequence[TaskId]) -> list[TaskStatus]:
        await self._answer()
        seen = (*tasks, *self.tells_of)
        return [TaskStatus(id=t, phase=Phase.RUNNING, sequence=9, ready=self.ready) for t in seen]

    async def samples(self, task: TaskId) -> Mapping[ProbeKind, tuple[Sample, ...]]:
        await self._answer()
        raise NotFoundError(f"task {task} is not here")

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        raise AssertionError(f"{task}: `output` is what is asked, and not {cursor, tail, wait}")

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        await self._answer()
        chunk = LogChunk(data=b"hello\n", cursor="1")
        return [LogPiece(index=index, chunk=chunk) for index in range(len(wanted))]

    async def kept(self, service: str) -> list[int]:
        await self._answer()
        return [1, 7]

    async def usage(self, tasks: Sequence[TaskId]) -> list[TaskUsage]:
        await self._answer()
        return [TaskUsage(task=task, usage=Usage(processes=3)) for task in tasks]

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_silent:
            await trio.sleep_forever()
        if self.refusals:
            raise self.refusals.pop(0)


@asynccontextmanager
async def managed(store: StateStore | None = None) -> AsyncGenerator[Manager, None]:
    kept = store or StateStore.open(None)
    async with open_manager(kept, wall=lambda: 1_000_000.0) as manager:
        (spec,) = load_text(yaml.safe_dump({"services": {"web": {"command": ["x"]}}}))
        if "web" not in manager.commit_log.cluster.services:
            await manager.operator.create(spec)
        yield manager
    if store is None:
        kept.close()


async def enroll(
    manager: Manager, agent: FakeAgent, *, name: str = "n1", of: str = "a", epoch: int = 0
) -> tuple[Session, FakeConnection]:
    connection = FakeConnection()
    hello = NodeHello(name=name, id=of, epoch=epoch)
    session = await manager.gate(connection).enroll(hello, agent)
    await session.report_task_health(Report(is_whole=True))
    await trio.testing.wait_all_tasks_blocked()
    return session, connection


def kinds(manager: Manager) -> list[str]:
    return [entry.kind.value for entry in manager.commit_log.events(after=0, since=0, limit=1000)]


async def test_node_of_another_manager_is_refused_and_shown_while_it_comes_back(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        viewer = await manager.gate(FakeConnection()).view()
        stranger = NodeHello(name="n9", id="z", manager="another", warren="0.1")
        with pytest.raises(ConflictError, match=r"manager: 'another': .*--new-manager"):
            await manager.gate(FakeConnection()).enroll(stranger, FakeAgent())
        (view,) = await viewer.nodes()
        assert (view.name, view.state) == ("n9", NodeState.REFUSING)
        (trouble,) = (await viewer.status()).trouble
        assert (await viewer.status()).troubled_nodes == ("n9",)
        assert trouble.startswith("node n9 refuses this manager: it belongs to another; put that")
        assert "n9" not in manager.commit_log.cluster.nodes
        await trio.sleep(manager.dispatcher.lease + 1)
        assert await viewer.nodes() == []
        own = NodeHello(name="n9", id="z", manager=manager.commit_log.store.manager_id)
        session = await manager.gate(FakeConnection()).enroll(own, FakeAgent())
        assert session.manager == own.manager
        (view,) = await viewer.nodes()
        assert view.state is NodeState.READY


async def test_known_node_that_has_gone_to_another_manager_is_shown_as_refusing(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        _, connection = await enroll(manager, FakeAgent())
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        gone = NodeHello(name="n1", id="a", manager="another")
        with pytest.raises(ConflictError):
            await manager.gate(FakeConnection()).enroll(gone, FakeAgent())
        viewer = await manager.gate(FakeConnection()).view()
        (view,) = await viewer.nodes()
        assert (view.state, view.tasks) == (NodeState.REFUSING, 1)


ABLE = NodeDescription(
    runtimes=(RuntimeInfo(name="process", features=("b", "a", "later")),),
    labels={"zone": "a"},
    cpus=2.0,
    memory=1 << 30,
)


async def test_what_a_node_announces_is_kept_while_it_is_away_and_over_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    kept = msgspec.structs.replace(
        ABLE,
        runtimes=(RuntimeInfo(name="process", features=("a", "b", "later")),),
        address="10.0.0.7",
    )
    for is_new in (True, False):
        with closing(StateStore.open(tmp_path / "state")) as store:
            async with managed(store) as manager:
                if is_new:
                    hello = NodeHello(name="n1", id="a", description=ABLE)
                    connection = FakeConnection(host="10.0.0.7")
                    await manager.gate(connection).enroll(hello, FakeAgent())
                    # What waits for a node has its place then.
                    await trio.testing.wait_all_tasks_blocked()
                    before = manager.commit_log.cluster.generation
                    again = NodeHello(name="n1", id="a", epoch=1, description=ABLE)
                    await manager.gate(connection).enroll(again, FakeAgent())
                    assert manager.commit_log.cluster.generation == before  # nothing is new
                (view,) = await manager.operator.nodes()
                assert view.description == kept
                assert manager.commit_log.cluster.nodes["n1"].description == kept


async def test_node_says_itself_where_it_is_reached(autojump_clock: MockClock) -> None:
    async with managed() as manager:
        told = msgspec.structs.replace(ABLE, address="10.1.1.1")
        hello = NodeHello(name="n1", id="a", description=told)
        await manager.gate(FakeConnection(host="10.0.0.7")).enroll(hello, FakeAgent())
        (view,) = await manager.operator.nodes()
        assert view.description.address == "10.1.1.1"


async def test_node_that_announces_nothing_runs_processes_without_any_feature(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        await enroll(manager, FakeAgent())
        (view,) = await manager.operator.nodes()
        assert view.description == UNDESCRIBED
        assert [each.name for each in UNDESCRIBED.runtimes] == ["process"]


async def test_what_a_node_announces_is_bounded(autojump_clock: MockClock) -> None:
    async with managed() as manager:
        runtimes = tuple(RuntimeInfo(name=f"r{number}") for number in range(1000))
        hello = NodeHello(name="n1", id="a", description=NodeDescription(runtimes=runtimes))
        await manager.gate(FakeConnection()).enroll(hello, FakeAgent())
        (view,) = await manager.operator.nodes()
        assert len(view.description.runtimes) == RUNTIMES_KEPT


async def test_task_is_placed_when_a_node_comes_that_can_run_it(  # S26
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = requirements.Feature("limits", "command", lambda spec: spec.command)
    monkeypatch.setattr(requirements, "FEATURES", (made_up,))

    async def pending() -> str | None:
        await trio.sleep(1)
        (task,) = await manager.operator.tasks(service="web")
        return task.status.pending_reason

    async with managed() as manager:
        _, connection = await enroll(manager, FakeAgent())
        assert await pending() == "n1: lacks limits"
        connection.closed.set()
        assert await pending() == "n1: unreachable"
        able = RuntimeInfo(name="process", features=("limits",))
        hello = NodeHello(name="n1", id="a", description=NodeDescription(runtimes=(able,)))
        await manager.gate(FakeConnection()).enroll(hello, FakeAgent())
        assert await pending() is None


async def test_node_is_told_the_whole_and_then_what_changes(autojump_clock: MockClock) -> None:
    async with managed() as manager:
        agent = FakeAgent()
        await enroll(manager, agent)
        assert agent.assigned[0].base == 0
        assert [a.task for sent in agent.assigned for a in sent.tasks] == [WEB]
        await manager.operator.scale("web", 2)
        await trio.testing.wait_all_tasks_blocked()
        last = agent.assigned[-1]
        assert [str(a.task) for a in last.tasks] == ["web.2#1"]
        assert last.base == agent.assigned[-2].generation


async def test_node_that_has_not_the_base_is_told_the_whole_again(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent = FakeAgent()
        await enroll(manager, agent)
        agent.refusals = [ConflictError("base"), UnavailableError("full")]
        await manager.operator.scale("web", 2)
        await trio.sleep(10)
        assert agent.assigned[-1].base == 0
        assert [str(a.task) for a in agent.assigned[-1].tasks] == ["web.1#1", "web.2#1"]


async def test_thousands_of_tasks_are_planned_and_told_in_pieces(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent = FakeAgent()
        await enroll(manager, agent)
        largest = 0

        def note(changes: Sequence[Change], touched: Touched) -> None:
            nonlocal largest
            largest = max(largest, sum(isinstance(change, PutTask) for change in changes))

        manager.commit_log.on_commit.append(note)
        before = len(agent.assigned)
        await manager.operator.scale("web", 3000)
        await trio.sleep(1)
        told = agent.assigned[before:]
        assert sorted(a.task for sent in told for a in sent.tasks) == [
            TaskId("web", slot, 1) for slot in range(2, 3001)
        ]
        assert largest <= reconciler.AT_ONCE
        assert max(len(sent.tasks) for sent in told) <= session_module.AT_ONCE
        await manager.operator.remove("web")
        await trio.sleep(1)
        stopped = [a.task for sent in agent.assigned for a in sent.tasks if a.stop_reason]
        assert len(stopped) == 3000
        assert largest <= reconciler.AT_ONCE


class SlowAgent(FakeAgent):
    """Takes an assignment when it may."""

    may = trio.Event()

    async def assign(self, assignments: Assignments) -> None:
        """Take it in time."""
        await super().assign(assignments)
        await self.may.wait()


async def test_output_of_a_service_made_again_meanwhile_is_not_purged(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent = SlowAgent()
        agent.may.set()
        session, _ = await enroll(manager, agent)
        operator, spec = manager.operator, manager.commit_log.cluster.services["web"].spec
        await operator.remove("web")
        await trio.sleep(0.1)
        agent.may = trio.Event()
        await operator.create(msgspec.structs.replace(spec, name="other"))
        await trio.sleep(0.1)
        stopped = TaskStatus(id=WEB, phase=Phase.STOPPED, sequence=9)
        await session.report_task_health(Report(statuses=(stopped,)))
        await trio.sleep(0.1)
        await operator.create(spec)
        await operator.create(msgspec.structs.replace(spec, name="zzz", replicas=300))
        await trio.sleep(0.1)
        agent.may.set()
        await trio.sleep(1)
        assigned = [a.task for sent in agent.assigned for a in sent.tasks]
        assert TaskId("web", 1, 2) in assigned
        assert len(assigned) > 300
        assert [sent.purged for sent in agent.assigned if sent.purged] == []


async def test_node_that_takes_no_assignment_in_time_loses_its_session(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent = FakeAgent()
        session, _ = await enroll(manager, agent)
        agent.is_silent = True
        await manager.operator.scale("web", 2)
        with trio.fail_after(60):
            await session.ended.wait()


async def test_node_without_a_link_is_unreachable_and_after_its_lease_down(  # S20
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        session, connection = await enroll(manager, FakeAgent())
        (node,) = await manager.operator.nodes()
        assert (node.state, node.tasks) == (NodeState.READY, 1)
        connection.closed.set()
        await trio.sleep(1)
        (node,) = await manager.operator.nodes()
        assert node.state is NodeState.UNREACHABLE
        with pytest.raises(ConflictError, match="this session of node n1 is over; enrol again"):
            await session.renew()
        await trio.sleep(manager.dispatcher.lease)
        (node,) = await manager.operator.nodes()
        assert node.state is NodeState.DOWN
        assert (await manager.operator.status()).trouble == ("node n1 is down",)
        assert (await manager.operator.status()).troubled_nodes == ("n1",)
        assert [k for k in kinds(manager) if k in ("joined", "lost")] == ["joined", "lost"]
        (lost,) = [e for e in await manager.operator.events() if e.kind is EventKind.LOST]
        assert lost.message == "node n1 is unreachable: its link is lost"


async def test_watchers_of_nodes_are_told_when_a_lease_runs_out(  # S20
    autojump_clock: MockClock,
) -> None:
    store = StateStore.open(None)
    watch = Watch(WatchWanted(services=False, tasks=False, nodes=True))

    async def told(manager: Manager) -> list[NodeState]:
        await watch.next(manager.operator)
        return [node.state for node in watch.nodes]

    with trio.fail_after(1000):
        async with managed(store) as manager:
            await manager.operator.scale("web", 0)
            _, connection = await enroll(manager, FakeAgent())
            assert await told(manager) == [NodeState.READY]
            connection.closed.set()
            lost_at = trio.current_time()
            assert await told(manager) == [NodeState.UNREACHABLE]
            assert await told(manager) == [NodeState.DOWN]
            assert trio.current_time() == pytest.approx(lost_at + manager.dispatcher.lease)
            _, connection = await enroll(manager, FakeAgent())
            assert await told(manager) == [NodeState.READY]
            connection.closed.set()
            assert await told(manager) == [NodeState.UNREACHABLE]
        # Its lease runs out while there is no manager.
        async with open_manager(store, wall=lambda: 1_001_000.0) as manager:
            await trio.testing.wait_all_tasks_blocked()  # it has looked at what is down already
            assert await told(manager) == [NodeState.DOWN]
            with trio.move_on_after(100) as scope:  # and that once
                await watch.next(manager.operator)
            assert scope.cancelled_caught
    store.close()


async def test_node_that_has_left_is_stopped_and_not_unreachable_until_its_lease_is_over(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        session, connection = await enroll(manager, FakeAgent())
        await session.leave()
        connection.closed.set()
        await manager.operator.scale("web", 2)
        await trio.testing.wait_all_tasks_blocked()
        reasons = [task.status.pending_reason for task in await manager.operator.tasks()]
        assert reasons[-1] == "n1: stopped"
        (node,) = await manager.operator.nodes()
        assert (node.state, node.tasks) == (NodeState.STOPPED, 1)
        assert (await manager.operator.status()).trouble == ("node n1 is stopped",)
        with pytest.raises(ConflictError, match="this session of node n1 is over; enrol again"):
            await session.leave()
        await trio.sleep(manager.dispatcher.lease)
        (node,) = await manager.operator.nodes()
        assert node.state is NodeState.DOWN  # S20
        told = [
            (e.kind.value, e.message) for e in await manager.operator.events() if e.subject == "n1"
        ]
        assert told == [("joined", "node n1 has joined"), ("stopped", "node n1 has stopped")]
        assert [line for e in await manager.operator.events() for line in broken(e)] == []
        await enroll(manager, FakeAgent())
        (node,) = await manager.operator.nodes()
        assert node.state is NodeState.READY


async def test_node_that_is_silent_for_its_lease_loses_its_session(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        session, _ = await enroll(manager, FakeAgent())
        for _ in range(10):
            await trio.sleep(5)
            await session.renew()
        assert not session.ended.is_set()
        heard_at = trio.current_time()
        await session.ended.wait()
        assert trio.current_time() - heard_at == pytest.approx(manager.dispatcher.lease)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.9, 7.0])
async def test_lease_of_a_silent_node_runs_from_when_it_was_last_heard(  # S20
    autojump_clock: MockClock, after: float
) -> None:
    async with managed() as manager:
        session, _ = await enroll(manager, FakeAgent())
        await trio.sleep(after)
        await session.renew()
        await trio.sleep(manager.dispatcher.lease - 0.1)
        (node,) = await manager.operator.nodes()
        assert node.state is NodeState.READY
        await trio.sleep(0.2)
        (node,) = await manager.operator.nodes()
        assert node.state is NodeState.DOWN


@pytest.mark.parametrize("spoke", [False, True])
async def test_node_that_we_did_not_listen_to_is_not_silent(
    autojump_clock: MockClock, spoke: bool
) -> None:
    async with managed() as manager:
        session, _ = await enroll(manager, FakeAgent())
        await trio.sleep(1)
        autojump_clock.jump(100)  # as when this process was stopped meanwhile
        if spoke:
            await session.renew()
        await trio.sleep(manager.dispatcher.lease - 0.1)
        assert not session.ended.is_set()
        await trio.sleep(0.2)
        assert session.ended.is_set()


async def test_task_of_a_silent_node_is_shown_within_a_second(  # S24
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent = FakeAgent()
        await enroll(manager, agent)
        agent.is_silent = True
        before = trio.current_time()
        detail = await manager.operator.task(WEB)
        assert trio.current_time() - before == pytest.approx(1.0)
        assert (detail.task.is_stale, dict(detail.samples)) == (True, {})


async def test_connection_enrols_one_name(autojump_clock: MockClock) -> None:
    async with managed() as manager:
        gate = manager.gate(FakeConnection())
        await gate.enroll(NodeHello(name="n1", id="a"), FakeAgent())
        with pytest.raises(ConflictError, match="'n2': this connection is node n1's; want one for"):
            await gate.enroll(NodeHello(name="n2", id="a"), FakeAgent())
        await gate.enroll(NodeHello(name="n1", id="a"), FakeAgent())
        assert list(manager.dispatcher.connected()) == ["n1"]


async def test_epoch_that_no_manager_gave_is_refused_and_locks_no_name(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        for epoch in (2**63 - 1, 2**40):
            with pytest.raises(InvalidError, match=r"epoch: .*: want one that a manager gave"):
                await enroll(manager, FakeAgent(), epoch=epoch)
        before = FakeAgent()
        first, _ = await enroll(manager, before, epoch=7)  # our state is an older one
        before.is_silent = True
        again, _ = await enroll(manager, FakeAgent(), epoch=12)
        assert (first.epoch, again.epoch) == (7, 13)


async def test_node_that_tells_of_tasks_it_was_not_asked_of_is_not_heard(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        await enroll(manager, FakeAgent())
        await enroll(manager, FakeAgent(tells_of=(WEB,), ready=False), name="n2", of="b")
        await manager.operator.scale("web", 2)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(10):  # whichever of the two answers last
            one, two = await manager.operator.tasks()
            assert (one.node, two.node) == ("n1", "n2")
            assert (one.status.ready, two.status.ready) == (True, False)


async def test_conditions_of_a_node_are_kept_with_its_session_and_make_status_unwell(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        session, connection = await enroll(manager, FakeAgent())
        await session.renew([NodeCondition("disk", "it is full", 5.0)])
        (node,) = await manager.operator.nodes()
        assert node.conditions == (NodeCondition("disk", "it is full", 5.0),)
        manager.conditions.set("lag", "the loop is late")
        assert (await manager.operator.status()).trouble == (
            "manager: lag: the loop is late",
            "node n1: disk: it is full",
        )
        await session.renew()  # a node of an earlier version tells none
        manager.conditions.clear("lag")
        assert (await manager.operator.status()).trouble == ()
        await session.renew([NodeCondition("disk", "it is full", 5.0)])
        connection.closed.set()
        await trio.sleep(1)
        assert (await manager.operator.nodes())[0].conditions == ()


async def test_places_of_a_node_are_kept_with_its_session_and_bounded(
    autojump_clock: MockClock,
) -> None:  # S10
    async with managed() as manager:
        session, connection = await enroll(manager, FakeAgent())
        told = CheckPlaces(kind="exec", cap=4, in_flight=4, waiting=2, longest_wait=1.5)
        await session.renew((), [told])
        assert (await manager.operator.nodes())[0].places == (told,)
        await session.renew((), [CheckPlaces(kind=f"{n} " + "k" * 1000, cap=1) for n in range(99)])
        kept = (await manager.operator.nodes())[0].places
        assert len(kept) == KINDS_KEPT
        assert {len(one.kind) for one in kept} == {LONGEST_KIND}
        await session.renew()  # a node of an earlier version tells none
        assert (await manager.operator.nodes())[0].places == ()
        await session.renew((), [told])
        connection.closed.set()
        await trio.sleep(1)
        assert (await manager.operator.nodes())[0].places == ()


async def test_conditions_that_a_node_tells_are_bounded(autojump_clock: MockClock) -> None:
    async with managed() as manager:
        session, _ = await enroll(manager, FakeAgent())
        await session.renew([NodeCondition(f"{n} " + "k" * 1000, "m" * 10_000, 9e99)
                             for n in range(1000)])  # fmt: skip
        kept = (await manager.operator.nodes())[0].conditions
        assert len(kept) == CONDITIONS_KEPT
        assert {len(one.kind) for one in kept} == {LONGEST_KIND}
        assert {len(one.message) for one in kept} == {LONGEST_MESSAGE}
        assert all(one.since <= manager.commit_log.now() for one in kept)


async def test_node_that_enrols_anew_ends_its_old_session_and_keeps_its_life(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        first, _ = await enroll(manager, FakeAgent())
        agent = FakeAgent()
        again, connection = await enroll(manager, agent, epoch=first.epoch)
        assert first.ended.is_set()
        assert again.epoch == first.epoch
        agent.is_silent = True  # it was killed, and that has not been noticed yet
        new, _ = await enroll(manager, FakeAgent())
        assert new.epoch == first.epoch + 1
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        assert manager.dispatcher.session("n1") is new


async def test_second_life_of_a_node_is_refused_while_the_first_one_answers(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        original = FakeAgent()
        first, connection = await enroll(manager, original)
        for epoch in (0, first.epoch + 1):
            with pytest.raises(ConflictError, match=r"has a session, and answers; .*journal"):
                await enroll(manager, FakeAgent(), epoch=epoch)
        original.refusals.append(DeniedError("look: the manager may not"))  # an answer too
        with pytest.raises(ConflictError, match="has a session, and answers"):
            await enroll(manager, FakeAgent())
        assert manager.dispatcher.session("n1") is first
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        copy, _ = await enroll(manager, FakeAgent())
        assert manager.dispatcher.session("n1") is copy


async def test_node_of_a_name_that_another_has_is_refused(autojump_clock: MockClock) -> None:
    async with managed() as manager:
        await enroll(manager, FakeAgent())
        with pytest.raises(ConflictError, match="name: 'n1': another supervisor of this name"):
            await enroll(manager, FakeAgent(), of="b")
        with pytest.raises(InvalidError, match="name: 'N 1': want a name of a-z"):
            await enroll(manager, FakeAgent(), name="N 1")


async def test_node_that_has_tasks_is_refused_under_another_name(  # S20, S21
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        _, connection = await enroll(manager, FakeAgent(), name="old")
        connection.closed.set()
        await trio.sleep(manager.dispatcher.lease + 1)  # there is no other node to take its task
        with pytest.raises(ConflictError) as refused:
            await enroll(manager, FakeAgent(), name="new")
        said = str(refused.value)
        assert said.startswith(
            "name: 'new': this data directory belongs to node old, which has 1 task; want --name"
            " old, or `warren node rm old` first"
        )
        assert "new" not in manager.commit_log.cluster.nodes
        _, connection = await enroll(manager, FakeAgent(), name="old")
        connection.closed.set()
        await trio.sleep(manager.dispatcher.lease + 1)
        await manager.operator.remove_node("old")
        await enroll(manager, FakeAgent(), name="new")
        await trio.sleep(1)
        (task,) = await manager.operator.tasks()
        assert (task.node, str(task.id)) == ("new", "web.1#2")


async def test_node_without_tasks_goes_on_under_another_name_and_the_old_one_is_removed(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        await manager.operator.scale("web", 0)
        _, connection = await enroll(manager, FakeAgent(), name="old")
        await enroll(manager, FakeAgent(), name="other", of="b")
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        await enroll(manager, FakeAgent(), name="new")
        assert [node.name for node in await manager.operator.nodes()] == ["new", "other"]
        assert (await manager.operator.status()).trouble == ()
        (removed,) = [e for e in await manager.operator.events() if e.kind is EventKind.REMOVED]
        assert removed.message == "node old is removed: it goes on as new"


async def test_process_that_was_admitted_under_its_name_is_so_again(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        await manager.operator.scale("web", 0)
        session, connection = await enroll(manager, FakeAgent(), name="new")
        await enroll(manager, FakeAgent(), name="old")  # its machine was copied, id and all
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        await manager.operator.scale("web", 1)
        await trio.sleep(1)
        (task,) = await manager.operator.tasks()
        assert task.node == "old"
        again, connection = await enroll(manager, FakeAgent(), name="new", epoch=session.epoch)
        assert again.epoch == session.epoch
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConflictError, match=r"want journal\.sqlite removed from the copy"):
            await enroll(manager, FakeAgent(), name="new")


async def test_leases_run_anew_when_the_manager_starts(autojump_clock: MockClock) -> None:
    store = StateStore.open(None)
    async with managed(store) as manager:
        await enroll(manager, FakeAgent())
    async with managed(store) as manager:
        (node,) = await manager.operator.nodes()
        assert node.state is NodeState.UNREACHABLE
        assert node.lost_at is not None
    store.close()


async def test_view_shows_what_the_node_says_now_and_else_what_it_said_marked_stale(  # S24
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent = FakeAgent()
        session, connection = await enroll(manager, agent)
        running = TaskStatus(id=WEB, phase=Phase.RUNNING, sequence=3, restarts=2)
        await session.report_task_health(Report(statuses=(running,)))
        (task,) = (await manager.operator.service("web")).tasks
        assert (task.status.ready, task.is_stale) == (True, False)
        agent.is_silent = True
        before = trio.current_time()
        (task,) = (await manager.operator.service("web")).tasks
        assert trio.current_time() - before == pytest.approx(1.0)
        assert (task.status.ready, task.status.restarts, task.is_stale) == (False, 2, True)
        assert (await manager.operator.task(WEB)).samples == {}
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        (task,) = await manager.operator.tasks()
        assert task.is_stale


async def test_output_of_a_node_that_does_not_answer_is_unavailable(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NotFoundError, match=r"task web\.1#1 has no output: it is not placed"):
            await manager.operator.log(WEB)
        agent = FakeAgent()
        _, connection = await enroll(manager, agent)
        assert (await manager.operator.log(WEB)).data == b"hello\n"
        agent.refusals = [LinkLostError("gone")]
        with pytest.raises(UnavailableError, match="node n1, which has the output, does not"):
            await manager.operator.log(WEB)
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(UnavailableError, match="does not answer"):
            await manager.operator.log(WEB)


async def test_kept_output_is_that_of_every_node_and_who_may_have_more_is_named(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent = FakeAgent()
        _, connection = await enroll(manager, agent)
        await enroll(manager, FakeAgent(), name="n2", of="b")
        kept = await manager.operator.kept_logs("web")
        found = [(log.slot, log.node) for log in kept.logs]
        assert found == [(1, "n1"), (1, "n2"), (7, "n1"), (7, "n2")]
        assert kept.silent == ()
        agent.is_silent = True
        kept = await manager.operator.kept_logs("web")
        assert [(log.slot, log.node) for log in kept.logs] == [(1, "n2"), (7, "n2")]
        assert kept.silent == ("n1",)
        connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await manager.operator.kept_logs("web")).silent == ("n1",)
        with pytest.raises(NotFoundError):
            await manager.operator.kept_logs("none")


async def test_node_that_is_down_is_removed_and_its_tasks_go_elsewhere(
    autojump_clock: MockClock,
) -> None:  # S20
    async with managed() as manager:
        _, connection = await enroll(manager, FakeAgent())
        with pytest.raises(NotFoundError, match="no such node: n7"):
            await manager.operator.remove_node("n7")
        with pytest.raises(
            ConflictError, match=r"n1 is ready, its 1 task would be lost; .*--force"
        ):
            await manager.operator.remove_node("n1")
        connection.closed.set()
        await trio.sleep(1)
        with pytest.raises(ConflictError, match="n1 is unreachable"):
            await manager.operator.remove_node("n1")
        await trio.sleep(manager.dispatcher.lease)
        await manager.operator.remove_node("n1")
        assert await manager.operator.nodes() == []
        await trio.testing.wait_all_tasks_blocked()
        (waiting,) = manager.commit_log.cluster.current("web")
        assert (str(waiting.id), waiting.node) == ("web.1#2", None)
        assert waiting.status.pending_reason == "no node has joined yet"
        agent = FakeAgent()
        await enroll(manager, agent, name="n2", of="b")
        assert [str(a.task) for sent in agent.assigned for a in sent.tasks] == ["web.1#2"]
        assert kinds(manager).count("removed") == 1


async def test_node_that_is_removed_by_force_loses_its_session_and_enrols_as_a_new_one(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        session, _ = await enroll(manager, FakeAgent())
        await manager.operator.remove_node("n1", force=True)
        await trio.testing.wait_all_tasks_blocked()
        assert session.ended.is_set()
        assert manager.commit_log.cluster.nodes == {}
        agent = FakeAgent()
        await enroll(manager, agent, epoch=session.epoch)
        assert [str(a.task) for a in agent.assigned[0].tasks] == ["web.1#2"]
        assert kinds(manager).count("joined") == 2


@pytest.mark.parametrize("how", ["lost", "removed"])
async def test_nothing_is_kept_of_the_link_of_a_node_that_has_gone(
    autojump_clock: MockClock, how: str
) -> None:
    async with managed() as manager:
        session, connection = await enroll(manager, FakeAgent())
        gone = weakref.ref(connection)
        if how == "lost":
            connection.closed.set()
        else:
            await manager.operator.remove_node("n1", force=True)
        await trio.testing.wait_all_tasks_blocked()
        assert session.ended.is_set()
        del session, connection
        gc.collect()
        assert gone() is None


async def test_node_whose_clock_is_wrong_tells_the_managers_time_and_says_so(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        session, _ = await enroll(manager, FakeAgent())
        event = TaskEvent(at=1e308, task=WEB, kind=EventKind.STARTED, message="started")
        running = TaskStatus(id=WEB, phase=Phase.RUNNING, sequence=3)
        await session.report_task_health(Report(statuses=(running,), events=(Told(3, event),)))
        kept = manager.commit_log.events(after=0, since=0, limit=99)
        (told,) = (entry for entry in kept if entry.kind is EventKind.STARTED)
        assert told.at == pytest.approx(manager.commit_log.now())
        (node,) = await manager.operator.nodes()
        assert [one.kind for one in node.conditions] == ["clock skew"]
        late = msgspec.structs.replace(event, at=manager.commit_log.now())
        await session.report_task_health(Report(statuses=(running,), events=(Told(4, late),)))
        (node,) = await manager.operator.nodes()
        assert node.conditions == ()
