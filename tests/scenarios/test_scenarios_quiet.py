"""Probes leave no word in a service's log: their connections end in order (S11, S12)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
from test_scenarios_servers import (
    NGINX,
    PATIENCE,
    POSTGRES,
    Scene,
    needs,
    postgres_after,
    postgres_home,
    scene,
    service,
)

from warren.model.probe import ProbeKind
from warren.model.service import ServiceSpec

ASKED = 10
PACE = {"interval": "50ms", "timeout": "5s"}
SLOW_START: dict[str, object] = {
    "tcp": {},
    "interval": "1s",
    "fast_interval": "100ms",
    "start_period": "60s",
}


async def log_after_probing(directory: Path, spec: ServiceSpec) -> str:
    """What the service has written when each of its probes has passed `ASKED` times."""
    async with scene(directory) as stage:
        started = await stage.supervisor.start(spec)
        with trio.fail_after(2 * PATIENCE):
            await started.wait_ready()
            while least_passes(stage, spec.name) < ASKED:  # noqa: ASYNC110
                await trio.sleep(0.05)  # outcomes wake nobody: only transitions do
    logs = [path for path in (directory / "data" / "logs").rglob("*") if path.is_file()]
    return "".join(path.read_text("utf-8") for path in logs)


def least_passes(stage: Scene, name: str) -> int:
    probes = stage.supervisor.services[name].statuses()[0].probes
    kinds = (ProbeKind.LIVENESS, ProbeKind.READINESS)
    return min(probes[kind].consecutive_successes for kind in kinds)


@pytest.mark.parametrize("path", ["/small", "/large"])
async def test_probes_leave_no_traceback_in_the_log_of_http_server(
    tmp_path: Path, path: str
) -> None:
    (tmp_path / "small").write_text("well")
    (tmp_path / "large").write_bytes(b"x" * 500_000)  # of which 10 KiB are read
    spec = service(
        "web",
        command=[sys.executable, "-um", "http.server", "$(PORT)", "--bind", "127.0.0.1"],
        cwd=str(tmp_path),
        ports={"http": 0},
        startup=SLOW_START,
        liveness={"http": {"path": path}, **PACE},
        readiness={"tcp": {}, **PACE},
    )
    log = await log_after_probing(tmp_path, spec)
    assert log.count(f"GET {path}") >= ASKED
    assert "Traceback" not in log
    assert "Error" not in log


@pytest.mark.real
@needs("nginx")
async def test_probes_leave_no_error_in_the_log_of_nginx(tmp_path: Path) -> None:
    template = NGINX.replace("error_log stderr", "error_log stderr info")
    (tmp_path / "nginx.conf").write_text(template.replace("DIRECTORY", str(tmp_path)))
    start = 'sed -i "s,NUMBER,$PORT," "$0/nginx.conf"; exec nginx -c "$0/nginx.conf" -e stderr'
    spec = service(
        "nginx",
        command=["sh", "-c", start, str(tmp_path)],
        ports={"http": 0},
        startup=SLOW_START,
        liveness={"http": {}, **PACE},
        readiness={"tcp": {}, **PACE},
    )
    log = await log_after_probing(tmp_path, spec)
    assert "reset by peer" not in log
    assert "[error]" not in log


@pytest.mark.real
@needs("redis-server")
async def test_probes_leave_no_error_in_the_log_of_redis(tmp_path: Path) -> None:
    options = ["--bind", "127.0.0.1", "--save", "", "--loglevel", "verbose"]
    spec = service(
        "redis",
        command=["redis-server", "--port", "$(PORT)", *options],
        ports={"redis": 0},
        cwd=str(tmp_path),
        startup=SLOW_START,
        liveness={"tcp": {}, **PACE},
        readiness={"tcp": {}, **PACE},
    )
    log = await log_after_probing(tmp_path, spec)
    assert log.count("Client closed connection") >= ASKED
    assert "Error reading" not in log


@pytest.mark.real
@pytest.mark.needs_root
@pytest.mark.skipif(POSTGRES is None, reason="postgresql is not installed")
async def test_probes_leave_no_error_in_the_log_of_postgres(tmp_path: Path) -> None:
    home, env = postgres_home(tmp_path)
    spec = service(
        "postgres",
        command=["sh", "-c", postgres_after("0"), str(home)],
        env=env,
        user="postgres",
        cwd=str(home),
        ports={"sql": 0},
        stop={"signal": "INT"},
        startup=SLOW_START,
        liveness={"tcp": {}, **PACE},
        readiness={"tcp": {}, **PACE},
    )
    log = await log_after_probing(tmp_path, spec)
    assert "ready to accept connections" in log
    assert "could not receive data" not in log
    assert "reset by peer" not in log
