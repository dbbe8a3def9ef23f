"""The scenarios on real servers: nginx, redis and postgres from Debian, as process tasks."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import yaml

from warren import open_supervisor
from warren.manifest.service_file import load_text
from warren.model.check import Result, Sample
from warren.model.event import EventKind, TaskEvent
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.model.task import Reason, TaskStatus
from warren.wiring.supervisor import Supervisor

PATIENCE = 20.0
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None)

APP = """
import http.server, os, pathlib, sys

class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = pathlib.Path(sys.argv[1])
        self.send_response(int(answer.read_text()))
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""

NGINX = """
daemon off;
pid DIRECTORY/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path DIRECTORY/body;
    proxy_temp_path DIRECTORY/proxy;
    fastcgi_temp_path DIRECTORY/fastcgi;
    uwsgi_temp_path DIRECTORY/uwsgi;
    scgi_temp_path DIRECTORY/scgi;
    server { listen 127.0.0.1:NUMBER; location / { return 200 "well"; } }
}
"""


def needs(program: str) -> pytest.MarkDecorator:
    """A visible skip where Debian's package is not installed."""
    found = shutil.which(program, path=SBIN)
    return pytest.mark.skipif(found is None, reason=f"{program} is not installed")


@dataclass
class Scene:
    """A real supervisor and what it has told."""

    supervisor: Supervisor
    told: list[tuple[TaskStatus, TaskEvent]] = field(
        default_factory=list[tuple[TaskStatus, TaskEvent]]
    )
    _news: trio.Event = field(default_factory=trio.Event)

    def publish(self, status: TaskStatus, event: TaskEvent) -> None:
        """Note a transition."""
        self.told.append((status, event))
        self._news.set()
        self._news = trio.Event()

    def of(self, kind: EventKind) -> list[tuple[TaskStatus, TaskEvent]]:
        """The transitions of a kind."""
        return [(status, event) for status, event in self.told if event.kind is kind]

    async def samples(self, name: str, kind: ProbeKind) -> list[Sample]:
        """The kept outcomes of a probe of every task of a service."""
        found = list[Sample]()
        for status in self.supervisor.services[name].statuses():
            found += (await self.supervisor.cluster.task(status.id)).samples.get(kind, ())
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a transition after which the condition holds."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await self._news.wait()


@asynccontextmanager
async def scene(directory: Path) -> AsyncGenerator[Scene, None]:
    stage: list[Scene] = []
    async with open_supervisor(
        data_dir=directory / "data", publish=lambda status, event: stage[0].publish(status, event)
    ) as supervisor:
        stage.append(Scene(supervisor))
        yield stage[0]


def service(name: str, **fields: object) -> ServiceSpec:
    return load_text(yaml.safe_dump({"services": {name: {"env": {"PATH": SBIN}, **fields}}}))[0]


def passes(stage: Scene, name: str) -> int:
    """How many liveness passes in a row every task of the service has at least."""
    statuses = stage.supervisor.services[name].statuses()
    return min(s.probes[ProbeKind.LIVENESS].consecutive_successes for s in statuses)


@pytest.mark.real
@needs("nginx")
async def test_nginx_three_replicas_stay_healthy_over_twenty_intervals(tmp_path: Path) -> None:
    template = tmp_path / "nginx.conf"
    template.write_text(NGINX)
    start = (
        'd="$0/$WARREN_INSTANCE"; mkdir "$d";'
        ' sed "s,DIRECTORY,$d,; s,NUMBER,$PORT," "$0/nginx.conf" > "$d/nginx.conf";'
        ' exec nginx -p "$d" -c "$d/nginx.conf" -e stderr'
    )
    spec = service(
        "nginx",
        command=["sh", "-c", start, str(tmp_path)],
        replicas=3,
        ports={"http": 0},
        stop={"signal": "QUIT"},
        health={"http": {"path": "/", "port": "http"}, "interval": "100ms", "timeout": "1s"},
    )
    async with scene(tmp_path) as stage:
        nginx = await stage.supervisor.start(spec)
        with trio.fail_after(PATIENCE):
            await nginx.wait_ready()
            assert str(nginx.health()) == "3/3 healthy"
            while passes(stage, "nginx") < 20:  # noqa: ASYNC110
                await trio.sleep(0.05)  # outcomes wake nobody: only transitions do
        assert str(nginx.health()) == "3/3 healthy"
        assert [status.restarts for status in nginx.statuses()] == [0, 0, 0]
        outcomes = [one.outcome for one in await stage.samples("nginx", ProbeKind.LIVENESS)]
        assert {outcome.result for outcome in outcomes} == {Result.PASS}
        assert EventKind.UNREADY not in {event.kind for _, event in stage.told}


