"""The library's front door: a manager and a scripted node, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.nursery.conftest import World, spec
from tests.scripted import FAIL, PASS, Script, ScriptedInstance, ScriptedRuntime
from warren import (
    FieldError,
    NotFoundError,
    ServiceEndedError,
    ServiceFailedError,
    SpecError,
    WarrenError,
    open_supervisor,
)
from warren.model.check import Check, Outcome
from warren.model.errors import UnavailableError
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.interfaces import Target
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskRecord, TaskStatus
from warren.resilience.exception_groups import unwrapped
from warren.store.state import StateStore
from warren.wiring.supervisor import Supervisor, Transitions

HTTP = {"http": {"port": 80}, "interval": "1s"}


@pytest.fixture
def store() -> Generator[StateStore]:
    """A manager's state that outlives it."""
    with closing(StateStore.open(None)) as store:
        yield store


def ids(supervisor: Supervisor, name: str = "web") -> list[str]:
    return [str(status.id) for status in supervisor.services[name].statuses()]


async def test_service_is_ready_and_the_end_of_the_block_leaves_nothing(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(replicas=3, health=HTTP))
        assert str(service.health()) == "0/3 healthy"
        await service.wait_ready()
        assert str(service.health()) == "3/3 healthy"
        assert ids(supervisor) == ["web.1#1", "web.2#1", "web.3#1"]
        assert repr(service) == "<Service web: 3/3 healthy>"
    assert world.runtime.alive == {}
    assert world.messages(EventKind.FINISHED) == ["stopped: the supervisor shuts down"] * 3
    assert all("signal 15" in one.log for one in world.runtime.started)  # S15: gently


async def test_failed_task_is_replaced_at_once_and_then_with_backoff(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=0.1, exit_code=3))
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec())
        await world.wait_for(EventKind.STARTED, 7)
        assert ids(supervisor) == ["web.1#2"]  # S17: at once the first time
        assert service.statuses()[0].last_end is not None  # the slot remembers
        await world.wait_for(EventKind.FINISHED, 2)
        ended = world.times(EventKind.FINISHED)[1]
        await world.wait_for(EventKind.STARTED, 13)
        assert 10 <= world.times(EventKind.STARTED)[12] - ended <= 11.1  # then after 10 s


async def test_update_replaces_one_slot_at_a_time_and_the_next_when_that_is_ready(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(replicas=3, health=HTTP))
        await service.wait_ready()
        await service.update(spec(replicas=3, health=HTTP, env={"NEW": "1"}))
        assert dict(service.spec.env) == {"NEW": "1"}
        least = 3
        async with supervisor.watch() as transitions, trio.open_nursery() as nursery:

            async def count() -> None:
                nonlocal least
                async for _ in transitions:
                    least = min(least, service.health().healthy)

            nursery.start_soon(count)
            await service.wait_ready()
            nursery.cancel_scope.cancel()
        assert ids(supervisor) == ["web.1#2", "web.2#2", "web.3#2"]
        assert least == 2
        with pytest.raises(SpecError, match="name: 'api': want web: a service keeps its name"):
            await service.update(spec(name="api"))
        with pytest.raises(SpecError, match="cwd: 'srv': want an absolute path"):
            await service.update(spec(cwd="srv"))


async def test_new_probes_alone_keep_the_instance(world: World, autojump_clock: MockClock) -> None:
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(health=HTTP))
        await service.wait_ready()
        await service.update(spec(health={**HTTP, "interval": "2s"}))
        await service.wait_ready()
        assert ids(supervisor) == ["web.1#1"]
        assert len(world.runtime.starts) == 1


async def test_scale_and_restart_are_done_when_it_is_ready(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec())
        await service.scale(3)
        await service.wait_ready()
        assert str(service.health()) == "3/3 healthy"
        await service.scale(1)
        await service.wait_ready()
        assert service.spec.replicas == 1
        await service.restart()
        await service.wait_ready()
        assert ids(supervisor) == ["web.1#2"]
        with pytest.raises(SpecError, match="replicas"):
            await service.scale(-1)


async def test_stopped_service_says_so_and_scale_starts_it_again(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(replicas=2))
        await service.wait_ready()
        await service.stop()
        assert service.has_ended
        assert world.runtime.alive == {}
        with pytest.raises(ServiceEndedError, match="service web has ended: stop asked"):
            await service.wait_ready()
        await service.stop()  # S15: twice is harmless
        await service.scale(2)
        await service.wait_ready()
        assert str(service.health()) == "2/2 healthy"


