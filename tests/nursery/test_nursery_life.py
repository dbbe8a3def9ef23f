"""The life of a task in virtual time: probes, restarts, replacement, stop."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.nursery.conftest import World, spec
from tests.scripted import (
    ERROR,
    FAIL,
    PASS,
    Script,
    ScriptedCheck,
    ScriptedInstance,
    ScriptedPorts,
    ScriptedRuntime,
)
from warren.model.check import Check, Outcome, Result
from warren.model.event import EventKind
from warren.model.interfaces import Launch, Target
from warren.model.probe import ProbeKind, Verdict
from warren.model.task import Phase, Reason, TaskRecord

HTTP = {"http": {"port": 80}, "interval": "1s", "timeout": "500ms"}


async def test_task_without_probes_is_ready_once_it_runs(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.open() as node:
        service = await node.start(spec(replicas=3))
        await service.wait_ready()
        assert str(service.health()) == "3/3 healthy"
        assert [s.phase for s in service.statuses()] == [Phase.RUNNING] * 3
    assert world.runtime.alive == {}
    assert all("signal 15" in one.log and "kill" in one.log for one in world.runtime.started)


async def test_liveness_failure_restarts_after_exactly_retries_failures(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.answer = FAIL
    async with world.open() as node:
        service = await node.start(spec(replicas=2, health={**HTTP, "retries": 3}))
        await world.wait_for(EventKind.STARTED, 4)
        # S3, S8: fails at 0, 1 and 2 s count; the third is the verdict, on both tasks.
        assert world.times(EventKind.PROBE_FAILED)[:2] == [2.0, 2.0]
        assert str(service.health()) == "0/2 healthy, 2/2 restarting"
        message = world.messages(EventKind.PROBE_FAILED)[0]
        assert message == "liveness probe failed 3 times: HTTP 500"  # S18
        status = service.statuses()[0]
        assert status.last_end is not None
        assert status.last_end.reason is Reason.PROBE_FAILED  # S16, though it exited with 0
        assert status.restarts == 1


async def test_failed_instance_gets_no_further_request_and_the_next_starts_afresh(
    world: World,
    autojump_clock: MockClock,
) -> None:
    world.check.answer = FAIL
    world.runtime = ScriptedRuntime(Script(ignores_signal=True))
    async with world.open() as node:
        await node.start(
            spec(liveness={**HTTP, "retries": 2}, readiness=HTTP, stop={"grace": "10s"})
        )
        await world.wait_for(EventKind.STARTED, 2)
        # S6: verdict at 1 s, killed at 11 s, and nobody asked in between.
        assert not [at for at in world.check.asked if 1.0 < at < 11.0]
        await world.wait_for(EventKind.PROBE_FAILED, 2)
        assert world.times(EventKind.PROBE_FAILED) == [1.0, 12.0]  # S6: retries anew


async def test_startup_probe_holds_back_the_others_then_readiness_asks_at_once(
    world: World,
    autojump_clock: MockClock,
) -> None:
    def answer(check: Check, target: Target) -> Outcome:
        is_startup = getattr(check, "path", "") == "/up"
        return (PASS if trio.current_time() >= 4 else FAIL) if is_startup else PASS

    world.check.answer = answer
    startup = {"http": {"port": 80, "path": "/up"}, "interval": "1s", "retries": 30}
    async with world.open() as node:
        slow = {**HTTP, "interval": "1m"}
        service = await node.start(spec(startup=startup, liveness=slow, readiness=slow))
        await trio.sleep(3.5)
        asked = {getattr(check, "path", "") for check in world.check.checks}
        assert asked == {"/up"}  # S5
        assert service.statuses()[0].probes[ProbeKind.STARTUP].verdict is Verdict.UNKNOWN  # S4
        await service.wait_ready()
        assert world.times(EventKind.READY) == [4.0]  # S5: at once, whatever its interval
        await trio.sleep(100)
        count = sum(getattr(check, "path", "") == "/up" for check in world.check.checks)
        assert count == 5  # never again after its verdict


async def test_readiness_failure_keeps_the_instance_and_comes_back(
    world: World, autojump_clock: MockClock
) -> None:
    def answer(check: Check, target: Target) -> Outcome:
        return FAIL if 10 <= trio.current_time() < 20 else PASS

    world.check.answer = answer
    async with world.open() as node:
        service = await node.start(spec(readiness={**HTTP, "retries": 2, "successes": 2}))
        await service.wait_ready()
        await world.wait_for(EventKind.UNREADY)
        assert str(service.health()) == "0/1 healthy"
        await world.wait_for(EventKind.READY, 2)
        assert len(world.runtime.starts) == 1
        assert world.messages(EventKind.UNREADY) == [
            "not ready: readiness probe failed 2 times: HTTP 500"
        ]


async def test_slow_starter_is_found_within_fast_interval_and_not_punished(
    world: World, autojump_clock: MockClock
) -> None:
    def answer(check: Check, target: Target) -> Outcome:
        return PASS if trio.current_time() >= 25 else FAIL

    world.check.answer = answer
    async with world.open() as node:
        probe = {"http": {"port": 80}, "interval": "10s", "start_period": "30s", "retries": 1}
        await node.start(spec(health=probe))
        await world.wait_for(EventKind.READY)
        assert world.times(EventKind.READY) == [25.0]  # S8
        assert len(world.runtime.starts) == 1


async def test_judgement_is_never_later_than_promised(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.answer = FAIL
    async with world.open() as node:
        await node.start(spec(liveness={**HTTP, "interval": "1010ms", "retries": 10}))
        await world.wait_for(EventKind.PROBE_FAILED)
        assert world.times(EventKind.PROBE_FAILED) == [9.09]  # S8: 9 x 1.01


async def test_judgement_of_a_hung_service_is_never_later_than_promised(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.answer, world.check.takes = FAIL, 10.0
    async with world.open() as node:
        await node.start(spec(liveness={**HTTP, "interval": "10500ms", "timeout": "10s"}))
        await world.wait_for(EventKind.PROBE_FAILED)
        assert world.times(EventKind.PROBE_FAILED)[0] <= 2 * 10.5 + 10  # S8


async def test_a_check_that_raises_is_an_error_and_ends_nothing(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(check: Check, target: Target) -> Outcome:
        raise ZeroDivisionError("of an embedder")

    world.check.answer = raising
    async with world.open() as node:
        service = await node.start(spec(liveness=HTTP))
        await world.wait_for(EventKind.PROBE_WARNING)
        status = service.statuses()[0]
        assert (status.phase, status.restarts) == (Phase.RUNNING, 0)  # S1
        last = status.probes[ProbeKind.LIVENESS].last
        assert last is not None
        assert last.outcome == Outcome(
            Result.ERROR, "the check raised ZeroDivisionError: of an embedder"
        )
        world.check.answer = PASS
        await trio.sleep(5)
        assert service.statuses()[0].probes[ProbeKind.LIVENESS].warning is None
        assert len(world.runtime.starts) == 1
    told = [record for record in caplog.records if record.name == "warren.probe"]
    assert len(told) == 1  # once, however often it comes again
    assert told[0].exc_info is not None
    assert told[0].exc_info[0] is ZeroDivisionError


async def test_a_check_that_raises_when_cancelled_hinders_no_stop(
    world: World, autojump_clock: MockClock
) -> None:
    async def fails_to_clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("of a transport that cleans up")

    class Grouping(ScriptedCheck):
        async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails_to_clean_up)
                nursery.start_soon(trio.sleep_forever)
            return PASS

    world.check = Grouping()
    async with world.open() as node:
        service = await node.start(spec(liveness=HTTP))
        await world.wait_for(EventKind.STARTED)
        await trio.testing.wait_all_tasks_blocked()
        status = service.statuses()[0]
    assert status.phase is Phase.RUNNING
    assert world.messages(EventKind.FINISHED) == [
        "stopped: the supervisor shuts down"
    ]  # and no bug in Warren


async def test_broken_check_neither_kills_nor_blesses_and_warns_once(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.answer = ERROR
    async with world.open() as node:
        service = await node.start(spec(health={**HTTP, "retries": 1}))
        await trio.sleep(60)
        assert len(world.runtime.starts) == 1  # S2
        assert str(service.health()) == "0/1 healthy"
        assert world.messages(EventKind.PROBE_WARNING) == [
            "the liveness check cannot run: no such program"
        ]
        warning = service.statuses()[0].probes[ProbeKind.LIVENESS].warning
        assert warning == "the liveness check cannot run: no such program"


async def test_slow_attempts_never_overlap(world: World, autojump_clock: MockClock) -> None:
    world.check.takes = 3.5
    async with world.open() as node:
        await node.start(spec(liveness=HTTP))
        await trio.sleep(40)
        assert world.check.most_in_flight == 1  # S9


async def test_restarts_back_off_then_the_task_fails(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=0.1, exit_code=3))
    async with world.open() as node:
        await node.start(spec())
        await world.wait_for(EventKind.FINISHED)
        gaps = [b - a for a, b in zip(world.runtime.starts, world.runtime.starts[1:], strict=False)]
        for gap, least in zip(gaps, [0, 1, 2, 4, 8], strict=False):  # S17
            assert least + 0.1 <= gap <= least * 1.1 + 0.11
        assert len(world.runtime.starts) == 6
        first = world.messages(EventKind.FINISHED)[0]
        assert first == "failed: exited with code 3; 5 restarts within 5m"


async def test_good_running_makes_the_next_restart_immediate(
    world: World, autojump_clock: MockClock
) -> None:
    def scripts(launch: Launch, number: int) -> Script:
        return Script(exits_after=100.0 if number == 4 else 0.1, exit_code=1)

    world.runtime = ScriptedRuntime(scripts)
    async with world.open() as node:
        await node.start(spec(restart={"max_attempts": 100}))
        await world.wait_for(EventKind.STARTED, 5)
        gaps = world.runtime.starts[4] - world.runtime.starts[3]
        assert gaps == pytest.approx(100.0, abs=0.01)  # S17


@pytest.mark.parametrize(
    ("condition", "code", "phase", "starts"),
    [
        ("on-failure", 0, Phase.COMPLETE, 1),
        ("never", 0, Phase.COMPLETE, 1),
        ("never", 3, Phase.FAILED, 1),
    ],
)
async def test_task_ends_for_good_as_its_condition_says(
    world: World, autojump_clock: MockClock, condition: str, code: int, phase: Phase, starts: int
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=1.0, exit_code=code))
    async with world.open() as node:
        service = await node.start(spec(restart={"condition": condition}))
        await service.wait_ended()
        await trio.sleep(1000)
        assert service.statuses()[0].phase is phase  # S17
        assert len(world.runtime.starts) == starts


async def test_start_that_cannot_be_made_is_a_failure_with_its_reason(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(start_error="web: not found in PATH"))
    async with world.open() as node:
        service = await node.start(spec())
        await world.wait_for(EventKind.RESTARTING)
        end = service.statuses()[0].last_end
        assert end is not None
        assert end.reason is Reason.START_FAILED
        assert end.message == "could not start: web: not found in PATH"  # S18


async def test_stop_makes_unready_first_then_ends_checks_then_signals(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.takes = 0.2
    async with world.open() as node:
        service = await node.start(spec(health=HTTP))
        await service.wait_ready()
        await node.stop("web")
        stopping = next(s for _, s, e in world.events if e.kind is EventKind.STOPPING)
        assert not stopping.ready  # S15
        assert world.runtime.started[0].log == ["signal 15", "kill"]
        assert world.check.in_flight == 0
        asked = len(world.check.asked)
        await trio.sleep(100)
        assert len(world.check.asked) == asked
        await service.stop()  # twice is harmless


async def test_stubborn_instance_is_killed_after_its_grace(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(ignores_signal=True))
    async with world.open() as node:
        service = await node.start(spec(stop={"signal": "INT", "grace": "7s"}))
        await service.wait_ready()
        before = trio.current_time()
        await service.stop()
        assert trio.current_time() - before == pytest.approx(7.0)
        assert world.runtime.started[0].log == ["signal 2", "kill"]


async def test_check_that_does_not_end_delays_neither_signal_nor_kill(
    world: World, autojump_clock: MockClock
) -> None:  # S15
    answers = trio.Event()

    class StuckCheck(ScriptedCheck):
        async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
            with trio.CancelScope(shield=True):  # its process takes no kill
                await answers.wait()
            return FAIL

    world.check = StuckCheck()
    async with world.open() as node, trio.open_nursery() as nursery:
        service = await node.start(spec(health=HTTP, stop={"grace": "7s"}))
        await world.wait_for(EventKind.STARTED)
        await trio.sleep(1)
        nursery.start_soon(service.stop)
        await trio.sleep(7.5)
        done = list(world.runtime.started[0].log)
        answers.set()
    assert done == ["signal 15", "kill"]


async def test_failure_grace_is_used_after_a_failed_probe(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.answer = FAIL
    world.runtime = ScriptedRuntime(Script(ignores_signal=True))
    async with world.open() as node:
        stop = {"grace": "1h", "failure_grace": "2s"}
        await node.start(spec(liveness={**HTTP, "retries": 1}, stop=stop))
        await world.wait_for(EventKind.STARTED, 2)
        assert world.runtime.starts[1] == pytest.approx(2.0)  # S16


async def test_stop_while_starting_backing_off_and_waiting_for_a_port(
    world: World, autojump_clock: MockClock
) -> None:
    world.ports = ScriptedPorts({80: "db.1#1"})

    def scripts(launch: Launch, number: int) -> Script:
        if launch.spec.name == "slow":
            return Script(start_delay=1e6)
        return Script(exits_after=0.1, exit_code=1)

    world.runtime = ScriptedRuntime(scripts)
    async with world.open() as node:
        await node.start(spec(name="slow"))
        await node.start(spec(name="crashing"))
        blocked = await node.start(spec(name="blocked", ports={"http": 80}))
        await trio.sleep(10)
        pending = blocked.statuses()[0]
        assert pending.phase is Phase.ASSIGNED
        assert pending.pending_reason == "port http: 80 is taken by db.1#1"  # S23
        before = trio.current_time()
        await node.shutdown()
        assert trio.current_time() - before < 0.1
    assert world.runtime.alive == {}


async def test_port_set_free_lets_the_task_start(world: World, autojump_clock: MockClock) -> None:
    world.ports = ScriptedPorts({80: "db.1#1"})
    async with world.open() as node:
        service = await node.start(spec(ports={"http": 80}))
        await world.wait_for(EventKind.PENDING)
        world.ports.taken.clear()
        await service.wait_ready()
        instance = service.statuses()[0].instance
        assert instance is not None
        assert dict(instance.ports) == {"http": 80}


async def test_a_container_with_an_address_of_its_own_takes_no_port_of_the_node(
    world: World, autojump_clock: MockClock
) -> None:
    world.ports = ScriptedPorts({80: "db.1#1"})
    launched: list[Launch] = []

    def scripts(launch: Launch, number: int) -> Script:
        launched.append(launch)
        return Script()

    world.runtime = ScriptedRuntime(scripts)
    async with world.open() as node:
        args = ["--port", "$(PORT_HTTP)", "$$"]
        own = await node.start(spec(image="shop", args=args, ports={"http": 80}))
        await own.wait_ready()
        instance = own.statuses()[0].instance
        assert instance is not None
        assert dict(instance.ports) == {"http": 80}
        assert launched[0].args == ("--port", "80", "$")
        shared = await node.start(spec(name="b", image="b", network="host", ports={"http": 80}))
        await world.wait_for(EventKind.PENDING)
        assert shared.statuses()[0].pending_reason == "port http: 80 is taken by db.1#1"  # S23
        assert len(launched) == 1


async def test_ports_are_kept_across_restarts(world: World, autojump_clock: MockClock) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=1.0, exit_code=1))
    async with world.open() as node:
        await node.start(spec(ports={"http": 0}))
        await world.wait_for(EventKind.STARTED, 3)
        numbers = {one.instance.ports["http"] for one in world.runtime.started}
        assert len(numbers) == 1  # S23


async def test_bug_in_one_task_crashes_that_task_alone(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def scripted(launch: Launch, _number: int) -> Script:
        return Script(exits_after=-1 if launch.task.service == "broken" else None)

    world.runtime = ScriptedRuntime(scripted)  # to wait for less than nothing is the bug
    async with world.open() as node:
        broken = await node.start(spec(name="broken"))
        fine = await node.start(spec(name="fine", health=HTTP))
        await fine.wait_ready()
        await world.wait_for(EventKind.FINISHED)
        crash = next(s for _, s, e in world.events if e.kind is EventKind.FINISHED)
        assert crash.phase is Phase.CRASHED
        assert "ValueError: `seconds` must be non-negative" in caplog.text
        assert fine.health().healthy == 1
        log = next(one.log for one in world.runtime.started if "broken" in one.instance.id)
        assert log == ["kill"]
        await broken.stop()


@pytest.mark.parametrize("ends", [False, True], ids=["pending", "ended"])
async def test_probe_of_what_does_not_run_is_not_called_healthy(
    world: World, autojump_clock: MockClock, ends: bool
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=5.0, exit_code=3))
    world.ports = ScriptedPorts({} if ends else {80: "db.1#1"})
    never = {"condition": "never"}
    async with world.open() as node:
        service = await node.start(spec(liveness=HTTP, ports={"http": 80}, restart=never))
        await world.wait_for(EventKind.FINISHED if ends else EventKind.PENDING)
        (status,) = service.statuses()
        assert status.instance is None
        assert status.probes[ProbeKind.LIVENESS].verdict is Verdict.UNKNOWN
        if ends:
            running = next(s for _, s, e in world.events if e.kind is EventKind.STARTED)
            assert running.probes[ProbeKind.LIVENESS].verdict is Verdict.HEALTHY  # S4


async def test_probe_that_ended_an_instance_is_called_unhealthy_until_the_next(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.answer = FAIL
    never = {"condition": "never"}
    async with world.open() as node:
        service = await node.start(spec(liveness={**HTTP, "retries": 2}, restart=never))
        await world.wait_for(EventKind.FINISHED)
        probe = service.statuses()[0].probes[ProbeKind.LIVENESS]
        assert (probe.verdict, probe.consecutive_failures) == (Verdict.UNHEALTHY, 2)


async def test_every_event_of_an_end_carries_its_own_reason(
    world: World, autojump_clock: MockClock
) -> None:
    world.check.answer = FAIL
    async with world.open() as node:
        once = spec(liveness={**HTTP, "retries": 1}, restart={"max_attempts": 1})
        await node.start(once)
        await world.wait_for(EventKind.FINISHED)
        world.check.answer = PASS
        await node.start(once, number=2)
        await world.wait_for(EventKind.STARTED, 3)
        await node.stop("web")
    dull = (EventKind.STARTED, EventKind.READY)
    told = [(e.kind, e.reason) for _, _, e in world.events if e.kind not in dull]
    assert told[:5] == [
        (EventKind.PROBE_FAILED, "probe failed"),  # before any end has been reported
        (EventKind.RESTARTING, "probe failed"),
        (EventKind.PROBE_FAILED, "probe failed"),
        (EventKind.FINISHED, "probe failed"),
        (EventKind.STOPPING, "stop asked"),
    ]
    assert told[-1] == (EventKind.FINISHED, "stop asked")


async def test_event_of_an_unready_task_carries_its_reason(
    world: World, autojump_clock: MockClock
) -> None:
    def answer(check: Check, target: Target) -> Outcome:
        return PASS if trio.current_time() < 5 else FAIL

    world.check.answer = answer
    async with world.open() as node:
        await node.start(spec(readiness={**HTTP, "retries": 1}))
        await world.wait_for(EventKind.UNREADY)
    assert {e.reason for _, _, e in world.events if e.kind is EventKind.UNREADY} == {"probe failed"}


async def test_history_keeps_the_last_outcomes_of_every_probe(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.open() as node:
        service = await node.start(spec(health=HTTP))
        await trio.sleep(50)
        samples = await service.samples()
        assert len(samples) == 20  # S24
        assert samples[-1].at > samples[0].at


async def test_restart_of_the_supervisor_goes_on_with_the_same_task(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=1.0, exit_code=1))
    async with world.open() as node:
        await node.start(spec())
        await world.wait_for(EventKind.STARTED, 3)
    assert world.runtime.alive == {}
    async with world.open() as node:
        service = await node.start(spec())
        await service.wait_ready()
        status = service.statuses()[0]
        assert str(status.id) == "web.1#1"
        assert status.restarts == 2  # S19: none lost, and a shutdown counts as none


async def test_adopted_instance_stays_ready_and_joins_its_grid(
    world: World, autojump_clock: MockClock
) -> None:
    probe = {**HTTP, "interval": "10s"}
    records: list[TaskRecord] = []
    alive: dict[str, ScriptedInstance] = {}
    with trio.CancelScope() as scope:
        async with world.open() as node:
            await (await node.start(spec(health=probe))).wait_ready()
            records = world.journal.load()
            alive = dict(world.runtime.alive)
            scope.cancel()
    # As after kill -9: the journal and the instances are as they were.
    for record in records:
        world.journal.save(record)
    world.runtime.alive = alive
    revived = ScriptedRuntime()
    for name, one in alive.items():
        instance = one.instance
        revived.alive[name] = ScriptedInstance(instance, Script(), [], revived)
    world.runtime = revived
    world.check = ScriptedCheck()
    begun = trio.current_time()
    async with world.open() as node:
        service = await node.start(spec(health=probe))
        await trio.testing.wait_all_tasks_blocked()
        assert str(service.health()) == "1/1 healthy"  # S21: ready until disproved
        assert world.kinds()[-2:] == [EventKind.READY, EventKind.ADOPTED]  # S3: ready is no news
        assert world.events[-1][1].ready
        assert revived.starts == []
        await trio.sleep(10)
        assert len(world.check.asked) == 1
        assert world.check.asked[0] != begun  # S7: at its grid point


@pytest.mark.parametrize("set_back", [-3600.0, 3600.0])
@pytest.mark.parametrize("knows_age", [True, False])
async def test_periods_of_an_adopted_instance_go_by_no_wall_clock_where_its_age_is_known(
    world: World, autojump_clock: MockClock, set_back: float, knows_age: bool
) -> None:
    """A clock that is set while no supervisor runs moves no start period."""
    probe = {**HTTP, "interval": "1s", "timeout": "1s", "retries": 1, "start_period": "60s"}
    world.check = ScriptedCheck(FAIL)
    begun = trio.current_time()
    async with world.open() as node:
        await node.start(spec(startup=probe))
        await world.wait_for(EventKind.STARTED)
        records, alive = world.journal.load(), dict(world.runtime.alive)
        await trio.sleep(30)
    for record in records:  # as after kill -9
        world.journal.save(record)
    for one in alive.values():
        revived = ScriptedInstance(one.instance, Script(), [], world.runtime)
        world.runtime.alive[one.instance.id] = revived
    world.runtime.set_back = set_back
    world.runtime.knows_age = knows_age
    async with world.open() as node:
        await node.start(spec(startup=probe))
        await world.wait_for(EventKind.PROBE_FAILED)
        waited = trio.current_time() - begun
    if knows_age:
        assert 60 <= waited <= 61.01
    else:  # nothing better is known: at once, or a whole period from now
        assert waited == pytest.approx(30 if set_back < 0 else 90, abs=1.01)


async def test_backoff_that_an_earlier_supervisor_began_is_no_longer_for_a_clock_set_back(
    world: World, autojump_clock: MockClock
) -> None:
    """S17: whatever a wall clock says, a restart waits for its own delay at most."""
    world.runtime = ScriptedRuntime(Script(exits_after=0.1, exit_code=1))
    async with world.open() as node:
        await node.start(spec())
        await world.wait_for(EventKind.RESTARTING, 4)  # 0, 1, 2, 4 s
        written = world.journal.load()
    (record,) = written
    facts = [event.facts for _, _, event in world.events if event.kind is EventKind.RESTARTING]
    told = [one and one.restart_in for one in facts]
    assert [one and one.restarts for one in facts] == [1, 2, 3, 4]
    assert [told[0], told[3]] == [None, record.restart_delay]  # the first restart is at once
    assert record.restart_delay is not None
    assert 4.0 <= record.restart_delay <= 4.4
    later = record.restart_at
    assert later is not None
    set_back = msgspec.structs.replace(record, restart_at=later + 3600.0)
    world.journal.save(set_back)
    begun = trio.current_time()
    async with world.open() as node:
        service = await node.start(spec())
        await trio.testing.wait_all_tasks_blocked()
        shown = service.statuses()[0].restart_at
        assert shown is not None
        assert shown - world.runtime.wall() <= record.restart_delay + 0.001  # nothing else is said
        await world.wait_for(EventKind.STARTED, 5)
        assert trio.current_time() - begun == pytest.approx(record.restart_delay, abs=0.01)


async def test_backoff_goes_by_the_monotonic_clock_while_the_supervisor_lives(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=0.1, exit_code=1))
    async with world.open() as node:
        await node.start(spec())
        await world.wait_for(EventKind.RESTARTING, 2)
        before = trio.current_time()
        world.runtime.set_back = 3600.0
        await world.wait_for(EventKind.STARTED, 3)
        assert trio.current_time() - before <= 1.11
