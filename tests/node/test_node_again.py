"""A task that is assigned again while the node is still ending it: it starts anew (S19).

A manager whose state was put back from an older backup does that: what it does not know is ended,
and the next `apply` gives the same ids to the same specs.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
from node_kit import Ground, phase, run, spec, stop, told, until, whole
from trio.testing import MockClock

from tests.scripted import Script, ScriptedRuntime
from warren.manager.program import Manager, open_manager
from warren.model.cluster import TaskRow
from warren.model.errors import LinkLostError, NotFoundError
from warren.model.identity import TaskId
from warren.model.report import Assignment, Assignments
from warren.model.rpc import Gate
from warren.model.task import Phase, TaskRecord
from warren.node.program import open_node
from warren.store.journal import SqliteJournal
from warren.store.state import StateStore
from warren.transport.memory import memory_gate

WEB = TaskId("web", 1, 1)


def stubborn() -> Ground:
    """A node whose tasks take their whole grace to end."""
    return Ground(runtime=ScriptedRuntime(Script(ignores_signal=True)))


@pytest.mark.parametrize("command", ["web", "other"])
async def test_task_assigned_again_while_it_is_ended_starts_anew(
    autojump_clock: MockClock, command: str
) -> None:
    ground = stubborn()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        last = told(agent)["web.1#1"].sequence
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB,)))
        again = (run("web.1#1", spec(command=[command])),)
        await agent.assign(Assignments(generation=7, base=6, tasks=again))
        await agent.assign(Assignments(generation=8, base=7, tasks=again))  # no third start
        await until(lambda: len(ground.runtime.started) == 2)
        await until(lambda: agent.status(WEB) and phase(agent, "web.1#1") is Phase.RUNNING)
        assert ground.runtime.started[0].log == ["signal 15", "kill"]
        assert [i.instance.task for i in ground.runtime.alive.values()] == [WEB]
        (kept,) = ground.journal.load()
        assert (kept.spec.command, kept.phase) == ((command,), Phase.RUNNING)
        assert told(agent)["web.1#1"].sequence > last  # or the manager would take it for old


async def test_task_of_a_lower_number_waits_for_what_is_being_ended_in_its_slot(
    autojump_clock: MockClock,
) -> None:
    ground = stubborn()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#5")))
        await until(lambda: ground.runtime.alive)
        await agent.assign(whole(3, run("web.1#3")))  # of a manager put back from a backup
        await until(lambda: phase(agent, "web.1#3") is Phase.RUNNING)
        assert ground.runtime.started[0].log == ["signal 15", "kill"]
        assert [str(i.instance.task) for i in ground.runtime.alive.values()] == ["web.1#3"]


async def test_predecessor_that_is_being_ended_is_not_shown_for_the_new_task_of_its_id(
    autojump_clock: MockClock,
) -> None:
    ground = stubborn()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: phase(agent, "web.1#1") is Phase.RUNNING)
        assert [status.id for status in await agent.look([WEB])] == [WEB]
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB,)))
        await agent.assign(Assignments(generation=7, base=6, tasks=(run("web.1#1"),)))
        assert ground.runtime.alive  # the old one
        assert await agent.look([WEB]) == []
        with pytest.raises(NotFoundError, match="is not on node n1"):
            await agent.samples(WEB)
        await until(lambda: phase(agent, "web.1#1") is Phase.RUNNING)
        assert [status.id for status in await agent.look([WEB])] == [WEB]
        await agent.samples(WEB)


async def test_end_of_a_task_that_is_to_start_anew_is_told_as_an_event_and_not_as_its_status(
    autojump_clock: MockClock,
) -> None:
    ground = stubborn()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB,)))
        await agent.assign(Assignments(generation=7, base=6, tasks=(run("web.1#1"),)))

        def has_started_anew() -> bool:
            is_so = len(ground.runtime.started) == 2
            assert is_so or (agent.statuses(), phase(agent, "web.1#1")) == ([], None)
            return is_so

        await until(has_started_anew)
        said = [told.event.message for told in agent.outbox.batch().events]
        assert "stopped: no longer assigned to this node" in said


@pytest.mark.parametrize("last", [stop("web.1#1"), None])
async def test_task_stopped_or_removed_before_it_has_started_anew_does_not_start(
    autojump_clock: MockClock, last: Assignment | None
) -> None:
    ground = stubborn()
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB,)))
        await agent.assign(Assignments(generation=7, base=6, tasks=(run("web.1#1"),)))
        if last is None:
            await agent.assign(Assignments(generation=8, base=7, removed=(WEB,)))
            await until(lambda: agent.status(WEB) is None)
        else:  # its end is told, or the manager would wait for it for ever
            await agent.assign(Assignments(generation=8, base=7, tasks=(last,)))
            await until(lambda: phase(agent, "web.1#1") is Phase.STOPPED)
        assert not ground.runtime.alive
        await trio.sleep(60)
        assert len(ground.runtime.started) == 1


async def test_after_an_older_backup_and_an_apply_the_service_runs_again(
    autojump_clock: MockClock,
) -> None:
    with closing(StateStore.open(None)) as first, closing(StateStore.open(None)) as second:
        second.manager_id = first.manager_id  # the backup, of before the service was made
        await _restored_and_applied(first, second)


async def _restored_and_applied(first: StateStore, second: StateStore) -> None:
    ground = stubborn()
    current: Manager | None = None

    @asynccontextmanager
    async def dial() -> AsyncGenerator[Gate, None]:
        if current is None:
            raise LinkLostError("no manager listens")
        async with memory_gate(current.gate) as gate:
            yield gate

    with trio.fail_after(600):
        async with open_node(ground.dependencies(), ground.logs, dial, stops_tasks=True) as node:
            async with open_manager(first, wall=ground.runtime.wall) as manager:
                current = manager
                await until(lambda: node.link.is_up)
                await manager.operator.create(spec())
                await until(lambda: _is_ready(manager.commit_log.cluster.tasks.get(WEB)))
            current = None
            await until(lambda: not node.link.is_up)
            async with open_manager(second, wall=ground.runtime.wall) as manager:
                current = manager
                await until(lambda: "signal 15" in ground.runtime.started[0].log)
                await manager.operator.create(spec())
                await until(lambda: _is_ready(manager.commit_log.cluster.tasks.get(WEB)))
                assert list(manager.commit_log.cluster.tasks) == [WEB]
                assert len(ground.runtime.started) == 2
                current = None


def _is_ready(row: TaskRow | None) -> bool:
    return row is not None and row.status.ready and row.phase is Phase.RUNNING


class _Sweeping(ScriptedRuntime):
    """Its sweeps wait until they may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = trio.Event()
        self.sweeps = 0
        self.fails = 0  # so often, once it may

    async def sweep(
        self, keep: frozenset[str], *, spare: tuple[str, ...] = (), only: str = ""
    ) -> list[str]:
        self.sweeps += 1
        await self.may.wait()
        if self.fails:
            self.fails -= 1
            raise PermissionError(errno.EACCES, "Permission denied")
        return await super().sweep(keep, spare=spare, only=only)


