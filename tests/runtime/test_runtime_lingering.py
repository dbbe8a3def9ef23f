"""A check that no kill ends delays neither its result nor its instance's stop (S10, S13, S15).

The v1 freezer makes such a process: what it has frozen takes no signal, SIGKILL neither, as a
process that waits for a dead disk.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.processes import marked, open_handles, wait_until, zombies
from tests.runtime.runtime_kit import SH, launch, nowhere
from warren.model.check import Argv
from warren.model.interfaces import CannotRunError
from warren.model.task import End
from warren.process import procfs, unkillable
from warren.process.tree import INSTANCE_VARIABLE, ProcessTree
from warren.runtime import instance
from warren.runtime.process import ProcessRuntime

FREEZER = Path("/sys/fs/cgroup/freezer")
SHORT = 0.3  # seconds of patience
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (FREEZER / "tasks").exists(),
    reason="no writable v1 freezer is mounted here",
)


@pytest.fixture
def ice(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    monkeypatch.setattr(unkillable, "PATIENCE", SHORT)
    with freezer("checks") as path:
        yield path


@contextmanager
def freezer(name: str) -> Generator[Path]:
    path = FREEZER / f"warren-test-{os.getpid()}-{name}"
    path.mkdir()
    try:
        yield path
    finally:
        thaw(path)
        path.rmdir()


def freezes(path: Path) -> Argv:
    """A check that gets stuck."""
    return Argv((SH, "-c", f"echo $$ > {path}/tasks; echo FROZEN > {path}/freezer.state; exit"))


def thaw(path: Path) -> None:
    (path / "freezer.state").write_text("THAWED")


def frozen(path: Path) -> list[int]:
    return [int(pid) for pid in (path / "tasks").read_text().split()]


async def test_stuck_check_is_judged_and_its_instance_stops(
    runtime: ProcessRuntime, ice: Path
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        launched = launch("sleep", "1000")
        running = await runtime.start(launched, record=nowhere)
        await wait_until(lambda: runtime.preforked.is_ready)
        handles = open_handles()
        with trio.fail_after(10):
            result = await running.run(freezes(ice), timeout=SHORT, output_limit=10)
            assert result.timed_out
            (stuck,) = frozen(ice)
            await running.kill()
        assert running.is_gone
        assert marked(INSTANCE_VARIABLE, launched.id) == [stuck]
        assert open_handles() == handles - 1  # the main's own
        thaw(ice)
        await wait_until(lambda: procfs.read_stat(stuck) is None)  # reaped as well
        await wait_until(lambda: launched.id not in runtime.trees.left())
        nursery.cancel_scope.cancel()


async def test_stuck_checks_do_not_pile_up(
    runtime: ProcessRuntime, ice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "MOST_STUCK", 1)
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        running = await runtime.start(launch("sleep", "1000"), record=nowhere)
        assert (await running.run(freezes(ice), timeout=SHORT, output_limit=10)).timed_out
        with pytest.raises(CannotRunError, match="1 checks before this one take no kill"):
            await running.run(Argv(("true",)), timeout=5, output_limit=10)
        (stuck,) = frozen(ice)
        thaw(ice)
        await wait_until(lambda: procfs.read_stat(stuck) is None)
        await trio.testing.wait_all_tasks_blocked()
        assert (await running.run(Argv(("true",)), timeout=5, output_limit=10)).exit_code == 0
        await running.kill()
        nursery.cancel_scope.cancel()


async def test_check_that_an_earlier_supervisor_left_stuck_delays_no_adoption(
    runtime: ProcessRuntime, ice: Path
) -> None:  # S21
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        running = await runtime.start(launch("sleep", "1000"), record=nowhere)
        await running.run(freezes(ice), timeout=SHORT, output_limit=10)
        running.leave()
        with trio.fail_after(10):
            adopted = await runtime.adopt(running.instance)
            assert not isinstance(adopted, End)
            await adopted.kill()
        thaw(ice)
        nursery.cancel_scope.cancel()


async def test_end_of_what_nobody_holds_waits_for_its_main_and_not_for_its_checks(
    runtime: ProcessRuntime, ice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # or what takes its place would meet its ports and files
    rounds, honest, done = list[ProcessTree](), unkillable.kill_surely, trio.Event()

    async def counted(tree: ProcessTree, **options: Any) -> bool:
        rounds.append(tree)
        return await honest(tree, **options)

    async def end() -> None:
        assert await runtime.sweep(frozenset(), only=launched.id) == [launched.id]
        done.set()

    monkeypatch.setattr(unkillable, "kill_surely", counted)
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        launched = launch("sleep", "1000")
        running = await runtime.start(launched, record=nowhere)
        assert (await running.run(freezes(ice), timeout=SHORT, output_limit=10)).timed_out
        running.leave()
        with freezer("main") as other:
            (other / "tasks").write_text(str(running.instance.pid))
            (other / "freezer.state").write_text("FROZEN")
            rounds.clear()
            nursery.start_soon(end)
            await wait_until(lambda: len(rounds) > 5 or done.is_set())
            assert not done.is_set()
            thaw(other)
            await wait_until(done.is_set)
            assert frozen(ice)
            await wait_until(lambda: not frozen(other))
        thaw(ice)
        await wait_until(lambda: marked(INSTANCE_VARIABLE, launched.id) == [])
        assert running.instance.pid in zombies()
        os.waitpid(running.instance.pid, 0)  # noqa: ASYNC222  # it has ended
        nursery.cancel_scope.cancel()
