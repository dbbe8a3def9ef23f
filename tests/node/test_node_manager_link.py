"""The node's link: dialled again for ever, everything told, nothing lost on the way."""

from __future__ import annotations

import errno
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio
from node_kit import Ground, run, until, whole
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.scripted import Script, ScriptedRuntime
from warren.model.check_places import CheckPlaces
from warren.model.condition import NodeCondition
from warren.model.errors import (
    ConflictError,
    InvalidError,
    LinkLostError,
    UnavailableError,
    WarrenError,
)
from warren.model.event import EventKind, TaskEvent
from warren.model.node_description import UNDESCRIBED, NodeDescription, RuntimeInfo
from warren.model.report import NodeHello, Report, Told
from warren.model.rpc import Agent
from warren.model.task import Phase, TaskStatus
from warren.node.agent import NodeAgent
from warren.node.manager_link import (
    ANSWER_WITHIN,
    LONGEST_PAUSE,
    RENEW_EVERY,
    RENEW_PAUSE,
    ManagerLink,
)
from warren.node.outbox import AT_ONCE, LONGER, MUCH, Outbox, halves
from warren.store.journal import MemoryJournal

SHORTAGES = ("EMFILE", "ENFILE", "ENOMEM", "EIO", "EAGAIN", "ENOSPC")


@dataclass
class FakeManager:
    """Plays the far side. `refusals` are raised by the next calls, one each."""

    is_there: bool = True
    is_silent: bool = False
    refusals: list[Exception] = field(default_factory=list[Exception])
    hellos: list[NodeHello] = field(default_factory=list[NodeHello])
    reports: list[Report] = field(default_factory=list[Report])
    dialled: list[float] = field(default_factory=list[float])
    renewed: int = 0
    left: int = 0
    conditions: Sequence[NodeCondition] = ()
    places: Sequence[CheckPlaces] = ()
    epoch: int = 7
    manager: str = "m1"
    lost: trio.Event = field(default_factory=trio.Event)

    @asynccontextmanager
    async def dial(self) -> AsyncGenerator[FakeManager, None]:
        """A connection, if it is there."""
        self.dialled.append(trio.current_time())
        if not self.is_there:
            raise LinkLostError("no manager listens at unix:/x")
        self.lost = trio.Event()
        yield self

    async def enroll(self, hello: NodeHello, agent: Agent) -> FakeManager:
        await self._answer()
        self.hellos.append(hello)
        return self

    async def report_task_health(self, report: Report) -> None:
        await self._answer()
        self.reports.append(report)

    async def renew(
        self, conditions: Sequence[NodeCondition] = (), places: Sequence[CheckPlaces] = ()
    ) -> None:
        await self._answer()
        self.renewed += 1
        self.conditions = conditions
        self.places = places

    async def leave(self) -> None:
        await self._answer()
        self.left += 1

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_silent:
            await trio.sleep_forever()
        if self.lost.is_set():
            raise LinkLostError("the manager has closed the link")
        if self.refusals:
            raise self.refusals.pop(0)

    def told(self) -> list[str]:
        """Every event told so far."""
        return [told.event.message for report in self.reports for told in report.events]


@asynccontextmanager
async def linked(
    manager: FakeManager, ground: Ground
) -> AsyncGenerator[tuple[NodeAgent, ManagerLink], None]:
    async with ground.agent() as agent, trio.open_nursery() as nursery:
        hello = NodeHello(name="n1", id="a")
        link = ManagerLink(manager.dial, agent, hello, chance=random.Random(1))  # type: ignore[arg-type]
        nursery.start_soon(link.run)
        yield agent, link
        nursery.cancel_scope.cancel()


async def test_link_takes_leave_once_and_tells_nothing_after_it(autojump_clock: MockClock) -> None:
    manager, ground = FakeManager(), Ground()
    async with linked(manager, ground) as (agent, link):
        await until(lambda: manager.renewed)
        with trio.fail_after(ANSWER_WITHIN):
            await link.leave()
        renewed, reports = manager.renewed, len(manager.reports)
        assert (manager.left, link.is_up) == (1, False)
        await agent.assign(whole(1, run("web.1#1")))
        await trio.sleep(10 * RENEW_EVERY)
        assert (manager.renewed, len(manager.reports), manager.left) == (renewed, reports, 1)
        assert len(manager.dialled) == 1


