"""The commands with a real `warren up`: over its death, on a terminal, and where nobody reads."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support_up import Command, marked, run, unique, unmeasured, wait_until

COUNTING = (
    "trap '' HUP; i=0; while :; do i=$((i+1)); echo $WARREN_TASK $i; sleep 0.02; done"  # a line
)
LEAN = ("trio", "capnp", "yaml", "msgspec", "httpx", "sqlite3", "asyncio", "ssl")


@pytest.fixture
def env(data: Path) -> dict[str, str]:
    return {"WARREN_DATA_DIR": str(data), "WARREN_ADDR": ""}


@pytest.fixture
def up(env: dict[str, str], tmp_path: Path) -> Generator[Command, None, None]:
    with started(env, tmp_path) as command:
        yield command


@contextmanager
def started(env: dict[str, str], folder: Path) -> Generator[Command, None, None]:
    """A manager and a node, that answer."""
    with Command("up", "--plain", "--name", "n1", cwd=folder, env=env) as command:
        # Not `status`: on a busy machine there is something to tell of, and it ends with 1.
        wait_until(lambda: "\nn1    ready  " in run("node", "ls", env=env).stdout, "up answers")
        yield command


def test_following_survives_kill_9_of_the_manager_with_nothing_lost_or_doubled(
    env: dict[str, str], tmp_path: Path, up: Command
) -> None:  # S21, S22
    name = unique("count")
    asked = ["--replicas", "2", "--wait", "--", "sh", "-c", COUNTING]
    assert run("service", "create", name, *asked, env=env).returncode == 0
    with (
        Command("service", "logs", name, "--follow", env=env) as logs,
        Command("events", "--follow", "--since", "1h", "--json", env=env) as events,
    ):
        logs.read_until(lambda line: line.startswith(f"{name}.2 | "))
        events.read_until('"ready"')
        up.send(signal.SIGKILL)
        up.process.wait(10)
        wait_until(
            lambda: "trying again" in logs.errors and "trying again" in events.errors, "lost"
        )
        with started(env, tmp_path):
            wait_until(lambda: "is back" in logs.errors and "is back" in events.errors, "back")
            assert run("service", "restart", name, "--wait", env=env).returncode == 0
            for slot in (1, 2):
                logs.read_until(f"{name}.{slot}#2 ")
            events.read_until('"restarted"')
            for follower in (logs, events):
                follower.send(signal.SIGINT)
                assert follower.wait() == 130, follower.errors
                assert "Traceback" not in follower.errors
            assert run("service", "rm", name, env=env).returncode == 0
    assert not marked(name)
    numbers = [json.loads(line)["seq"] for line in events.lines]
    assert numbers == [*range(numbers[0], numbers[-1] + 1)]
    said = [line for line in logs.lines if " --- " not in line]  # but where an instance begins
    words = [line.split(" | ")[1].split() for line in said]
    for task in (f"{name}.{slot}#{number}" for slot in (1, 2) for number in (1, 2)):
        counted = [int(number) for of, number in words if of == task]
        assert counted == [*range(1, len(counted) + 1)], task
        assert counted


def test_waiting_survives_kill_9_of_the_manager(
    env: dict[str, str], tmp_path: Path, up: Command
) -> None:
    flag = tmp_path / "flag"
    probe = ["--health-cmd", f"test -e {flag}", "--health-interval", "100ms", "--health-retries"]
    asked = [*probe, "1000", "--wait", "--", "sleep", "1000"]
    name = unique("wait")
    with Command("service", "create", name, *asked, env=env) as waiting:
        waiting.read_until("created")
        wait_until(lambda: "waiting for" in waiting.errors, "it waits")
        up.send(signal.SIGKILL)
        up.process.wait(10)
        wait_until(lambda: "trying again" in waiting.errors, "lost")
        with started(env, tmp_path):
            flag.touch()
            waiting.read_until("1/1 healthy")
            assert waiting.wait() == 0


def test_what_inspect_shows_is_the_spec_a_file_can_have(
    env: dict[str, str], tmp_path: Path, up: Command
) -> None:
    flags = [
        "--replicas=2", "--env=A=no", "--env=B= x", "--port=http", "--stop-grace=1.5s", "--cwd=.",
        r"--readiness-http=path=/a\,b=1,port=http,header=X-A:1,2,status=200-499", "--user=0",
        "--startup-cmd=sh -c 'exit 0'", "--liveness-tcp=http", "--max-attempts=9",
    ]  # fmt: skip
    asked = run("service", "create", "web", *flags, "--", "sleep", "1000", env=env, cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr
    shown = json.loads(run("service", "inspect", "web", "--json", env=env).stdout)
    file = tmp_path / "again.yaml"
    file.write_text(json.dumps({"services": {"web": shown["spec"]}}), encoding="utf-8")
    again = run("apply", "-f", file, "--json", env=env)
    assert json.loads(again.stdout) == [{"service": "web", "action": "unchanged"}]


def test_a_reader_that_has_had_enough_is_no_error(env: dict[str, str], up: Command) -> None:
    assert run("service", "create", "web", "--wait", "--", "yes", env=env).returncode == 0
    for asked in (
        ["service", "logs", "web"],
        ["task", "logs", "web.1#1", "--follow"],
        ["events", "--follow", "--since", "1h"],  # after which nothing comes
    ):
        with Command(*asked, env=env) as reading:
            reading.read_until("y")
            reading.close_output()
            assert reading.process.wait(20) == 0
            assert reading.errors == ""


def test_output_that_cannot_be_written_is_told(env: dict[str, str], up: Command) -> None:
    command = [sys.executable, "-m", "warren", "service", "ls"]
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
        )
    assert (told.returncode, told.stderr) == (1, "warren: output: No space left on device\n")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_are_no_trouble(env: dict[str, str], up: Command, closed: str) -> None:
    script = f'"{sys.executable}" -m warren service ls {closed}'
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, env={**os.environ, **env}
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout in ("", "NAME  HEALTH  RUNS\n")


def test_a_wait_rewrites_one_line_of_a_terminal(env: dict[str, str], up: Command) -> None:
    theirs, ours = os.openpty()
    words = ["service", "create", "web", "--replicas=2", "--health-cmd=sleep 0.3"]
    words += ["--health-interval=200ms", "--wait", "--", "sleep", "1000"]
    with os.fdopen(theirs, "rb", 0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "warren", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=ours, text=True,
            env={**os.environ, **env, "TERM": "xterm"},
        )  # fmt: skip
        os.close(ours)
        out, _ = process.communicate(timeout=30)
        shown = b""
        while select.select([screen], [], [], 0)[0]:
            try:
                shown += screen.read(65536)
            except OSError:  # the other end is closed
                break
    assert process.returncode == 0
    assert out == "web: created\nweb: 2/2 healthy\n"
    first, *rewritten, last = shown.decode().split("\r\x1b[K")
    assert (first, last) == ("", "")  # wiped at the end
    assert rewritten
    assert all(line.startswith("web: ") and "\n" not in line for line in rewritten)


def test_help_loads_nothing_it_does_not_need(tmp_path: Path) -> None:
    for words in (["--help"], ["service", "--help"], ["service", "create", "--help"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "warren", *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=unmeasured(),
        )
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        lean = LEAN if words[-2:] != ["create", "--help"] else ("trio", "capnp", "yaml", "httpx")
        assert "cyclopts" in loaded
        assert loaded.isdisjoint(lean), words


def test_a_read_loads_nothing_it_does_not_need(env: dict[str, str], up: Command) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "warren", "service", "ls"],
        capture_output=True,
        text=True,
        check=True,
        env={**unmeasured(), **env},
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"trio", "capnp"} <= loaded
    assert loaded.isdisjoint({"yaml", "rich", "httpx", "sqlite3", "warren.wiring.parts"})
