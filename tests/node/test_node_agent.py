"""The agent of a node: what the manager assigns is held, and nothing else."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import trio
from node_kit import Ground, phase, run, spec, stop, told, until, whole
from trio.testing import MockClock

from tests.scripted import Script, ScriptedRuntime
from warren.model.check import Outcome, Result
from warren.model.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from warren.model.identity import TaskId
from warren.model.report import Assignments
from warren.model.task import Phase, TaskRecord
from warren.model.usage import TaskUsage, Usage
from warren.model.view import LogWanted
from warren.nursery.task_runner import TaskRunner

WEB1, WEB2 = TaskId("web", 1, 1), TaskId("web", 2, 1)


async def test_agent_runs_what_is_assigned_and_tells_of_it(autojump_clock: MockClock) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1"), run("web.2#1")))
        await until(lambda: len(ground.runtime.alive) == 2)
        assert {name: status.ready for name, status in told(agent).items()} == {
            "web.1#1": True,
            "web.2#1": True,
        }
        assert [s.phase for s in await agent.look([WEB1, WEB2])] == [Phase.RUNNING] * 2


async def test_agent_starts_nothing_twice(autojump_clock: MockClock) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        for generation in (5, 6):
            await agent.assign(whole(generation, run("web.1#1")))
            await until(lambda: ground.runtime.alive)
        assert len(ground.runtime.started) == 1


async def test_agent_ends_and_forgets_what_is_not_in_the_whole(
    autojump_clock: MockClock,
) -> None:  # S20
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1"), run("web.2#1")))
        await until(lambda: len(ground.runtime.alive) == 2)
        await agent.assign(whole(6, run("web.2#1")))
        await until(lambda: len(ground.runtime.alive) == 1)
        await until(lambda: agent.status(WEB1) is None)
        assert [record.id for record in ground.journal.load()] == [WEB2]


async def test_agent_reports_the_end_of_what_it_was_told_to_stop_and_keeps_the_record(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        await agent.assign(Assignments(generation=6, base=5, tasks=(stop("web.1#1", "removed"),)))
        await until(lambda: phase(agent, "web.1#1") is Phase.STOPPED)
        assert [record.phase for record in ground.journal.load()] == [Phase.STOPPED]
        await agent.assign(Assignments(generation=7, base=6, removed=(WEB1,)))
        assert ground.journal.load() == []
        assert told(agent) == {}


async def test_agent_tells_the_end_of_a_task_it_never_had(autojump_clock: MockClock) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, stop("web.1#1")))
        assert told(agent)["web.1#1"].phase is Phase.STOPPED


async def test_agent_refuses_a_difference_to_what_it_does_not_have(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5))
        with pytest.raises(ConflictError, match="at generation 5; want the whole"):
            await agent.assign(Assignments(generation=9, base=8, tasks=(run("web.1#1"),)))
        assert ground.runtime.started == []


async def test_agent_ends_removed_tasks_that_still_run(autojump_clock: MockClock) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB1,)))
        await until(lambda: not ground.runtime.alive and agent.status(WEB1) is None)


async def test_agent_goes_on_with_what_is_written_down_while_the_manager_is_away(
    autojump_clock: MockClock,
) -> None:  # S19
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        await agent.leave_all()
    assert len(ground.runtime.alive) == 1
    assert ground.runtime.started[0].log == ["leave"]
    async with ground.agent() as agent:
        await until(lambda: told(agent).get("web.1#1"))
        assert told(agent)["web.1#1"].ready
        assert len(ground.runtime.started) == 1  # adopted, S21
        ground.runtime.started[0].script.exits_after = None
        await ground.runtime.started[0].kill()
        await until(lambda: len(ground.runtime.started) == 2)


async def test_agent_waits_with_what_does_not_run_until_it_is_wanted_or_resumed(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    for task in (WEB1, WEB2):
        ground.journal.save(TaskRecord(id=task, spec=spec(), phase=Phase.RUNNING))
    async with ground.agent() as agent:
        await trio.sleep(10)
        assert ground.runtime.started == []
        assert {status.id for status in agent.statuses()} == {WEB1, WEB2}
        await agent.assign(whole(5, run("web.2#1")))
        await until(lambda: ground.runtime.started)
        assert [i.instance.task for i in ground.runtime.started] == [WEB2]
        assert [record.id for record in ground.journal.load()] == [WEB2]
    async with ground.agent() as agent:
        await agent.resume()
        await until(lambda: len(ground.runtime.started) == 2)


async def test_agents_shutdown_is_no_end_of_its_tasks(autojump_clock: MockClock) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        await agent.stop_all("the supervisor shuts down")
        assert not ground.runtime.alive
        status = told(agent)["web.1#1"]
        assert (status.phase, status.ready, status.instance) == (Phase.RUNNING, False, None)
        with pytest.raises(UnavailableError, match="n1 is shutting down"):
            await agent.assign(whole(6, run("web.1#1")))
    assert ground.news[-1] == "web.1#1 stopped: the supervisor shuts down"
    assert not ground.journal.load()[0].phase.is_end


async def test_agent_tells_a_failed_end_found_in_the_journal_until_it_is_dropped(
    autojump_clock: MockClock,
) -> None:
    ground = Ground(runtime=ScriptedRuntime(Script(exits_after=1, exit_code=3)))
    never = spec(restart={"condition": "never"})
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1", never)))
        await until(lambda: phase(agent, "web.1#1") is Phase.FAILED)
    async with ground.agent() as agent:
        (status,) = agent.statuses()
        assert status.phase is Phase.FAILED
        assert status.last_end is not None
        assert status.last_end.exit_code == 3
        await agent.assign(whole(9))
        await until(lambda: agent.statuses() == [])


async def test_agent_carries_the_slots_history_into_a_replacement(
    autojump_clock: MockClock,
) -> None:
    ground = Ground(runtime=ScriptedRuntime(Script(start_delay=5)))
    assignment = msgspec.structs.replace(run("web.1#2"), failed_before=3)
    async with ground.agent() as agent:
        await agent.assign(whole(5, assignment))
        assert agent.statuses()[0].failed_before == 3


async def test_agent_shows_the_outcomes_it_keeps(autojump_clock: MockClock) -> None:  # S24
    ground = Ground()
    ground.check.answer = Outcome(Result.PASS, "200 OK")
    probed = spec(ports={"http": 80}, liveness={"http": {}, "interval": "1s"})
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1", probed)))
        await trio.sleep(5)
        ((_, samples),) = (await agent.samples(WEB1)).items()
        assert len(samples) >= 4
        with pytest.raises(NotFoundError, match=r"web\.2#1 is not on node n1"):
            await agent.samples(WEB2)


async def test_agent_tells_what_the_instances_use_that_run(autojump_clock: MockClock) -> None:
    used = Usage(memory_used=1 << 20, processes=2)  # S27
    ground = Ground(ScriptedRuntime(Script(usage=used)))
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await trio.sleep(1)
        assert await agent.usage([WEB1, WEB2]) == [TaskUsage(task=WEB1, usage=used)]
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB1,)))
        await trio.sleep(20)
        assert await agent.usage([WEB1]) == []


async def test_agent_purges_the_output_of_services_that_are_no_more(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    ground.logs.texts = {"web": b"hello\n", "old": b"old\n", "gone": b"gone\n"}
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1"), services=("web", "gone")))
        assert ground.logs.purged == ["old"]
        await agent.assign(Assignments(generation=6, base=5, purged=("gone",)))
        assert ground.logs.purged == ["old", "gone"]


async def test_agent_purges_output_with_the_last_task_that_still_ends(
    autojump_clock: MockClock,
) -> None:
    ground = Ground(runtime=ScriptedRuntime(Script(ignores_signal=True)))
    ground.logs.texts = {"web": b"hello\n"}
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1"), run("web.2#1"), services=("web",)))
        await until(lambda: len(ground.runtime.alive) == 2)
        difference = Assignments(generation=6, base=5, removed=(WEB1, WEB2), purged=("web",))
        await agent.assign(difference)
        assert ground.logs.purged == []  # they write until they are killed
        await until(lambda: agent.statuses() == [] and not ground.runtime.alive)
        assert ground.logs.purged == ["web"]


async def test_agent_keeps_the_output_of_a_service_made_anew_meanwhile(
    autojump_clock: MockClock,
) -> None:
    ground = Ground(runtime=ScriptedRuntime(Script(ignores_signal=True)))
    ground.logs.texts = {"web": b"hello\n"}
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1"), services=("web",)))
        await until(lambda: len(ground.runtime.alive) == 1)
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB1,), purged=("web",)))
        await agent.assign(Assignments(generation=7, base=6, tasks=(run("web.1#2"),)))
        await until(lambda: agent.status(WEB1) is None)
        assert ground.logs.purged == []


async def test_agent_gives_output_that_is_waited_for(autojump_clock: MockClock) -> None:
    ground = Ground()
    ground.logs.texts = {"web": b"one\n"}
    async with ground.agent() as agent, trio.open_nursery() as nursery:
        chunk = await agent.log(WEB1)
        assert chunk.data == b"one\n"

        async def write() -> None:
            await trio.sleep(3)
            ground.logs.texts["web"] += b"two\n"

        assert (await agent.log(WEB1, cursor=chunk.cursor)).data == b""
        nursery.start_soon(write)
        assert (await agent.log(WEB1, cursor=chunk.cursor, wait=True)).data == b"two\n"


async def test_agent_gives_output_of_many_slots_in_a_call(autojump_clock: MockClock) -> None:
    ground = Ground()
    ground.logs.texts = {"web": b"one\n", "db": b"x" * 100_000}
    async with ground.agent() as agent:
        wanted = [LogWanted(service=name, slot=1) for name in ("none", "web", "db")]
        pieces = await agent.output(wanted * 20, wait=True)
        assert [piece.index for piece in pieces] == [*range(60)]
        said = {piece.index: piece.chunk for piece in pieces}
        assert (said[0].data, said[1].data) == (b"", b"one\n")
        assert len(said[2].data) == (1 << 20) // 60
        ends = [LogWanted(service="none", slot=1, cursor=said[0].cursor)]
        assert await agent.output(ends) == []
        with trio.move_on_after(60) as scope:
            await agent.output(ends, wait=True)
        assert scope.cancelled_caught
        with pytest.raises(InvalidError, match="want at most 64 slots a call"):
            await agent.output(wanted * 22)
        assert await agent.kept("web") == [1]
        assert await agent.kept("none") == []


async def test_agent_ends_a_task_whose_id_was_given_again_after_a_restore(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1", spec(command=["old"]))))
        await until(lambda: ground.runtime.alive)
        await agent.assign(whole(3, run("web.1#1", spec(command=["new"]))))
        await until(lambda: len(ground.runtime.started) == 2)
        assert ground.runtime.started[0].log[-1] == "kill"
        assert len(ground.runtime.alive) == 1
        assert [record.spec.command for record in ground.journal.load()] == [("new",)]


async def test_nothing_is_kept_of_tasks_that_are_gone(autojump_clock: MockClock) -> None:
    ground, others = Ground(), _nurseries()
    async with ground.agent() as agent:
        await agent.assign(whole(5, *(run(f"web.{slot}#1") for slot in range(1, 21))))
        await until(lambda: len(ground.runtime.alive) == 20)
        await agent.assign(whole(6, run("web.1#2")))
        await until(lambda: len(agent.statuses()) == len(ground.runtime.alive) == 1)
        held = [each for each in _nurseries() if each not in others]
        assert [each.id for each in held] == [TaskId("web", 1, 2)]


async def test_agent_tells_nothing_of_what_the_runtime_knows_an_instance_by(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        held = ground.journal.load()[0]
        assert held.instance is not None
        instance = msgspec.structs.replace(held.instance, handle={"env": "SECRET=x"})
        ground.journal.save(msgspec.structs.replace(held, instance=instance))
        await agent.leave_all()
        ground.runtime.started[0].instance = instance
    async with ground.agent() as agent:
        await until(lambda: told(agent).get("web.1#1"))
        assert "SECRET" in str(ground.journal.load()[0])
        assert "SECRET" not in str([*told(agent).values(), *await agent.look([WEB1])])


async def test_thousands_are_held_and_dismissed_in_pieces(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground, taken = Ground(), list[int]()
    real = type(ground.journal).save_all

    def save_all(self: Any, records: Sequence[TaskRecord]) -> None:
        taken.append(len(records))
        real(self, records)

    monkeypatch.setattr(type(ground.journal), "save_all", save_all)
    many = [run(f"web.{slot}#1") for slot in range(1, 1001)]
    async with ground.agent() as agent:
        passes = _Passes()
        trio.lowlevel.add_instrument(passes)
        await agent.assign(whole(5, *many))
        held = passes.count
        assert taken == [100] * 10
        assert held >= 10
        await until(lambda: len(ground.runtime.alive) == 1000)
        before = passes.count
        await agent.assign(whole(6))
        assert passes.count - before >= 10
        trio.lowlevel.remove_instrument(passes)
        await until(lambda: not ground.runtime.alive)


async def test_a_node_that_shuts_down_amid_an_assignment_begins_nothing_more(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    many = [run(f"web.{slot}#1") for slot in range(1, 1001)]
    async with ground.agent() as agent:
        refusals = list[str]()

        async def assign() -> None:
            try:
                await agent.assign(whole(5, *many))
            except UnavailableError as error:
                refusals.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(assign)
            while not ground.journal.load():
                await trio.lowlevel.checkpoint()
            await agent.stop_all("the supervisor shuts down")
        assert refusals == ["node n1 is shutting down"]
        assert len(ground.journal.load()) < 1000
        assert not ground.runtime.alive


def _nurseries() -> list[TaskRunner]:
    """All there are in this process."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, TaskRunner)]


class _Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1