async def test_events_are_those_of_the_service_since_it_was_started(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor:
        await supervisor.start(spec(name="other"))
        service = await supervisor.start(spec())
        async with aclosing(service.events()) as events:
            kinds = [(await anext(events)).kind.value for _ in range(4)]
            assert kinds == ["created", "placed", "started", "ready"]
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(service.scale, 2)
                    entry = await anext(events)
            assert (entry.kind, entry.subject) == (EventKind.SCALED, "web")
            assert entry.by.endswith("(embedded)")


async def test_watcher_sees_every_transition_at_once(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor, supervisor.watch() as transitions:
        service = await supervisor.start(spec(health=HTTP))
        await service.wait_ready()
        kinds = [transitions.receive_nowait()[1].kind for _ in range(2)]
        assert kinds == [EventKind.STARTED, EventKind.READY]


def test_callback_that_raises_is_logged_and_ends_no_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def publish(status: TaskStatus, event: TaskEvent) -> None:
        raise KeyError(event.kind.value)

    transitions = Transitions(publish)
    event = TaskEvent(at=0.0, task=TaskId("web", 1, 1), kind=EventKind.STARTED, message="started")
    with transitions.watched() as seen:
        transitions.publish(TaskStatus(id=event.task, phase=Phase.RUNNING), event)
        assert seen.receive_nowait()[1] is event
    (told,) = caplog.records
    assert told.getMessage() == "`publish`, called with 'started' of web.1#1, failed"
    assert told.exc_info is not None


def test_phase_reads_as_a_word() -> None:
    assert f"{Phase.RUNNING} {Phase.FAILED:>8}" == "running   failed"
    assert str(Phase.PENDING) == "pending"


async def test_watcher_that_lies_behind_loses_events_and_stops_nobody(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=0.01, exit_code=1))
    world.check.answer = PASS
    async with world.supervise() as supervisor, supervisor.watch() as transitions:
        restart = {"max_attempts": 1_000_000, "delay": "10ms", "max_delay": "10ms"}
        await supervisor.start(spec(restart=restart))
        await world.wait_for(EventKind.STARTED, 500)
        assert transitions.statistics().current_buffer_used == 1000


async def test_service_of_a_running_name_is_refused(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor:
        await supervisor.start(spec())
        with pytest.raises(SpecError, match=r"services\.web: runs already; stop it first"):
            await supervisor.start(spec())
        with pytest.raises(NotFoundError, match="no service 'nobody' was started here"):
            await supervisor.stop("nobody")
        with pytest.raises(SpecError, match=r"services\.api\.cwd: 'srv': want an absolute path"):
            await supervisor.start(spec(name="api", cwd="srv"))
        assert list(supervisor.services) == ["web"]


async def test_failed_job_is_not_called_restarting(world: World, autojump_clock: MockClock) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=1.0, exit_code=1))
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(restart={"condition": "never"}))
        await service.wait_ended()
        assert str(service.health()) == "0/1 healthy, 1/1 failed"


async def test_waiting_for_a_service_that_has_ended_says_why(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(start_error="nosuch: not found in PATH"))
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(restart={"condition": "never"}))
        wanted = r"service web has ended: web\.1#1 failed: could not start: nosuch: not found"
        with pytest.raises(ServiceEndedError, match=wanted):
            await service.wait_ready()
        slow = await supervisor.start(spec(name="slow", readiness={**HTTP, "initial_delay": "1h"}))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.stop, "slow")
            with pytest.raises(ServiceEndedError, match="service slow has ended: stop asked"):
                await slow.wait_ready()
        removed = await supervisor.start(spec(name="removed", readiness=HTTP))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.cluster.remove, "removed")  # by another client
            with pytest.raises(ServiceEndedError, match="service removed has ended"):
                await removed.wait_ready()


async def test_program_that_cannot_start_is_told_of_and_ends_the_wait_when_it_is_given_up(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    why = "could not start: sleeep: not found in PATH"
    broken = Script(start_error="sleeep: not found in PATH")
    world.runtime = ScriptedRuntime(lambda _, number: broken if number <= 12 else Script())
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec())
        for number in (1, 2):  # another task follows the first, and may be waited for
            with pytest.raises(ServiceFailedError) as failure:
                await service.wait_ready()
            assert str(failure.value) == f"service web is not ready: web.1 has failed: {why}"
            assert len(world.messages(EventKind.FINISHED)) == number
        await service.wait_ready()
        assert not service.has_ended
    said = [record.getMessage() for record in caplog.records if record.name == "warren.supervisor"]
    assert said[0] == f"web.1#1 restarting: {why}"
    assert said[5] == f"web.1#1 failed: {why}; 5 restarts within 5m"