async def test_app_answering_500_is_restarted_after_exactly_retries_failures(
    tmp_path: Path,
) -> None:
    answer = tmp_path / "answer"
    answer.write_text("500")
    (tmp_path / "app.py").write_text(APP)
    requests_until_verdict = 3
    spec = service(
        "app",
        command=[sys.executable, str(tmp_path / "app.py"), str(answer)],
        replicas=2,
        ports={"http": 0},
        startup={"tcp": {"port": "http"}, "interval": "100ms", "retries": 300},
        liveness={"http": {"port": "http"}, "interval": "200ms", "retries": 3},
        readiness={"http": {"port": "http"}, "interval": "200ms"},
        restart={"max_attempts": 100},
    )
    async with scene(tmp_path) as stage:
        app = await stage.supervisor.start(spec)
        await stage.until(lambda: len(stage.of(EventKind.PROBE_FAILED)) >= 2)
        for status, event in stage.of(EventKind.PROBE_FAILED)[:2]:
            probe = status.probes[ProbeKind.LIVENESS]
            assert probe.consecutive_failures == requests_until_verdict
            assert "500" in event.message
        await stage.until(lambda: str(app.health()) == "0/2 healthy, 2/2 restarting")
        end = app.statuses()[0].last_end
        assert end is not None
        assert end.reason is Reason.PROBE_FAILED
        answer.write_text("200")
        await stage.until(lambda: str(app.health()) == "2/2 healthy")


@pytest.mark.real
@needs("redis-server")
async def test_redis_is_ready_by_tcp_and_restarted_when_killed(tmp_path: Path) -> None:
    command = ["redis-server", "--port", "$(PORT)", "--bind", "127.0.0.1", "--save", ""]
    probe = {"tcp": {"port": "redis"}, "interval": "200ms"}
    spec = service("redis", command=command, ports={"redis": 0}, cwd=str(tmp_path), health=probe)
    async with scene(tmp_path) as stage:
        redis = await stage.supervisor.start(spec)
        with trio.fail_after(PATIENCE):
            await redis.wait_ready()
        first = redis.statuses()[0].instance
        assert first is not None
        assert first.pid is not None
        os.kill(first.pid, 9)
        await stage.until(lambda: len(stage.of(EventKind.READY)) == 2)
        again = redis.statuses()[0].instance
        assert again is not None
        assert again.pid != first.pid
        assert again.ports == first.ports  # S23
        end = redis.statuses()[0].last_end
        assert end is not None
        assert end.message == "killed by SIGKILL"  # S18


@pytest.mark.real
@pytest.mark.needs_root
@pytest.mark.skipif(POSTGRES is None, reason="postgresql is not installed")
async def test_postgres_slow_start_is_never_punished(tmp_path: Path) -> None:
    home, env = postgres_home(tmp_path)
    is_ready = ["pg_isready", "-h", "127.0.0.1", "-p", "$(PORT)", "-U", "postgres"]
    spec = service(
        "postgres",
        command=["sh", "-c", postgres_after("2"), str(home)],
        env=env,
        user="postgres",
        cwd=str(home),
        ports={"sql": 0},
        stop={"signal": "INT"},
        health={
            "exec": {"command": is_ready},
            "interval": "500ms",
            "fast_interval": "100ms",
            "timeout": "5s",
            "retries": 1,
            "start_period": "60s",
        },
    )
    async with scene(tmp_path) as stage:
        postgres = await stage.supervisor.start(spec)
        with trio.fail_after(PATIENCE):
            await postgres.wait_ready()
        status = postgres.statuses()[0]
        assert status.restarts == 0
        samples = await stage.samples("postgres", ProbeKind.LIVENESS)
        assert Result.FAIL in {sample.outcome.result for sample in samples}
        assert status.instance is not None
        assert os.stat(f"/proc/{status.instance.pid}").st_uid == home.stat().st_uid  # noqa: PTH116
        with trio.fail_after(PATIENCE):
            while passes(stage, "postgres") < 3:  # noqa: ASYNC110
                await trio.sleep(0.05)  # outcomes wake nobody: only transitions do
        assert str(postgres.health()) == "1/1 healthy"
        assert stage.of(EventKind.RESTARTING) == []


