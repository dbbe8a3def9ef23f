"""The scenarios as a user types them: `warren service create ...` to a real `warren up`."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from support_cluster import Place, Shape, cleared, pids_of
from support_up import Command, unique, wait_until
from test_scenarios_servers import APP, NGINX, POSTGRES, SBIN, needs, postgres_after, postgres_home

REDIS = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--port"]
PATH = ["--env", f"PATH={SBIN}"]


@pytest.fixture
def place(tmp_path: Path) -> Generator[Place, None, None]:
    with cleared(Place(tmp_path)) as found:
        yield found


@pytest.fixture
def up(place: Place) -> Generator[Command, None, None]:
    with place.up() as command:
        yield command


def successes(tasks: list[Shape]) -> int:
    """How many liveness passes in a row each has at least."""
    return min(task["probes"]["liveness"]["consecutive_successes"] for task in tasks)


@pytest.mark.real
@needs("nginx")
def test_nginx_three_replicas_stay_healthy_over_twenty_intervals(
    tmp_path: Path, place: Place, up: Command
) -> None:
    (tmp_path / "nginx.conf").write_text(NGINX)
    start = (
        'd="$0/$WARREN_INSTANCE"; mkdir "$d";'
        ' sed "s,DIRECTORY,$d,; s,NUMBER,$PORT," "$0/nginx.conf" > "$d/nginx.conf";'
        ' exec nginx -p "$d" -c "$d/nginx.conf" -e stderr'
    )
    said = place.ask(
        "service", "create", "nginx", "--replicas", "3", "--port", "http", *PATH,
        "--stop-signal", "QUIT", "--health-http", "path=/,port=http",
        "--health-interval", "100ms", "--health-timeout", "2s", "--health-retries", "3",
        "--wait", "--", "sh", "-c", start, tmp_path,
    )  # fmt: skip
    assert said.splitlines()[-1] == "nginx: 3/3 healthy"
    assert "Health: 3/3 healthy" in place.ask("service", "inspect", "nginx").splitlines()
    place.wait_tasks("nginx", lambda tasks: successes(tasks) > 20, "20 intervals")
    shown = place.inspect("nginx")
    assert shown["health"] == {
        "healthy": 3,
        "total": 3,
        "restarting": 0,
        "complete": 0,
        "failed": 0,
        "stale": 0,
    }
    assert [task["restarts"] for task in shown["tasks"]] == [0, 0, 0]
    assert [task["last_end"] for task in shown["tasks"]] == [None] * 3
    assert len({task["instance"]["ports"]["http"] for task in shown["tasks"]}) == 3
    assert "unready" not in {event["kind"] for event in place.events()}


@pytest.mark.real
@needs("redis-server")
def test_redis_is_healthy_by_tcp_and_restarted_when_killed(
    tmp_path: Path, place: Place, up: Command
) -> None:
    port = str(free_port())
    place.ask(
        "service", "create", "redis", "--port", f"redis={port}", "--cwd", tmp_path, *PATH,
        "--health-tcp", f"port={port}", "--health-interval", "200ms", "--wait", "--", *REDIS, port,
    )  # fmt: skip
    (before,) = place.tasks("redis")
    assert before["instance"]["ports"] == {"redis": int(port)}
    os.kill(before["instance"]["pid"], signal.SIGKILL)

    def is_back(tasks: list[Shape]) -> bool:
        return [(task["restarts"], task["ready"]) for task in tasks] == [(1, True)]

    (after,) = place.wait_tasks("redis", is_back, "restarted")
    assert after["id"] == before["id"]
    assert after["instance"]["pid"] != before["instance"]["pid"]
    assert after["last_end"]["reason"] == "signaled"
    inspected = place.ask("service", "inspect", "redis")
    assert "Health: 1/1 healthy" in inspected.splitlines()
    assert "killed by SIGKILL" in inspected  # S18


@pytest.mark.real
@pytest.mark.needs_root
@pytest.mark.skipif(POSTGRES is None, reason="postgresql is not installed")
def test_postgres_slow_start_is_never_punished(tmp_path: Path, place: Place, up: Command) -> None:
    home, env = postgres_home(tmp_path)
    place.ask(
        "service", "create", "postgres", "--port", "sql", "--user", "postgres", "--cwd", home,
        *(word for name, value in env.items() for word in ("--env", f"{name}={value}")),
        "--health-cmd", "pg_isready -U postgres -h 127.0.0.1 -p $(PORT)", "--stop-signal", "INT",
        "--health-interval", "200ms", "--health-retries", "1", "--health-start-period", "60s",
        "--wait", "--", "sh", "-c", postgres_after("1.5"), home,
    )  # fmt: skip
    (task,) = place.wait_tasks("postgres", lambda tasks: successes(tasks) > 3, "it goes on")
    assert (task["ready"], task["restarts"], task["last_end"]) == (True, 0, None)
    asked = place.ask("task", "inspect", task["id"])
    assert "fail" in asked  # it was asked before it was ready, and not punished
    assert os.stat(f"/proc/{task['instance']['pid']}").st_uid == home.stat().st_uid  # noqa: PTH116
    assert "Health: 1/1 healthy" in place.ask("service", "inspect", "postgres").splitlines()


def test_app_answering_500_is_restarted_and_says_why(
    tmp_path: Path, place: Place, up: Command
) -> None:
    (tmp_path / "answer").write_text("500")
    (tmp_path / "app.py").write_text("print('app up', flush=True)\n" + APP)
    place.ask(
        "service", "create", "app", "--replicas", "2", "--port", "http", "--max-attempts", "3",
        "--health-http", "path=/,port=http", "--health-interval", "400ms", "--health-retries", "3",
        "--", sys.executable, tmp_path / "app.py", tmp_path / "answer",
    )  # fmt: skip
    wanted = "Health: 0/2 healthy, 2/2 restarting"
    wait_until(
        lambda: wanted in place.ask("service", "inspect", "app").splitlines(), "both restart"
    )
    shown = place.inspect("app")
    assert shown["health"] == {
        "healthy": 0,
        "total": 2,
        "restarting": 2,
        "complete": 0,
        "failed": 0,
        "stale": 0,
    }
    for task in shown["tasks"]:
        assert task["last_end"]["reason"] == "probe failed"
        assert "HTTP 500" in task["last_end"]["message"]
    assert "app.1 | app up" in place.ask("service", "logs", "app").splitlines()
    failures = [event for event in place.events() if event["kind"] == "probe failed"]
    assert {event["subject"][:5] for event in failures} == {"app.1", "app.2"}
    assert all("HTTP 500" in event["message"] for event in failures)
    assert "liveness probe failed 3 times: HTTP 500" in place.ask("events", "--since", "1h")
    (tmp_path / "answer").write_text("200")
    place.wait_ready("app", 2)
    assert "Health: 2/2 healthy" in place.ask("service", "inspect", "app").splitlines()


def test_scale_update_restart_and_removal_of_a_service(place: Place, up: Command) -> None:
    name = unique("life")
    probe = ["--readiness-cmd", "test $(PORT) -gt 0", "--readiness-interval", "100ms"]
    place.ask(
        "service", "create", name, "--replicas", "2", "--port", "p", *probe, "--wait",
        "--", "sleep", "1000",
    )  # fmt: skip
    first = pids_of(place.wait_ready(name, 2))
    place.ask("service", "scale", name, "3", "--wait")
    scaled = pids_of(place.wait_ready(name, 3))
    assert scaled[:2] == first  # none is touched that need not be
    place.ask("service", "update", name, "--env", "A=1", "--wait")
    place.ask("service", "restart", name, "--wait")
    last = pids_of(place.wait_ready(name, 3))
    assert not {*first, *scaled} & {*last}
    assert sorted(place.pids(name)) == sorted(last)
    assert rolling_violations(place.events(), name) == []
    place.ask("service", "scale", name, "1", "--wait")
    place.wait_ready(name, 1)
    assert place.ask("service", "rm", name)
    assert place.pids() == {}
    assert [path for path in (place.data / "logs").rglob("*") if name in str(path)] == []
    assert place.ask("service", "inspect", name, status=3)
    kept = place.rows_with(name)
    assert [*kept] == ["numbers", "events"]
    assert "'removed'" in kept["events"][-1]  # they stay their thirty days


def rolling_violations(events: list[Shape], name: str) -> list[str]:
    """Where a task of three began to stop while another was not ready."""
    ready = set[str]()
    found = list[str]()
    replaced = 0
    for event in events:
        if event["kind"] == "ready" and event["subject"].startswith(name):
            ready.add(event["subject"])
        if event["kind"] == "stopping" and replaced < 6:
            replaced += 1
            if len(ready) != 3:
                found.append(f"{event['subject']} is stopped while ready are {sorted(ready)}")
            ready.discard(event["subject"])
    return found if replaced == 6 else [f"{replaced} of 6 were replaced"]


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]
