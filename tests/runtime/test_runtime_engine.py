"""The engine runtime on real engines: started, ended, stopped, adopted, swept (S15, S21, S30)."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from tests.engines import RealEngine, busybox_image
from tests.processes import wait_until
from tests.runtime.engine_kit import FOREVER, Bench, launch
from warren.model.interfaces import CannotRunError
from warren.model.task import End, Instance, Reason
from warren.process import procfs

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(engine: RealEngine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)


async def test_an_instance_is_a_container_with_an_address_and_labels(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        launched = launch(*FOREVER, env={"COLOUR": "blue"}, user="user", cwd="/tmp")
        running = await bench.start(runtime, launched)
        (container,) = bench.ours()
        instance = running.instance
        pid = instance.pid or 0
        environ, status, cwd = procfs.read_environ(pid), _status(pid), _cwd(pid)
        age = runtime.age(instance)
        await running.kill()
    assert container["Labels"] == {
        "warren.node": bench.token,
        "warren.service": "web",
        "warren.task": str(launched.task),
        "warren.instance": launched.id,
    }
    assert instance.runtime == bench.engine.kind
    assert instance.address.startswith("10.")
    assert environ["COLOUR"] == "blue"
    assert environ["PATH"] == "/bin"  # the image's
    assert "Uid:\t1234" in status
    assert "NoNewPrivs:\t1" in status
    assert cwd.endswith("/tmp")
    assert age is not None
    assert 0 <= age < 30
    assert bench.ours() == []


async def test_new_privileges_are_given_where_they_are_asked(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch(*FOREVER, new_privileges=True))
        status = _status(running.instance.pid)
        await running.kill()
    assert "NoNewPrivs:\t0" in status


async def test_it_is_recorded_before_its_program_runs(bench: Bench) -> None:
    async def record(instance: Instance) -> None:
        (container,) = bench.ours()
        states.append(container["State"])

    states = list[str]()
    async with bench.runtime() as runtime:
        running = await runtime.start(launch(*FOREVER), record=record)
        await running.kill()
    assert states == ["created"]


@pytest.mark.parametrize(
    ("script", "reason", "code", "name", "message"),
    [
        ("exit 3", Reason.EXITED, 3, None, "exited with code 3"),
        ("exit 0", Reason.EXITED, 0, None, "exited with code 0"),
        ("exec sleep 1000", Reason.SIGNALED, None, "SIGKILL", "killed by SIGKILL"),
    ],
)
async def test_its_end_is_told_with_code_or_signal(  # S18
    bench: Bench, script: str, reason: Reason, code: int | None, name: str | None, message: str
) -> None:
    async with bench.runtime() as runtime:
        launched = launch("sh", "-c", f"{script}")
        running = await bench.start(runtime, launched)
        if name is not None:  # by somebody else
            os.kill(running.instance.pid or 0, signal.Signals[name])
        with trio.fail_after(10):
            end = await running.wait()
        await running.kill()
    assert (end.reason, end.exit_code, end.signal, end.message) == (reason, code, name, message)
    assert bench.ours() == []


async def test_a_program_that_is_not_in_the_image_is_told_in_one_line(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        with pytest.raises(CannotRunError) as caught:
            await bench.start(runtime, launch("nope", "-x"))
    assert str(caught.value) == f"{bench.engine.kind}: nope: there is no such program in the image"
    assert bench.ours() == []


async def test_its_stop_signal_is_the_images_where_the_spec_has_none(bench: Bench) -> None:  # S15
    bench.engine.load(
        busybox_image("warren-test/quits:1", config={"Env": ["PATH=/bin"], "StopSignal": "SIGQUIT"})
    )
    script = "trap 'echo quit; exit 7' QUIT; trap 'exit 8' TERM; while :; do sleep 0.01; done"
    async with bench.runtime() as runtime:
        ends = list[End]()
        for name in (signal.SIGTERM, signal.SIGINT):  # what a spec has by default, and another
            launched = launch("sh", "-c", f"{script}; :", image="warren-test/quits:1")
            running = await bench.start(runtime, launched)
            await wait_until(partial(_traps, running.instance.pid))
            await running.signal(name)
            if name == signal.SIGTERM:
                with trio.fail_after(10):
                    ends.append(await running.wait())
            await running.kill()
            ends.append(await running.wait())
    assert [end.exit_code for end in ends] == [7, 7, None]


def _status(pid: int | None) -> str:
    return Path(f"/proc/{pid}/status").read_text("utf-8")


def _cwd(pid: int) -> str:
    return str(Path(f"/proc/{pid}/cwd").readlink())


def _traps(pid: int | None) -> bool:
    """Whether a shell has set its traps."""
    lines = _status(pid).splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught & (1 << (signal.SIGTERM - 1)))


async def test_a_kill_ends_every_process_and_removes_the_container(bench: Bench) -> None:  # S15
    script = "for i in 1 2 3; do setsid sleep 1000 & done; trap '' TERM; while :; do sleep 1; done"
    async with bench.runtime() as runtime:
        launched = launch("sh", "-c", script)
        running = await bench.start(runtime, launched)
        mark = f"WARREN_INSTANCE={launched.id}".encode()
        await wait_until(lambda: len(_marked(mark)) > 3)
        await running.kill()
        await running.kill()
        end = await running.wait()
    assert end.signal == "SIGKILL"
    assert _marked(mark) == []
    assert bench.ours() == []


def _marked(mark: bytes) -> list[int]:
    return [
        stat.pid
        for stat in procfs.all_stats()
        if not stat.is_dead and procfs.has_marker(stat.pid, mark)
    ]


async def test_a_start_that_is_cancelled_half_way_leaves_nothing(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        for record in ("never", "at once"):

            async def recorded(instance: Instance, how: str = record) -> None:
                if how == "never":
                    await trio.sleep_forever()

            with trio.move_on_after(0.3 if record == "never" else 0.02):
                await runtime.start(launch(*FOREVER), record=recorded)
            assert bench.ours() == []


async def test_what_runs_is_adopted_with_its_container(bench: Bench) -> None:  # S21
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch(*FOREVER))
        before = running.instance
        running.leave()
    (container,) = bench.ours()
    async with bench.runtime() as runtime:
        assert runtime.age(before) is not None
        adopted = await runtime.adopt(before)
        assert not isinstance(adopted, End)
        assert (adopted.instance.pid, adopted.instance.address) == (before.pid, before.address)
        assert [one["Id"] for one in bench.ours()] == [container["Id"]]
        await adopted.signal(signal.SIGTERM)
        with trio.fail_after(10):
            end = await adopted.wait()
        await adopted.kill()
    assert end.exit_code == 0
    assert bench.ours() == []


async def test_what_has_ended_meanwhile_is_an_end_with_its_code(bench: Bench) -> None:  # S21
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch("sh", "-c", "sleep 0.2; exit 5"))
        running.leave()
    await wait_until(lambda: bench.ours()[0]["State"] == "exited")
    async with bench.runtime() as runtime:
        end = await runtime.adopt(running.instance)
    assert isinstance(end, End)
    assert (end.reason, end.exit_code) == (Reason.EXITED, 5)
    assert bench.ours() == []


async def test_one_of_before_a_reboot_has_ended_with_that(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch(*FOREVER))
        running.leave()
        handle = {**running.instance.handle, "boot": "another"}
        end = await runtime.adopt(_with(running.instance, handle))
    assert isinstance(end, End)
    assert end.reason is Reason.REBOOTED
    assert bench.ours() == []


def _with(instance: Instance, handle: dict[str, str]) -> Instance:
    return msgspec.structs.replace(instance, handle=handle)


async def test_a_sweep_removes_what_is_in_no_record_by_label_alone(bench: Bench) -> None:  # S30
    other = Bench(bench.engine, bench.directory / "other")
    async with bench.runtime() as runtime, other.runtime() as neighbour:
        recorded = await bench.start(runtime, launch(*FOREVER))
        stray = await bench.start(runtime, launch(*FOREVER))
        foreign = await other.start(neighbour, launch(*FOREVER))
        recorded.leave()
        stray.leave()
        foreign.leave()
    async with bench.runtime(is_swept=False) as runtime:
        swept = await runtime.sweep(frozenset({recorded.instance.id}))
        left = {one["Labels"]["warren.instance"] for one in bench.ours()}
        await runtime.sweep(frozenset())
    assert swept == [stray.instance.id]
    assert left == {recorded.instance.id}
    assert bench.ours() == []
    assert [one["Labels"]["warren.instance"] for one in other.ours()] == [foreign.instance.id]
    async with other.runtime(is_swept=False) as neighbour:
        await neighbour.sweep(frozenset())
    assert other.ours() == []


async def test_a_container_that_somebody_removes_is_an_end(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch(*FOREVER))
        path = f"/v1.41/containers/{running.container}?force=1"
        await trio.to_thread.run_sync(bench.engine.ask, "DELETE", path)
        with trio.fail_after(10):
            end = await running.wait()
        await running.kill()
    assert end.reason in (Reason.LOST, Reason.SIGNALED)  # the engine may still tell how