class Changing:
    """Plays `Describer`."""

    def __init__(self) -> None:
        self.description = UNDESCRIBED
        self.changed = trio.Event()

    def now(self) -> NodeDescription:
        return self.description

    async def wait_other(self, than: NodeDescription) -> None:
        if self.description == than:
            await self.changed.wait()


async def test_a_node_that_can_do_something_else_by_now_enrols_again(
    autojump_clock: MockClock,
) -> None:
    manager, ground, describer = FakeManager(), Ground(), Changing()
    docker = RuntimeInfo(name="docker", features=("images",))
    async with ground.agent() as agent, trio.open_nursery() as nursery:
        hello = NodeHello(name="n1", id="a", description=UNDESCRIBED)
        dial: Any = manager.dial
        link = ManagerLink(dial, agent, hello, chance=random.Random(1), describer=describer)
        nursery.start_soon(link.run)
        await until(lambda: manager.renewed)
        await trio.sleep(60)
        assert len(manager.hellos) == 1
        describer.description = NodeDescription(runtimes=(docker,))
        describer.changed.set()
        await until(lambda: len(manager.hellos) == 2 and link.is_up)
        assert manager.hellos[1].description == describer.description
        assert manager.left == 0
        await link.leave()
        assert manager.left == 1
        nursery.cancel_scope.cancel()