async def test_what_no_node_takes_is_told_of_once(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(image="nginx", command=None))
        for _ in range(2):
            with trio.move_on_after(5) as scope:
                await service.wait_ready()
            assert scope.cancelled_caught
        (status,) = service.statuses()
        assert status.pending_reason == "n1: lacks images"
    said = [record.getMessage() for record in caplog.records if record.name == "warren.supervisor"]
    assert said == ["web.1#1 is pending: n1: lacks images"] * 2  # of each call


async def test_what_is_no_spec_and_no_number_is_refused(
    world: World, autojump_clock: MockClock
) -> None:
    wrong: Any = {"name": "web"}
    async with world.supervise() as supervisor:
        with pytest.raises(FieldError, match=r"spec: {'name': 'web'}: want ServiceSpec\(...\)"):
            await supervisor.start(wrong)
        service = await supervisor.start(spec())
        with pytest.raises(FieldError, match="spec: "):
            await service.update(wrong)
        with pytest.raises(FieldError, match=r"replicas: .*: want a whole number"):
            await service.scale(wrong)
        assert service.spec.replicas == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network_checks": 0}, "network_checks: 0: want at least 1"),
        ({"network_checks": "3"}, "network_checks: '3': want a whole number"),
        ({"exec_checks": 0}, "exec_checks: 0: want at least 1"),
        ({"samples_kept": 1.5}, "samples_kept: 1.5: want a whole number"),
        ({"node": "My.Host"}, "node: 'My.Host': want a name of a-z.*"),
        ({"data_dir": 7}, r"data_dir: 7: want Path\(...\) or a string or None"),
        ({"publish": 3}, r"publish: 3: want a function of \(status, event\)"),
        ({"http_transport": 3}, "http_transport: 3: want an httpx.AsyncBaseTransport"),
    ],
)
async def test_supervisor_refuses_options_of_the_wrong_type(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(FieldError, match=f"^{said}$"):
        async with open_supervisor(**options):
            raise AssertionError


async def test_job_that_has_ended_runs_again_when_it_is_started_again(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=1.0))
    async with world.supervise() as supervisor:
        for number in (1, 2):
            service = await supervisor.start(spec(restart={"condition": "never"}))
            await world.wait_for(EventKind.FINISHED, number)
            await service.wait_ended()
            assert str(service.health()) == "1/1 complete"
            assert ids(supervisor) == [f"web.1#{number}"]
        tasks = await supervisor.cluster.tasks(service="web", past=True)
        assert [str(task.id) for task in tasks] == ["web.1#1", "web.1#2"]
        assert [task.status.phase for task in tasks] == [Phase.COMPLETE] * 2  # as it was


async def test_stopping_twice_at_once_and_starting_beside_it_is_harmless(
    world: World, autojump_clock: MockClock
) -> None:  # S15
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec())
        await service.wait_ready()

        async def start_again() -> None:
            await service.wait_ended()
            await supervisor.start(spec())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.stop, "web")
            nursery.start_soon(supervisor.stop, "web")
            nursery.start_soon(start_again)
        await supervisor.services["web"].wait_ready()
        (record,) = [one for one in world.journal.load() if one.instance is not None]
        assert str(record.id) == "web.1#2"  # S21: what runs is written down
    assert world.runtime.alive == {}


async def as_killed(world: World, store: StateStore, data_dir: Path, *specs: ServiceSpec) -> None:
    """A run that ends as by a `kill -9`: what it wrote and what it started is as it was then."""
    note, records, alive = b"", list[TaskRecord](), dict[str, ScriptedInstance]()
    with trio.CancelScope() as scope:
        async with world.supervise(store, data_dir=data_dir) as supervisor:
            for one in specs:
                service = await supervisor.start(one)
                await service.wait_ready()
            await trio.testing.wait_all_tasks_blocked()
            note = (data_dir / "up.json").read_bytes()
            records, alive = world.journal.load(), dict(world.runtime.alive)
            scope.cancel()
    for record in records:
        world.journal.save(record)
    world.runtime = world.revived(alive)
    (data_dir / "up.json").write_bytes(note)