async def test_startup_probe_holds_back_liveness(tmp_path: Path) -> None:
    answer, gate = tmp_path / "answer", tmp_path / "gate"
    answer.write_text("500")
    (tmp_path / "app.py").write_text(APP)
    spec = service(
        "slow",
        command=[sys.executable, str(tmp_path / "app.py"), str(answer)],
        ports={"http": 0},
        startup={
            "exec": {"command": ["test", "-e", str(gate)]},
            "interval": "100ms",
            "retries": 1000,
        },
        liveness={"http": {"port": "http"}, "interval": "100ms", "retries": 1},
    )
    async with scene(tmp_path) as stage:
        slow = await stage.supervisor.start(spec)
        with trio.fail_after(PATIENCE):
            while len(await stage.samples("slow", ProbeKind.STARTUP)) < 5:  # noqa: ASYNC110
                await trio.sleep(0.05)  # outcomes wake nobody: only transitions do
        status = slow.statuses()[0]
        assert status.probes[ProbeKind.STARTUP].verdict is Verdict.UNKNOWN  # S4
        assert await stage.samples("slow", ProbeKind.LIVENESS) == []  # S5
        assert status.restarts == 0
        answer.write_text("200")
        gate.touch()
        with trio.fail_after(PATIENCE):
            await slow.wait_ready()
        answer.write_text("500")
        await stage.until(lambda: bool(stage.of(EventKind.PROBE_FAILED)))


async def test_readiness_failure_keeps_the_pid_and_the_task_comes_back(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("200")
    (tmp_path / "app.py").write_text(APP)
    spec = service(
        "app",
        command=[sys.executable, str(tmp_path / "app.py"), str(answer)],
        ports={"http": 0},
        readiness={"http": {"port": "http"}, "interval": "100ms", "retries": 2},
    )
    async with scene(tmp_path) as stage:
        app = await stage.supervisor.start(spec)
        with trio.fail_after(PATIENCE):
            await app.wait_ready()
        before = app.statuses()[0].instance
        answer.write_text("503")
        await stage.until(lambda: str(app.health()) == "0/1 healthy")
        answer.write_text("200")
        await stage.until(lambda: str(app.health()) == "1/1 healthy")
        assert app.statuses()[0].instance == before
        assert [event.kind for _, event in stage.told] == [
            EventKind.STARTED,
            EventKind.READY,
            EventKind.UNREADY,
            EventKind.READY,
        ]


def postgres_home(directory: Path) -> tuple[Path, dict[str, str]]:
    """A directory that is the postgres user's, and the environment for its programs there."""
    assert POSTGRES is not None
    owner = pwd.getpwnam("postgres")
    home = directory / "pg"
    home.mkdir()
    os.chown(home, owner.pw_uid, owner.pw_gid)
    open_the_way(home)
    return home, {"PATH": f"{POSTGRES.parent}:{SBIN}", "HOME": str(home), "LANG": "C"}


def postgres_after(pause: str) -> str:
    """The script that makes a database in its directory `$0` and runs it so many seconds later."""
    return (
        f'initdb -D "$0/db" -A trust >/dev/null && sleep {pause} &&'
        ' exec postgres -D "$0/db" -p "$PORT" -k "$0" -c listen_addresses=127.0.0.1'
    )


def open_the_way(directory: Path) -> None:
    """Let other users reach a directory of pytest's."""
    for parent in directory.parents:
        if parent.owner() == pwd.getpwuid(os.geteuid()).pw_name and parent != Path("/"):
            mode = parent.stat().st_mode
            if not mode & stat.S_IXOTH:
                parent.chmod(mode | stat.S_IXOTH)