@pytest.mark.parametrize("ended_by", ["removed", "stopped"])
async def test_task_with_an_unreadable_row_assigned_again_while_it_is_ended_starts_anew(
    autojump_clock: MockClock, tmp_path: Path, ended_by: str
) -> None:
    runtime = _Sweeping()
    path = tmp_path / "journal.sqlite"
    with closing(SqliteJournal(path)) as journal:
        journal.save(TaskRecord(id=WEB, spec=spec(), phase=Phase.RUNNING))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tasks SET record = x'7b'")
    with closing(SqliteJournal(path)) as journal:
        ground = Ground(runtime=runtime, journal=journal)
        async with ground.agent() as agent:
            await agent.assign(whole(5, run("web.1#1")))
            assert not runtime.sweeps  # what runs of it is left alone
            stopped = (stop("web.1#1"),) if ended_by == "stopped" else ()
            removed = (WEB,) if ended_by == "removed" else ()
            ends = Assignments(generation=6, base=5, tasks=stopped, removed=removed)
            await agent.assign(ends)
            await until(lambda: runtime.sweeps)
            await agent.assign(whole(6, *stopped))  # said again: it is ended once
            await agent.assign(Assignments(generation=7, base=6, tasks=(run("web.1#1"),)))
            await trio.sleep(10)
            assert (runtime.started, runtime.sweeps) == ([], 1)
            runtime.may.set()
            await until(lambda: phase(agent, "web.1#1") is Phase.RUNNING)
            assert [record.phase for record in journal.load()] == [Phase.RUNNING]
            assert not journal.set_aside()
            assert len(runtime.started) == 1


async def test_end_of_a_task_with_an_unreadable_row_that_fails_ends_nothing_and_is_tried_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    runtime = _Sweeping()
    runtime.fails = 3
    runtime.may.set()
    path = tmp_path / "journal.sqlite"
    other = TaskId("web", 2, 1)
    with closing(SqliteJournal(path)) as journal:
        journal.save_all(TaskRecord(id=t, spec=spec(), phase=Phase.RUNNING) for t in (WEB, other))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tasks SET record = x'7b' WHERE id = ?", (str(WEB),))
    with closing(SqliteJournal(path)) as journal:
        ground = Ground(runtime=runtime, journal=journal)
        async with ground.agent() as agent:
            await agent.assign(whole(5, run("web.1#1"), run("web.2#1")))
            await agent.assign(Assignments(generation=6, base=5, removed=(WEB,)))
            await until(lambda: runtime.sweeps == 3)
            (said,) = [c for c in agent.conditions.current() if c.kind.startswith("ending")]
            assert said.kind == "ending task web.1#1 fails"
            assert said.message == "PermissionError: Permission denied"
            await until(lambda: not journal.set_aside())
            assert phase(agent, "web.2#1") is Phase.RUNNING
            assert not [c for c in agent.conditions.current() if c.kind.startswith("ending")]


async def test_shutdown_goes_on_where_the_end_of_a_task_with_an_unreadable_row_fails(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = _Sweeping()
    runtime.fails = 1
    runtime.may.set()
    path = tmp_path / "journal.sqlite"
    with closing(SqliteJournal(path)) as journal:
        journal.save(TaskRecord(id=WEB, spec=spec(), phase=Phase.RUNNING))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tasks SET record = x'7b'")
    with closing(SqliteJournal(path)) as journal:
        ground = Ground(runtime=runtime, journal=journal)
        async with ground.agent() as agent:
            await agent.assign(whole(5, run("web.1#1"), run("web.2#1")))
            await until(lambda: phase(agent, "web.2#1") is Phase.RUNNING)
            await agent.stop_all("the supervisor shuts down")
            assert ground.runtime.started[0].log == ["signal 15", "kill"]
    assert "ending task web.1#1 failed" in caplog.text