async def test_after_kill_9_the_next_goes_on_and_removes_what_nobody_asked_for(
    world: World, autojump_clock: MockClock, store: StateStore, tmp_path: Path
) -> None:  # S21
    await as_killed(world, store, tmp_path, spec(health=HTTP), spec(name="old"))
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        service = await supervisor.start(spec(health=HTTP))
        await service.wait_ready()
        assert ids(supervisor) == ["web.1#1"]
        assert world.runtime.starts == []  # neither was started: both were adopted
        assert len(world.runtime.alive) == 2
    assert world.runtime.alive == {}
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        await trio.sleep(10)
        assert [view.spec.name for view in await supervisor.cluster.services()] == ["web"]
        assert world.runtime.starts == []  # S21: only what is asked for runs


async def test_after_kill_9_another_spec_is_another_task(
    world: World, autojump_clock: MockClock, store: StateStore, tmp_path: Path
) -> None:
    await as_killed(world, store, tmp_path, spec())
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        service = await supervisor.start(spec(env={"NEW": "1"}))
        await service.wait_ready()
        assert ids(supervisor) == ["web.1#2"]
        assert len(world.runtime.alive) == 1


@pytest.mark.parametrize("later", [0, 10])
async def test_after_an_end_in_order_only_what_is_started_runs(
    world: World, autojump_clock: MockClock, store: StateStore, tmp_path: Path, later: float
) -> None:
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        await (await supervisor.start(spec(replicas=2))).wait_ready()
        await (await supervisor.start(spec(name="old"))).wait_ready()
    before = len(world.runtime.starts)
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        await trio.sleep(later)
        assert len(world.runtime.starts) == before
        service = await supervisor.start(spec(replicas=2))
        await service.wait_ready()
        assert ids(supervisor) == ["web.1#2", "web.2#2"]
        assert len(world.runtime.starts) == before + 2


async def test_finished_job_runs_again_after_a_shutdown_and_not_after_kill_9(
    world: World, autojump_clock: MockClock, store: StateStore, tmp_path: Path
) -> None:
    job = spec(restart={"condition": "never"})
    world.runtime = ScriptedRuntime(Script(exits_after=1.0))
    for number in (1, 2):
        async with world.supervise(store, data_dir=tmp_path) as supervisor:
            await (await supervisor.start(job)).wait_ended()
            assert ids(supervisor) == [f"web.1#{number}"]
            note = (tmp_path / "up.json").read_bytes()
    (tmp_path / "up.json").write_bytes(note)  # as after a kill -9
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        await (await supervisor.start(job)).wait_ended()
        await trio.sleep(100)
    assert len(world.runtime.starts) == 2


async def test_what_the_block_raises_kills_what_runs(
    world: World, autojump_clock: MockClock, tmp_path: Path
) -> None:
    world.runtime = ScriptedRuntime(Script(ignores_signal=True))

    async def a_run() -> None:
        async with world.supervise(data_dir=tmp_path) as supervisor:
            await (await supervisor.start(spec())).wait_ready()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), unwrapped():
        await a_run()
    assert world.runtime.alive == {}
    assert world.runtime.started[0].log == ["kill"]


async def test_after_an_exception_the_next_is_ready_when_its_own_tasks_are(
    world: World, autojump_clock: MockClock, store: StateStore, tmp_path: Path
) -> None:
    async def a_run() -> None:
        async with world.supervise(store, data_dir=tmp_path) as supervisor:
            await (await supervisor.start(spec(replicas=2, health=HTTP))).wait_ready()
            await trio.testing.wait_all_tasks_blocked()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), unwrapped():
        await a_run()
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        service = await supervisor.start(spec(replicas=2, health=HTTP))
        assert str(service.health()) == "0/2 healthy"
        await service.wait_ready()
        assert ids(supervisor) == ["web.1#2", "web.2#2"]
        assert all(status.instance for status in service.statuses())


