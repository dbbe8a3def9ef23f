"""Output of containers: where every task has it, nothing lost or doubled (S24, S21)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from tests.engines import RealEngine
from tests.processes import wait_until
from tests.runtime.engine_kit import Bench, launch
from warren.engine.frames import FrameReader
from warren.model.task import End

pytestmark = pytest.mark.slow
COUNT = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; echo odd $i >&2; {pause}; done"


def numbers(text: str, word: str) -> list[int]:
    """Of all lines with it; what has no newline may stand before one, of the other stream."""
    return [int(found) for found in re.findall(rf"{word} (\d+)$", text, re.MULTILINE)]


@pytest.fixture
def bench(engine: RealEngine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)


async def test_all_output_is_in_the_slots_file_when_the_container_is_gone(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        launched = launch("sh", "-c", COUNT.format(pause=":") + "; printf 'no newline'")
        running = await bench.start(runtime, launched)
        await running.wait()
        await running.kill()
    text = bench.output(launched)
    assert numbers(text, "line") == numbers(text, "odd") == list(range(1, 401))
    assert text.count("no newline") == 1
    assert list((bench.directory / "engine").iterdir()) == []


async def test_copying_goes_on_where_a_killed_supervisor_left_off(bench: Bench) -> None:  # S21
    async with bench.runtime() as runtime:
        launched = launch("sh", "-c", COUNT.format(pause="sleep 0.01"))
        running = await bench.start(runtime, launched)
        await wait_until(lambda: len(numbers(bench.output(launched), "line")) > 20)
        cursor = bench.directory / "engine" / launched.id
        before = cursor.read_bytes()
        await wait_until(lambda: len(numbers(bench.output(launched), "line")) > 60)
        running.leave()
    # As if it had been killed between what it wrote into the file and into its cursor.
    await trio.to_thread.run_sync(cursor.write_bytes, before)
    async with bench.runtime() as runtime:
        adopted = await runtime.adopt(running.instance)
        assert not isinstance(adopted, End)
        with trio.fail_after(60):
            await adopted.wait()
        await adopted.kill()
    text = bench.output(launched)
    assert numbers(text, "line") == list(range(1, 401))
    assert numbers(text, "odd") == list(range(1, 401))


async def test_output_of_one_that_ended_without_a_supervisor_is_kept(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch("sh", "-c", "sleep 0.5; echo last words"))
        running.leave()
    await wait_until(lambda: bench.ours()[0]["State"] == "exited")
    async with bench.runtime() as runtime:
        assert isinstance(await runtime.adopt(running.instance), End)
    assert bench.logs.path(running.instance.task).read_text("utf-8") == "last words\n"


async def test_output_is_whole_over_a_restart_of_the_engine(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        launched = launch("sh", "-c", COUNT.format(pause="sleep 0.01"))
        running = await bench.start(runtime, launched)
        await wait_until(lambda: len(numbers(bench.output(launched), "line")) > 20)
        await trio.to_thread.run_sync(bench.engine.kill)
        await wait_until(lambda: bench.conditions.has(f"{bench.engine.kind} does not answer"))
        await trio.to_thread.run_sync(bench.engine.start)
        with trio.fail_after(60):
            await running.wait()
        path = f"/v1.41/containers/{running.container}/logs?stdout=1"
        answer = await trio.to_thread.run_sync(bench.engine.ask, "GET", path)
        await running.kill()
    kept = b"".join(piece.data for piece in FrameReader().feed(answer.content)).decode()
    # What an engine itself has lost, killed before it wrote it down, nobody can have: at times that
    # is all that follows.
    assert numbers(bench.output(launched), "line") == numbers(kept, "line")
    assert len(numbers(kept, "line")) > 20
