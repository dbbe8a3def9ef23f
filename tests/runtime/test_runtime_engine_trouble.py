"""An engine that does not answer: a condition, and nothing is restarted for it (S28, S29)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from tests.engines import RealEngine
from tests.processes import wait_until
from tests.runtime.engine_kit import FOREVER, Bench, launch, run
from warren.engine.places import EnginePlaces
from warren.model.interfaces import CannotRunError, NotYetError
from warren.model.task import End, Instance
from warren.runtime import engine_instance
from warren.runtime.engine import EngineRuntime
from warren.runtime.engine_instance import EngineInstance

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(engine: RealEngine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)


def is_away(bench: Bench) -> bool:
    return bench.conditions.has(f"{bench.engine.kind} does not answer")


async def test_an_engine_that_is_killed_and_back_ends_nothing(bench: Bench) -> None:  # S29
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch(*FOREVER))
        await trio.to_thread.run_sync(bench.engine.kill)
        await wait_until(lambda: is_away(bench))
        (condition,) = bench.conditions.current()
        assert "its 1 task here is left as it is" in condition.message
        assert runtime.info.unavailable
        with pytest.raises(NotYetError, match="does not answer"):
            await bench.start(runtime, launch(*FOREVER))
        with pytest.raises(CannotRunError, match="does not answer"):
            await run(running, "true")
        assert not running.ended.is_set()
        await trio.to_thread.run_sync(bench.engine.start)
        await wait_until(lambda: not is_away(bench))
        assert runtime.info.unavailable == ""
        assert (await run(running, "echo", "here")).output == b"here\n"
        assert not running.ended.is_set()
        await running.signal(signal.SIGTERM)
        with trio.fail_after(10):
            assert (await running.wait()).exit_code == 0
        await running.kill()
    assert bench.ours() == []


async def test_what_ends_while_the_engine_is_away_is_an_end_with_its_code(bench: Bench) -> None:
    script = "while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 6"
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch("sh", "-c", script))
        await trio.to_thread.run_sync(bench.engine.kill)
        await wait_until(lambda: is_away(bench))
        _inside(running, "go").touch()
        await wait_until(lambda: not _inside(running).exists())
        assert not running.ended.is_set()
        await trio.to_thread.run_sync(bench.engine.start)
        with trio.fail_after(20):
            end = await running.wait()
        await running.kill()
    assert end.exit_code == 6


def _inside(running: EngineInstance, name: str = "") -> Path:
    """What is in the container's /tmp; there is none once it has ended."""
    return Path(f"/proc/{running.instance.pid}/root/tmp/{name}")


async def test_an_engine_that_hangs_is_a_condition_and_holds_up_no_kill(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warren.runtime.engine_link.ALIVE_EVERY", 0.2)
    async with bench.runtime() as runtime:
        kept = await bench.start(runtime, launch(*FOREVER))
        ended = await bench.start(runtime, launch(*FOREVER))
        monkeypatch.setattr("warren.engine.client.PATIENCE", 2.0)
        monkeypatch.setattr(engine_instance, "AWAY_PATIENCE", 0.5)
        try:
            bench.engine.pause()
            await wait_until(lambda: is_away(bench))
            with trio.fail_after(10):
                await ended.kill()
                assert (await ended.wait()).signal == "SIGKILL"
            assert not _inside(ended).exists()
            assert not kept.ended.is_set()
        finally:
            bench.engine.pause(signal.SIGCONT)
        await wait_until(lambda: not is_away(bench))
        assert [one["Labels"]["warren.instance"] for one in bench.ours()] == [kept.instance.id]
        await kept.kill()
    assert bench.ours() == []


async def test_a_start_is_given_up_as_soon_as_the_engine_is_known_to_hang(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(instance: Instance) -> None:
        monkeypatch.setattr("warren.engine.client.PATIENCE", 1.0)
        monkeypatch.setattr(engine_instance, "AWAY_PATIENCE", 0.2)
        bench.engine.pause()

    monkeypatch.setattr("warren.runtime.engine_link.ALIVE_EVERY", 0.2)
    async with bench.runtime() as runtime:
        try:
            with trio.fail_after(20), pytest.raises(NotYetError, match="no sign of life"):
                await runtime.start(launch(*FOREVER), record=record)
        finally:
            bench.engine.pause(signal.SIGCONT)
        monkeypatch.setattr("warren.engine.client.PATIENCE", 10.0)
        await wait_until(lambda: not bench.ours())  # the next look at the engine finds it


async def test_one_is_adopted_by_its_record_while_the_engine_is_away(bench: Bench) -> None:  # S29
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch(*FOREVER))
        running.leave()
    await trio.to_thread.run_sync(bench.engine.kill)
    async with bench.runtime() as runtime:
        with trio.fail_after(10):
            adopted = await runtime.adopt(running.instance)
        assert not isinstance(adopted, End)
        assert adopted.instance == running.instance
        await trio.to_thread.run_sync(bench.engine.start)
        await wait_until(lambda: runtime.info.unavailable == "")
        assert not adopted.ended.is_set()
        await adopted.kill()
        assert (await adopted.wait()).signal == "SIGKILL"
    assert bench.ours() == []


async def test_a_missing_image_is_a_reason_with_a_growing_pause(bench: Bench) -> None:  # S28
    missing = launch(*FOREVER, image="localhost:1/nothing/here:3")
    async with bench.runtime() as runtime:
        said = set[str]()
        with trio.fail_after(60):
            while not any("again in 2s" in one for one in said):
                with pytest.raises(NotYetError) as caught:
                    await bench.start(runtime, missing)
                said.add(str(caught.value))
                await trio.lowlevel.checkpoint()
        failed = [one for one in said if "cannot be pulled" in one]
        assert failed
        assert all(one.startswith("image localhost:1/nothing/here:3: ") for one in failed)
        assert all("connection refused" in one for one in failed)
    assert bench.ours() == []


async def test_an_engine_that_is_not_there_is_told_and_costs_no_time(tmp_path: Path) -> None:
    bench = Bench(RealEngine("docker"), tmp_path)
    async with bench.runtime() as runtime:
        assert isinstance(runtime, EngineRuntime)
        assert runtime.info.unavailable == f"no engine listens at {bench.engine.socket}"
        assert not bench.conditions.current()
    bench.engine.close()
    assert EnginePlaces("docker").trouble == ""