async def test_handles_say_that_the_supervisor_has_ended(
    world: World, autojump_clock: MockClock
) -> None:
    ended = list[str]()

    async def refused(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(UnavailableError, match="the supervisor has ended") as refusal:
            await call()
        ended.append(str(refusal.value))

    async with trio.open_nursery() as nursery:
        async with world.supervise() as supervisor:
            service = await supervisor.start(spec())
            await service.wait_ready()
            nursery.start_soon(refused, service.wait_ended)
            events = service.events()
            while (await anext(events)).kind is not EventKind.READY:
                pass
            nursery.start_soon(refused, lambda: anext(events))
            await trio.testing.wait_all_tasks_blocked()
        for call in (service.restart, lambda: service.scale(2), lambda: service.update(spec())):
            await refused(call)
        for call in (service.stop, service.remove, lambda: supervisor.start(spec(name="b"))):
            await refused(call)
    assert len(ended) == 8
    assert "has ended" in repr(supervisor)


async def test_two_starts_of_one_name_at_once_are_one(
    world: World, autojump_clock: MockClock
) -> None:
    refusals = list[SpecError]()

    async def start(supervisor: Supervisor) -> None:
        try:
            await supervisor.start(spec())
        except SpecError as error:
            refusals.append(error)

    async with world.supervise() as supervisor:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(start, supervisor)
        assert [error.field for error in refusals] == ["services.web"] * 2
        await supervisor.services["web"].wait_ready()


async def test_start_that_is_refused_keeps_the_handle_of_what_is_there(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, store: StateStore
) -> None:
    def full(*_: object, **__: object) -> int:
        raise UnavailableError("the disk is full")

    job = spec(restart={"condition": "never"})
    world.runtime = ScriptedRuntime(Script(exits_after=1.0, exit_code=0))
    async with world.supervise(store) as supervisor:
        service = await supervisor.start(job)
        await service.wait_ended()
        with monkeypatch.context() as patch:
            patch.setattr(store, "commit", full)
            with pytest.raises(WarrenError, match="the disk is full"):
                await supervisor.start(job)
        assert supervisor.services["web"] is service
        await supervisor.stop("web")


async def test_service_stopped_and_scaled_by_a_client_is_waited_for(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec())
        await service.stop()
        await supervisor.cluster.scale("web", 1)
        await service.wait_ready()
        assert not service.has_ended


async def test_reference_to_no_variable_is_logged_at_the_start(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.supervise() as supervisor:
        await supervisor.start(spec(command=["run", "$(NOPE)"]))
        assert "services.web.command: $(NOPE): there is no such variable" in caplog.text


async def test_end_of_a_task_is_told_once(
    world: World, autojump_clock: MockClock, store: StateStore, tmp_path: Path
) -> None:  # S18
    for _ in range(3):
        async with world.supervise(store, data_dir=tmp_path) as supervisor:
            await (await supervisor.start(spec())).wait_ready()
    ended = [str(e.task) for _, _, e in world.events if e.kind is EventKind.FINISHED]
    assert ended == ["web.1#1", "web.1#2", "web.1#3"]


async def test_end_in_order_is_noted_on_a_full_disk_too(
    world: World, autojump_clock: MockClock, store: StateStore, tmp_path: Path
) -> None:
    async with world.supervise(store, data_dir=tmp_path) as supervisor:
        await (await supervisor.start(spec())).wait_ready()
        (tmp_path / "up.json.new").mkdir()  # as good as a disk that takes nothing
    (tmp_path / "up.json.new").rmdir()
    async with world.supervise(store, data_dir=tmp_path):
        await trio.sleep(100)
    assert len(world.runtime.started) == 1


async def test_disk_that_is_full_refuses_a_start_and_keeps_no_service(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, store: StateStore
) -> None:
    def full(*_: object, **__: object) -> int:
        raise UnavailableError("the disk is full")

    async with world.supervise(store) as supervisor:
        await trio.testing.wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr(store, "commit", full)
            with pytest.raises(WarrenError, match="the disk is full"):
                await supervisor.start(spec())
        assert supervisor.services == {}
        await (await supervisor.start(spec())).wait_ready()


async def test_unready_task_is_counted_at_once(world: World, autojump_clock: MockClock) -> None:
    def answer(check: Check, target: Target) -> Outcome:
        return FAIL if 10 <= trio.current_time() < 20 else PASS

    world.check.answer = answer
    async with world.supervise() as supervisor:
        service = await supervisor.start(spec(readiness={**HTTP, "retries": 2}))
        await service.wait_ready()
        await world.wait_for(EventKind.UNREADY)
        assert str(service.health()) == "0/1 healthy"  # as the node has it, not as reported
        await service.wait_ready()
        assert str(service.health()) == "1/1 healthy"
