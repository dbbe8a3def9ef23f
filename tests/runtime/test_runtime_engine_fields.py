"""What a spec says of a container holds in it, on real engines."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.engines import IMAGE, RealEngine, busybox_image
from tests.runtime.engine_kit import Bench, launch
from warren.model.byte_size import ByteSize
from warren.model.check import Args
from warren.model.container import Ulimit
from warren.model.interfaces import CannotRunError
from warren.model.mount import Mount, MountType
from warren.model.service import Resources
from warren.model.task import MemoryKill, Reason

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(engine: RealEngine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)


async def output_of(bench: Bench, script: str, **spec: Any) -> list[str]:
    async with bench.runtime() as runtime:
        launched = launch("sh", "-c", script, **spec)
        running = await bench.start(runtime, launched)
        await running.wait()
        await running.kill()
    return bench.output(launched).splitlines()


async def test_a_read_only_root_mounts_ulimits_and_capabilities_hold(bench: Bench) -> None:
    host = bench.directory / "host"
    host.mkdir()
    (host / "file").write_text("from the host\n")
    volume = f"warren-test-{uuid.uuid4().hex[:8]}"
    script = """
        touch /bin/x 2>/dev/null || echo read-only
        cat /host/file; touch /host/y 2>/dev/null || echo read-only
        echo kept > /vol/kept && cat /vol/kept
        df -k /mem | tail -1 | tr -s ' ' | cut -d' ' -f2
        ulimit -Sn; ulimit -Hn
        grep CapEff /proc/self/status
    """
    try:
        lines = await output_of(
            bench,
            script,
            read_only=True,
            cap_drop=("ALL",),
            cap_add=("NET_RAW",),
            ulimits={
                "nofile": Ulimit(soft=100, hard=200),
                "nproc": Ulimit(soft=900, hard=900),  # which Podman takes the most of here
            },
            mounts=(
                Mount(type=MountType.BIND, source=str(host), target="/host", read_only=True),
                Mount(type=MountType.VOLUME, source=volume, target="/vol"),
                Mount(type=MountType.TMPFS, target="/mem", size=1 << 20),
            ),
        )
        left = await output_of(
            bench, "cat /vol/kept",
            mounts=(Mount(type=MountType.VOLUME, source=volume, target="/vol"),),
        )  # fmt: skip
    finally:
        bench.engine.ask("DELETE", f"/v1.41/volumes/{volume}")
    assert lines[:-1] == [
        "read-only", "from the host", "read-only", "kept", "1024", "100", "200",
    ]  # fmt: skip
    assert int(lines[-1].split()[1], 16) == 1 << 13  # NET_RAW alone
    assert left == ["kept"]  # a volume is never removed
    assert (host / "file").exists()


async def test_the_network_is_the_one_that_is_asked(bench: Bench) -> None:
    async with bench.runtime() as runtime:
        for network, address in (("host", "127.0.0.1"), ("none", "127.0.0.1"), (None, "10.")):
            running = await bench.start(runtime, launch("sleep", "1000", network=network))
            assert running.instance.address.startswith(address)
            await running.kill()
    names = await output_of(bench, "ls /sys/class/net", network="none")
    assert names == ["lo"]
    assert bench.engine.net in await output_of(bench, "ls /sys/class/net", network="host")


async def test_args_follow_the_images_entrypoint(bench: Bench) -> None:
    name = "warren-test/says:1"
    bench.engine.load(
        busybox_image(
            name, config={"Entrypoint": ["echo", "it"], "Cmd": ["says"], "Env": ["PATH=/bin"]}
        )
    )
    said = list[str]()
    async with bench.runtime() as runtime:
        for args in (None, Args(["is", "told"]), Args()):
            launched = msgspec.structs.replace(launch(image=name), args=args)
            running = await bench.start(runtime, launched)
            await running.wait()
            await running.kill()
            said.append(bench.output(launched))
    assert said == ["it says\n", "it is told\n", "it\n"]


async def test_a_path_that_cannot_be_mounted_is_told_in_one_line(bench: Bench) -> None:
    mount = Mount(type=MountType.BIND, source="/nonexistent/data", target="/data")
    async with bench.runtime() as runtime:
        with pytest.raises(CannotRunError) as caught:
            await bench.start(runtime, launch("true", image=IMAGE, mounts=(mount,)))
    assert "/nonexistent/data" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert bench.ours() == []


async def test_limits_hold_and_what_it_uses_is_told(bench: Bench) -> None:  # S27
    resources = Resources(memory=ByteSize(64 << 20), cpu=0.5, pids=20)
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch("sleep", "1000", resources=resources))
        shape = bench.engine.ask("GET", f"/v1.41/containers/{running.container}/json").json()
        usage = await running.usage()
        await running.kill()
        assert await running.usage() is None
    host = shape["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (64 << 20, 64 << 20, 20)
    assert host["NanoCpus"] == 500_000_000 or host["CpuQuota"] == host["CpuPeriod"] // 2
    assert usage is not None
    assert 0 < (usage.memory_used or 0) <= 64 << 20
    assert usage.processes == 1
    assert (usage.cpu_seconds or 0) > 0


async def test_one_that_has_no_memory_left_ends_with_that_reason(bench: Bench) -> None:  # S27
    resources = Resources(memory=ByteSize(16 << 20))
    script = "x=a; while :; do x=$x$x; done"
    async with bench.runtime() as runtime:
        running = await bench.start(runtime, launch("sh", "-c", script, resources=resources))
        with trio.fail_after(30):
            end = await running.wait()
        await running.kill()
    assert end.reason is Reason.OUT_OF_MEMORY
    assert end.message == "out of memory: limit 16 MiB"
    assert end.memory == MemoryKill(killed=1, limit_bytes=16 << 20)
