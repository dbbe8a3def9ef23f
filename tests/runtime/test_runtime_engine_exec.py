"""Exec checks in containers: in their context, and nothing of them left (S13)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.engines import RealEngine
from tests.processes import wait_until
from tests.runtime.engine_kit import FOREVER, Bench, launch, run
from warren.model.interfaces import CannotRunError
from warren.process import procfs
from warren.process.beside import members
from warren.runtime.engine_instance import EngineInstance

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(engine: RealEngine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)


@asynccontextmanager
async def one_running(bench: Bench) -> AsyncGenerator[EngineInstance]:
    async with bench.runtime() as runtime:
        launched = launch(*FOREVER, env={"COLOUR": "blue"}, user="user", cwd="/tmp")
        running = await bench.start(runtime, launched)
        yield running
        await running.kill()


async def test_a_check_runs_as_the_container_does(bench: Bench) -> None:
    async with one_running(bench) as running:
        result = await run(running, "sh", "-c", "id -un; pwd; echo $COLOUR; hostname; exit 3")
        host = await run(running, "cat", "/etc/hostname")
    assert result.exit_code == 3
    assert result.output.decode().split()[:3] == ["user", "/tmp", "blue"]
    assert result.output.decode().split()[3:] == host.output.decode().split()
    assert 0 < result.duration < 10


@pytest.mark.parametrize("script", ["exit 127", "exit 126", "nope", "echo OCI runtime; exit 126"])
async def test_a_programs_own_127_is_its_answer(bench: Bench, script: str) -> None:
    async with one_running(bench) as running:
        result = await run(running, "sh", "-c", script)
    assert result.exit_code == (126 if "126" in script else 127)


@pytest.mark.parametrize(
    ("program", "said"),
    [("nope", "there is no such program"), ("/etc/passwd", "may not be executed")],
)
async def test_a_program_that_cannot_be_run_is_an_error(
    bench: Bench, program: str, said: str
) -> None:
    async with one_running(bench) as running:
        with pytest.raises(CannotRunError, match=f"{program}: {said} in the image"):
            await run(running, program)


async def test_output_is_bounded_and_read_to_its_end(bench: Bench) -> None:
    async with one_running(bench) as running:
        result = await run(running, "sh", "-c", "yes | head -c 300000; exit 4", output_limit=1000)
    assert (result.exit_code, len(result.output)) == (4, 1000)


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
async def test_what_is_cut_short_leaves_no_process(bench: Bench, how: str) -> None:
    script = "trap '' TERM; setsid sleep 1000 & sleep 1001 & sleep 1002"
    async with one_running(bench) as running:
        before = _others(running)
        with trio.move_on_after(2 if how == "cancelled" else 60) as scope:
            result = await run(running, "sh", "-c", script, timeout=1.5 if how == "timeout" else 60)
            assert result.timed_out
        assert scope.cancelled_caught == (how == "cancelled")
        assert _others(running) - before == set()


async def test_a_grandchild_neither_delays_the_answer_nor_survives_it(bench: Bench) -> None:
    async with one_running(bench) as running:
        began = trio.current_time()
        result = await run(running, "sh", "-c", "setsid sleep 1003 & echo done", timeout=60)
        took = trio.current_time() - began
        assert result.exit_code == 0
        assert result.output == b"done\n"
        assert took < 30
        assert not any("1003" in one for one in _others(running))


def _others(running: EngineInstance) -> set[str]:
    """The command lines in the container, but for its own sleeps of a moment."""
    lines = set[str]()
    for pid in members(running.instance.pid or 0):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "sleep 0.01" not in line and "1" in line:
            lines.add(line)
    return {line for line in lines if "sleep 10" in line}


async def test_nothing_runs_in_what_has_ended(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch("true"))
        await running.wait()
        with pytest.raises(CannotRunError, match="has ended"):
            await run(running, "true")
        await running.kill()


async def test_podman_keeps_little_of_the_execs_that_ended(bench: Bench) -> None:
    async with one_running(bench) as running:
        for _ in range(3):
            assert (await run(running, "true")).exit_code == 0
        await wait_until(lambda: not _leftovers(running))


def _leftovers(running: EngineInstance) -> list[str]:
    found = list[str]()
    for pid in procfs.all_pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"conmon" in line and running.container.encode() in line and b"--exec" in line:
            found.append(line.decode())
    return found