class SettlingJournal(MemoryJournal):
    """Its disk takes five seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.settled = 0

    async def settle(self) -> None:
        """By then it is on disk."""
        await trio.sleep(5)
        self.settled += 1


async def test_what_is_told_to_the_manager_is_on_disk_first(autojump_clock: MockClock) -> None:
    journal = SettlingJournal()
    manager, ground = FakeManager(), Ground(journal=journal)
    async with linked(manager, ground) as (agent, _):
        await until(lambda: manager.renewed)
        await agent.assign(whole(1, run("web.1#1")))
        told = len(manager.reports)
        await until(lambda: len(manager.reports) > told)
        assert journal.settled > told


@pytest.mark.parametrize(
    ("refusal", "left"),
    [
        (WarrenError("the far side knows no leave: it is of another version"), 0),
        (LinkLostError("the manager has closed the link"), 1),  # told on the next link
    ],
)
async def test_link_has_left_whatever_the_manager_says_to_it(
    autojump_clock: MockClock, refusal: WarrenError, left: int
) -> None:
    manager, ground = FakeManager(), Ground()
    async with linked(manager, ground) as (_, link):
        await until(lambda: manager.renewed)
        manager.refusals.append(refusal)
        with trio.fail_after(ANSWER_WITHIN):
            await link.leave()
        assert manager.left == left


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("m1", "manager: 'm1': this node belongs to m0"),
        ("", "manager: '': this node belongs to m0; want that one, of a version that tells its id"),
    ],
)
async def test_node_takes_nothing_from_another_manager_than_its_own(
    autojump_clock: MockClock, found: str, said: str
) -> None:
    manager, ground = FakeManager(manager=found), Ground()
    async with ground.agent() as agent, trio.open_nursery() as nursery:
        hello = NodeHello(name="n1", id="a", manager="m0")
        link = ManagerLink(manager.dial, agent, hello, chance=random.Random(1))  # type: ignore[arg-type]
        nursery.start_soon(link.run)
        await until(lambda: link.trouble)
        assert link.trouble == said
        await until(lambda: len(manager.hellos) > 3)
        assert manager.reports == []
        manager.manager = "m0"
        await until(lambda: link.is_up)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("manager_id", ["m1", ""])
async def test_first_manager_is_the_nodes_own_and_one_without_an_id_is_taken(
    autojump_clock: MockClock, manager_id: str
) -> None:
    manager, ground = FakeManager(manager=manager_id), Ground()
    async with ground.agent() as agent, trio.open_nursery() as nursery:
        hello = NodeHello(name="n1", id="a")
        known = ground.journal.note_manager
        link = ManagerLink(
            manager.dial,  # type: ignore[arg-type]
            agent,
            hello,
            chance=random.Random(1),
            remember=known,
        )
        nursery.start_soon(link.run)
        await until(lambda: link.is_up)
        assert ground.journal.manager_id() == manager_id
        manager.lost.set()
        await until(lambda: len(manager.hellos) > 1)
        assert manager.hellos[-1].manager == manager_id
        nursery.cancel_scope.cancel()


async def test_link_begins_with_the_whole_and_goes_on_with_what_changes(
    autojump_clock: MockClock,
) -> None:
    manager = FakeManager()
    async with linked(manager, Ground()) as (agent, link):
        await until(lambda: manager.reports)
        assert manager.reports[0].is_whole
        assert link.is_up
        await agent.assign(whole(1, run("web.1#1")))
        await until(lambda: "ready" in manager.told())
        assert not manager.reports[-1].is_whole
        assert manager.reports[-1].statuses[0].ready
        await until(lambda: agent.outbox.batch() == Report())


async def test_link_says_once_that_it_is_there(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "warren.node")
    manager = FakeManager()
    async with linked(manager, Ground()) as (_, link):
        await until(lambda: link.is_up)
        first = [record.getMessage() for record in caplog.records]
        assert first.count("linked to the manager as node n1") == 1
        manager.lost.set()
        await until(lambda: not link.is_up)
        manager.lost = trio.Event()
        await until(lambda: link.is_up)
    said = [record.getMessage() for record in caplog.records]
    assert said[-1] == "the manager is back"
    assert said.count("linked to the manager as node n1") == 1


async def test_link_tells_again_what_was_on_its_way_when_it_was_lost(  # S19
    autojump_clock: MockClock,
) -> None:
    manager = FakeManager()
    ground = Ground(runtime=ScriptedRuntime(Script(exits_after=5, exit_code=1)))
    async with linked(manager, ground) as (agent, link):
        await until(lambda: link.is_up)
        await agent.assign(whole(1, run("web.1#1")))
        await until(lambda: manager.reports[-1].statuses)
        manager.is_there = False
        manager.lost.set()
        await until(lambda: agent.statuses()[0].restarts >= 2)
        assert link.trouble == "no manager listens at unix:/x"
        manager.is_there = True
        before = len(manager.reports)
        await until(lambda: any(report.is_whole for report in manager.reports[before:]))
        first = manager.reports[before]
        assert first.statuses[0].restarts >= 2
        assert "exited with code 1; restarting" in manager.told()
        assert len(manager.told()) == len(ground.news)
        assert manager.hellos[-1].epoch == 7  # the life it was given before goes on
        assert link.trouble is None


async def test_link_keeps_reports_that_the_manager_cannot_write(autojump_clock: MockClock) -> None:
    manager = FakeManager()
    async with linked(manager, Ground()) as (agent, link):
        await until(lambda: link.is_up)
        manager.refusals = [UnavailableError("disk full")] * 3
        await agent.assign(whole(1, run("web.1#1")))
        await until(lambda: "ready" in manager.told())
        assert len(manager.dialled) == 1  # the link itself is well


@dataclass
class EarlierManager(FakeManager):
    """One that knows nobody who is ready, and reads no report that tells of it."""

    async def report_task_health(self, report: Report) -> None:
        if any(told.event.kind is EventKind.READY for told in report.events):
            raise InvalidError("report.events[0].event.kind: 3: want another")
        await super().report_task_health(report)


async def test_link_tells_without_it_what_an_earlier_manager_cannot_read(
    autojump_clock: MockClock,
) -> None:
    manager, ground = EarlierManager(), Ground()
    async with linked(manager, ground) as (agent, link):
        await until(lambda: link.is_up)
        await agent.assign(whole(1, run("web.1#1"), run("web.2#1")))
        await until(lambda: len([one for one in ground.news if one.endswith(" ready")]) == 2)
        with trio.fail_after(60):
            await agent.outbox.wait_empty()
        assert [one.partition(",")[0] for one in manager.told()] == ["started", "started"]
        told_of = {status.id for report in manager.reports for status in report.statuses}
        assert told_of == {run("web.1#1").task, run("web.2#1").task}
        await until(lambda: manager.conditions)
        (condition,) = manager.conditions
        assert condition.message == (
            "2 items of reports that the manager cannot read will not be told again, the last:"
            " report.events[0].event.kind: 3: want another"
        )
        manager.lost.set()
        await until(lambda: len(manager.dialled) == 2 and link.is_up)
        assert not agent.conditions.current()


async def test_link_is_lost_where_a_report_of_nothing_is_refused(
    autojump_clock: MockClock,
) -> None:
    class Stubborn(FakeManager):
        async def report_task_health(self, report: Report) -> None:
            if len(self.dialled) == 1:
                raise InvalidError("report: want something")
            await super().report_task_health(report)

    manager = Stubborn()
    async with linked(manager, Ground()) as (agent, link):
        await until(lambda: link.trouble == "report: want something")
        await until(lambda: link.is_up)
        assert len(manager.dialled) == 2
        assert not agent.conditions.current()


async def test_link_tells_the_conditions_of_the_node_soon_and_when_they_are_over(
    autojump_clock: MockClock,
) -> None:
    manager = FakeManager()
    async with linked(manager, Ground()) as (agent, _):
        agent.conditions.set("disk", "the journal cannot be written")
        await until(lambda: manager.conditions)
        assert [(c.kind, c.message) for c in manager.conditions] == [
            ("disk", "the journal cannot be written")
        ]
        began = trio.current_time()
        agent.conditions.clear("disk")
        await until(lambda: not manager.conditions)
        assert trio.current_time() - began < RENEW_EVERY / 2
        renewed = manager.renewed
        for number in range(100):  # however often they change
            agent.conditions.set("lag", f"{number} ms")
            await trio.sleep(0.1)
        assert manager.renewed - renewed <= 10 / RENEW_PAUSE + 1


async def test_link_tells_how_places_for_checks_are_taken(autojump_clock: MockClock) -> None:  # S10
    manager = FakeManager()
    async with linked(manager, Ground()):
        await until(lambda: manager.renewed >= 2)
        assert manager.places == ()  # checks are not capped here
    ground = Ground(caps=(7, 2))
    async with linked(manager, ground):
        await until(lambda: manager.places)
        assert manager.places == (
            CheckPlaces(kind="network", cap=7),
            CheckPlaces(kind="exec", cap=2),
        )


async def test_link_takes_a_silent_manager_for_lost(autojump_clock: MockClock) -> None:
    manager = FakeManager()
    async with linked(manager, Ground()) as (_, link):
        await until(lambda: manager.renewed >= 2)
        manager.is_silent = True
        await until(lambda: link.trouble is not None)
        assert link.trouble == f"the manager has been answering for {ANSWER_WITHIN:.0f} s"
        manager.is_silent = False
        await until(lambda: link.is_up)


async def test_link_waits_longer_each_time_but_never_too_long(autojump_clock: MockClock) -> None:
    manager = FakeManager(is_there=False)
    async with linked(manager, Ground()):
        await trio.sleep(120)
        pauses = [b - a for a, b in zip(manager.dialled, manager.dialled[1:], strict=False)]
        assert pauses[0] < 0.3
        assert max(pauses) <= 2 * LONGEST_PAUSE + 0.01
        assert pauses[-1] >= LONGEST_PAUSE


async def test_link_tries_again_where_enrolling_is_refused(autojump_clock: MockClock) -> None:
    manager = FakeManager(refusals=[ConflictError("name: 'n1': another supervisor has it")])
    async with linked(manager, Ground()) as (_, link):
        await until(lambda: link.is_up)
        assert len(manager.dialled) == 2


def status(sequence: int) -> TaskStatus:
    return TaskStatus(id=run("web.1#1").task, phase=Phase.RUNNING, sequence=sequence)


def event(message: str) -> TaskEvent:
    return TaskEvent(at=0.0, task=run("web.1#1").task, kind=EventKind.READY, message=message)


def messages(reports: Sequence[Report]) -> list[str]:
    return [told.event.message for report in reports for told in report.events]


def test_outbox_keeps_what_came_while_a_report_was_on_its_way() -> None:
    outbox = Outbox()
    outbox.note(status(1), event("one"))
    sent = outbox.batch()
    outbox.note(status(2), event("two"))
    outbox.acknowledge(sent)
    assert outbox.batch().statuses == (status(2),)
    assert messages([outbox.batch()]) == ["two"]


def test_halves_of_a_report_keep_its_order_down_to_single_items() -> None:
    report = Report(
        events=(Told(1, event("one")), Told(2, event("two"))),
        statuses=(status(3), status(4), status(5)),
        is_whole=True,
    )

    def singles(report: Report) -> list[Report]:
        pieces = halves(report)
        return [one for piece in pieces for one in singles(piece)] if pieces else [report]

    assert singles(report) == [
        *(Report(events=(told,)) for told in report.events),
        *(Report(statuses=(one,)) for one in report.statuses),
        Report(is_whole=True),
    ]
    assert halves(Report()) == ()


def test_outbox_gives_up_the_oldest_events_and_counts_them() -> None:
    outbox = Outbox(events_kept=3)
    for number in range(1, 6):
        outbox.note(status(number), event(str(number)))
    sent = outbox.batch()
    assert messages([sent]) == ["3", "4", "5"]
    assert outbox.lost == 2
    outbox.note(status(6), event("6"))
    outbox.acknowledge(sent)
    assert messages([outbox.batch()]) == ["6"]


async def test_outbox_is_empty_only_when_all_is_acknowledged() -> None:
    outbox = Outbox()
    await outbox.wait_empty()
    outbox.note(status(1), event("one"))
    with trio.move_on_after(0) as scope:
        await outbox.wait_empty()
    assert scope.cancelled_caught
    outbox.acknowledge(outbox.batch())
    await outbox.wait_empty()


@pytest.mark.parametrize("count", [1, 3])
def test_outbox_forgets_a_task(count: int) -> None:
    outbox = Outbox()
    for number in range(count):
        outbox.note(status(number))
    outbox.forget(run("web.1#1").task)
    assert outbox.batch() == Report()


def test_outbox_tells_in_pieces_and_a_status_with_the_last_of_its_events() -> None:
    outbox = Outbox()
    for number in range(1, AT_ONCE + 3):
        outbox.note(status(number), event(str(number)))
    first = outbox.batch()
    assert (len(first.events), first.statuses) == (AT_ONCE, ())
    assert outbox.whole([status(AT_ONCE + 2)])[-1] == Report(is_whole=True)
    outbox.acknowledge(first)
    second = outbox.batch()
    assert messages([second]) == [str(AT_ONCE + 1), str(AT_ONCE + 2)]
    assert second.statuses == (status(AT_ONCE + 2),)
    outbox.acknowledge(second)
    assert not outbox.has_events()
    pieces = outbox.whole([status(1)] * (AT_ONCE + 1))
    assert [(len(p.statuses), p.is_whole) for p in pieces] == [(AT_ONCE, False), (1, True)]


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(getattr(errno, name), name) for name in SHORTAGES),
        RuntimeError("can't start new thread"),
        MemoryError(),
    ],
    ids=repr,
)
async def test_link_that_cannot_be_dialled_for_a_shortage_says_so_until_it_is_up(
    error: Exception, autojump_clock: MockClock
) -> None:
    manager, ground, left = FakeManager(), Ground(), [1, 2, 3]

    def dial() -> Any:
        if left:
            left.pop()
            raise error
        return manager.dial()

    async with ground.agent() as agent, trio.open_nursery() as nursery:
        link = ManagerLink(dial, agent, NodeHello(name="n1", id="a"), chance=random.Random(1))
        nursery.start_soon(link.run)
        await until(lambda: agent.conditions.has("the link to the manager fails"))
        await until(lambda: link.is_up)
        assert not left
        assert not agent.conditions.current()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("tasks", "phase", "waited"),
    [
        (1, Phase.RUNNING, 0.02),
        (MUCH, Phase.RUNNING, 0.02 * LONGER),
        (AT_ONCE, Phase.RUNNING, 0.0),
        (MUCH, Phase.FAILED, 0.0),
    ],
)
async def test_much_news_waits_for_longer_and_no_more_than_a_report_has_room_for(
    autojump_clock: trio.testing.MockClock, tasks: int, phase: Phase, waited: float
) -> None:
    outbox, task = Outbox(), run("web.1#1").task
    for slot in range(tasks):
        one = msgspec.structs.replace(task, slot=slot + 1)
        outbox.note(TaskStatus(id=one, phase=phase, sequence=1))
    begun = trio.current_time()
    await outbox.gather(0.02)
    assert trio.current_time() - begun == pytest.approx(waited)


async def test_news_waits_for_more_and_the_end_of_a_task_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outbox, task = Outbox(), run("web.1#1").task
    for phase, waited in ((Phase.RUNNING, 0.02), (Phase.FAILED, 0.0), (Phase.RUNNING, 0.02)):
        outbox.note(TaskStatus(id=task, phase=phase, sequence=1))
        begun = trio.current_time()
        await outbox.gather(0.02)
        assert trio.current_time() - begun == pytest.approx(waited)


async def test_who_waits_until_all_is_told_hears_of_what_came_meanwhile_too() -> None:
    outbox = Outbox()
    outbox.note(status(1))
    first = outbox.batch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_empty)
        await wait_all_tasks_blocked()
        outbox.note(status(2))
        outbox.acknowledge(first)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        with trio.fail_after(5):
            outbox.acknowledge(outbox.batch())
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()
