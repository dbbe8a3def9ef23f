"""`warren up` for real: processes, signals and output as a user has them."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from support_up import TRAPPING, Command, marked, run, unique, up, wait_until, write_services

from tests.cli.fake_cluster import FakeCluster
from tests.store.staterows import SPEC
from warren.cli.live.watch import is_over
from warren.manager.program import open_manager
from warren.model.service import Condition, Restart
from warren.model.task import Phase
from warren.node.program import Node
from warren.store.state import StateStore
from warren.wiring.callers import Callers
from warren.wiring.up import Up
from warren.wiring.up_file import UpFile

APP = Path(__file__).parent.parent.parent / "examples" / "app.py"
HTTP = {"http": {"path": "/healthz"}, "interval": "200ms", "timeout": "5s"}


def serving(replicas: int = 1, *arguments: str) -> dict[str, object]:
    return {
        "command": [sys.executable, str(APP), *arguments],
        "replicas": replicas,
        "ports": {"http": 0},
        "readiness": HTTP,
    }


def test_up_tells_of_every_transition_and_the_health_of_services(file: Path, data: Path) -> None:
    web = unique("web")
    write_services(file, {web: serving(3)})
    with up(file, data) as command:
        line = command.read_until("3/3 healthy")
        assert re.fullmatch(rf"\d\d:\d\d:\d\d {web}: 3/3 healthy", line)
        for slot in (1, 2, 3):
            started = rf"\d\d:\d\d:\d\d {web}\.{slot}#1 started, pid \d+"
            ready = rf"\d\d:\d\d:\d\d {web}\.{slot}#1 ready"
            for wanted in (started, ready):
                assert any(re.fullmatch(wanted, line) for line in command.lines), wanted
        command.send(signal.SIGINT)
        assert command.wait() == 0
        assert any("stopping 3 tasks, Ctrl-C again forces" in line for line in command.lines)
        assert any(line.endswith(f"{web}.2#1 stopped: the supervisor shuts down")
                   for line in command.lines)  # fmt: skip
        assert command.errors == ""
    assert marked(web) == {}


def test_up_says_why_a_failing_service_restarts(file: Path, data: Path) -> None:
    flaky = unique("flaky")
    liveness: dict[str, object] = {"http": {}, "interval": "50ms", "retries": 2, "timeout": "5s"}
    startup: dict[str, object] = {
        "tcp": {},
        "interval": "50ms",
        "retries": 400,
    }  # however slow the machine is
    spec: dict[str, object] = {**serving(1, "1"), "startup": startup, "liveness": liveness}
    spec["restart"] = {"delay": "9m", "max_delay": "10m"}
    del spec["readiness"]
    write_services(file, {flaky: spec})
    with up(file, data) as command:
        command.read_until(f"{flaky}: 1/1 healthy")
        command.read_until("liveness probe failed 2 times: HTTP 500 Broken, want 200-399")
        command.read_until("restarting: liveness probe failed 2 times")
        command.read_until(f"{flaky}.1#1 ready")
        command.read_until(lambda line: re.search(r"restarting in \d", line) is not None)
        command.wait_for(f"{flaky}: 0/1 healthy, 1/1 restarting")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_leaves_nothing_behind_after_a_signal(file: Path, data: Path, number: int) -> None:
    name = unique("family")
    script = "(setsid sleep 1000 &) ; sleep 1000 & echo up; sleep 1000"
    write_services(file, {name: {"command": ["sh", "-c", script], "replicas": 2}})
    with up(file, data) as command:
        command.read_until(f"{name}: 2/2 healthy")
        wait_until(lambda: len(marked(name)) >= 8, "both families are there")
        command.send(number)
        assert command.wait() == 0
    assert marked(name) == {}


def test_up_is_forced_by_a_second_signal(file: Path, data: Path) -> None:
    name = unique("stubborn")
    spec = {"command": ["sh", "-c", TRAPPING], "stop": {"grace": "10m"}}
    write_services(file, {name: spec})
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        log = data / "logs"
        wait_until(
            lambda: any(b"trapping" in p.read_bytes() for p in log.rglob("*") if p.is_file()),
            "it ignores TERM",
        )
        command.send(signal.SIGINT)
        command.read_until("stopping 1 task, Ctrl-C again forces")
        command.read_until(f"{name}.1#1 stopping")
        assert marked(name)
        command.send(signal.SIGINT)
        assert command.wait() == 128 + signal.SIGINT
    assert marked(name) == {}


def test_up_does_not_take_a_second_hangup_for_force(file: Path, data: Path) -> None:
    name = unique("patient")
    script = "trap 'sleep 0.3; exit 0' TERM; echo; while :; do sleep 0.05; done"
    write_services(file, {name: {"command": ["sh", "-c", script]}})
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        command.send(signal.SIGTERM)
        command.read_until("stopping 1 task")
        command.send(signal.SIGHUP)
        assert command.wait() == 0


def test_up_adopts_what_a_killed_supervisor_left(file: Path, data: Path) -> None:
    web = unique("web")
    write_services(file, {web: serving(2)})
    with up(file, data) as command:
        command.read_until(f"{web}: 2/2 healthy")
        before = marked(web)
        command.send(signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL
    assert marked(web) == before
    with up(file, data) as command:
        command.read_until(f"{web}: 2/2 healthy")
        pids = {int(m[1]) for m in re.finditer(r"adopted, pid (\d+)", "\n".join(command.lines))}
        assert pids == set(before)
        assert marked(web) == before
        assert not any("started" in line for line in command.lines)
        command.send(signal.SIGTERM)
        assert command.wait() == 0
    assert marked(web) == {}


def test_up_tells_again_of_a_task_that_waits(file: Path, data: Path) -> None:
    name = unique("crash")
    restart = {"max_attempts": 1, "delay": "9m", "max_delay": "10m"}
    write_services(file, {name: {"command": ["sh", "-c", "exit 3"], "restart": restart}})
    said = rf"[\d:]{{8}} {name}\.1#\d+ pending: {name}\.1#\d+ failed; starts in \d+s"
    waits = re.compile(said)
    with up(file, data) as command:
        command.read_until(lambda line: waits.fullmatch(line) is not None)
        command.send(signal.SIGKILL)
        command.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        with up(file, data) as command:
            assert waits.fullmatch(command.read_until(f"{name}.1"))  # it is the first to be told of
            command.send(number)
            command.wait()


def test_up_stops_what_is_gone_from_the_file(file: Path, data: Path) -> None:
    kept, gone = unique("kept"), unique("gone")
    write_services(file, {kept: serving(2), gone: {"command": ["sleep", "1000"]}})
    with up(file, data) as command:
        command.read_until(f"{kept}: 2/2 healthy")
        wait_until(lambda: bool(marked(gone)), "gone runs")
        command.send(signal.SIGKILL)
        command.wait()
    write_services(file, {kept: serving(1)})
    try:
        with up(file, data) as command:
            command.read_until(f"{kept}: 1/1 healthy")
            wait_until(
                lambda: not marked(gone) and len(marked(kept)) == 1, "only one is left", seconds=5
            )
    finally:
        with up(file, data) as command:  # ends what no record knows of
            command.read_until(f"{kept}: 1/1 healthy")


def test_up_replaces_tasks_whose_spec_has_changed(file: Path, data: Path) -> None:
    name = unique("changed")
    write_services(file, {name: {"command": ["sleep", "1000"], "replicas": 2}})
    with up(file, data) as command:
        command.read_until(f"{name}: 2/2 healthy")
        command.send(signal.SIGKILL)
        command.wait()
    write_services(file, {name: {"command": ["sleep", "1001"], "replicas": 2}})
    with up(file, data) as command:
        command.read_until(f"{name}.1#1 stopping: the spec has changed")
        command.read_until(f"{name}.1#2 ready")
        command.read_until(f"{name}.2#1 stopping: the spec has changed")
        command.read_until(f"{name}.2#2 ready")
        assert [line.split()[-1] for line in marked(name).values()] == ["1001", "1001"]


def test_up_ends_when_all_services_have_ended(file: Path, data: Path) -> None:
    name = unique("job")
    spec = {"command": ["true", "$(PRT)"], "restart": {"condition": "on-failure"}, "replicas": 2}
    write_services(file, {name: spec})
    with up(file, data) as command:
        assert command.wait() == 0
        assert f"services.{name}.command: $(PRT): there is no such variable" in command.errors
        assert any(f"{name}.1#1 complete: " in line for line in command.lines)
        assert command.lines[-1].endswith(f" {name}: 2/2 complete")


def test_up_ends_with_one_when_a_service_has_failed(file: Path, data: Path) -> None:
    never = {"condition": "never"}
    good = {"command": ["true"], "restart": never}
    bad = {"command": ["sh", "-c", "exit 3"], "restart": never}
    write_services(file, {unique("good"): good, unique("bad"): bad})
    with up(file, data) as command:
        assert command.wait() == 1
        assert any("failed: exited with code 3" in line for line in command.lines)


def test_up_after_kill_9_tells_of_tasks_that_had_ended_and_runs_none_again(
    file: Path, data: Path
) -> None:
    good, bad, stays = unique("good"), unique("bad"), unique("stays")
    never = {"condition": "never"}
    write_services(
        file,
        {
            good: {"command": ["true"], "restart": never},
            bad: {"command": ["sh", "-c", "exit 3"], "restart": never},
            stays: {"command": ["sleep", "1000"]},
        },
    )
    with up(file, data) as command:
        command.wait_for(f"{good}.1#1 complete")
        command.wait_for(f"{bad}.1#1 failed")
        command.wait_for(f"{stays}: 1/1 healthy")
        command.send(signal.SIGKILL)
        command.wait()
    with up(file, data) as command:
        for said in (f"{stays}: 1/1 healthy", f"{good}: 1/1 complete", f"{bad}: 0/1 healthy"):
            command.wait_for(said)
        command.send(signal.SIGTERM)
        command.wait()
        command.read_to_end()
        told = "\n".join(command.lines)
    assert re.search(rf" {good}\.1#1 complete (now|\ds ago): exited with code 0$", told, re.M)
    assert re.search(rf" {bad}\.1#1 failed (now|\ds ago): exited with code 3$", told, re.M)
    assert "started" not in told


def test_up_runs_a_finished_job_again_as_a_new_task(file: Path, data: Path) -> None:
    name = unique("job")
    write_services(file, {name: {"command": ["true"], "restart": {"condition": "never"}}})
    for number in (1, 2, 3):
        done = run("up", file, "--data-dir", data)
        assert done.returncode == 0
        assert f" {name}.1#{number} complete: exited with code 0\n" in done.stdout
        if number > 1:
            said = (
                rf" {name}\.1#{number - 1} complete (now|\d+s ago): exited with code 0; runs again$"
            )
            assert re.search(said, done.stdout, re.M)
        assert "pending" not in done.stdout  # however often: nothing is held against it
        assert "stopped" not in done.stdout


def test_up_runs_a_finished_job_again_after_one_that_was_forced_to_end(
    file: Path, data: Path
) -> None:
    job, stubborn = unique("job"), unique("stubborn")
    bad = {"command": ["sh", "-c", "exit 4"], "restart": {"condition": "never"}}
    spec = {"command": ["sh", "-c", TRAPPING], "stop": {"grace": "10m"}}
    write_services(file, {job: bad, stubborn: spec})
    with up(file, data) as command:
        command.wait_for(f"{job}: 0/1 healthy, 1/1 failed")
        command.wait_for(f"{stubborn}: 1/1 healthy")
        log = data / "logs"
        wait_until(
            lambda: any(b"trapping" in p.read_bytes() for p in log.rglob("*") if p.is_file()),
            "it ignores TERM",
        )
        command.send(signal.SIGINT)
        command.read_until(f"{stubborn}.1#1 stopping")
        command.send(signal.SIGINT)
        assert command.wait() == 128 + signal.SIGINT
    write_services(file, {job: bad})
    done = run("up", file, "--data-dir", data)  # ends by itself once the other is removed
    assert done.returncode == 1
    assert f" {stubborn}: removed\n" in done.stdout
    assert f" {job}.1#2 failed: exited with code 4\n" in done.stdout


def test_up_that_cannot_note_its_end_stops_its_tasks_gently_and_says_so(
    file: Path, data: Path
) -> None:
    name = unique("sleeper")
    write_services(file, {name: {"command": ["sleep", "1000"]}})
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        (data / "up.json.new").mkdir()  # as good as a disk that takes nothing
        command.send(signal.SIGINT)
        assert command.wait() == 0
        assert f"{data / 'up.json'} cannot be written: Is a directory; the next" in command.errors
        assert command.lines[-1].endswith(f"{name}.1#1 stopped: the supervisor shuts down")
    assert not marked(name)


@pytest.mark.parametrize("with_a_job", [False, True])
def test_up_goes_on_where_the_rows_of_a_service_cannot_be_read(
    file: Path, data: Path, with_a_job: bool
) -> None:
    kept, job, later = unique("kept"), unique("job"), unique("later")
    sleeping = {"command": ["sleep", "1000"]}
    write_services(file, {kept: sleeping})
    with up(file, data) as command:
        command.read_until(f"{kept}: 1/1 healthy")
        command.send(signal.SIGKILL)
        command.wait()
    (before,) = marked(kept)
    with closing(sqlite3.connect(data / "manager.sqlite")) as database, database:
        database.execute("UPDATE services SET spec = '{'")
    once = {"command": ["true"], "restart": {"condition": "never"}}
    write_services(file, {kept: sleeping, **({job: once} if with_a_job else {})})
    with up(file, data) as command:
        if with_a_job:
            command.read_until(f"{job}: 1/1 complete")
        make = ("service", "create", later, "--data-dir", data, "--", "sleep", "1000")
        wait_until(lambda: run(*make).returncode == 0, "the manager answers")
        command.read_until(f"{later}: 1/1 healthy")
        assert list(marked(kept)) == [before]
        assert f"service {kept} is set aside" in command.errors
        command.send(signal.SIGINT)
        assert command.wait() == 0


def test_up_ends_when_the_last_of_its_services_is_removed(file: Path, data: Path) -> None:
    first, last = unique("first"), unique("last")
    write_services(file, {name: {"command": ["sleep", "1000"]} for name in (first, last)})
    with up(file, data) as command:
        for name in (first, last):
            command.wait_for(f"{name}: 1/1 healthy")
        assert run("service", "rm", first, "--data-dir", data).returncode == 0
        assert run("status", "--data-dir", data).returncode == 0  # there is another
        assert run("service", "rm", last, "--data-dir", data).returncode == 0
        assert command.wait() == 0
        assert any(f"{last}.1#1 stopped: " in line for line in command.lines)
    assert not marked(last)


def over(cluster: FakeCluster) -> bool:
    return is_over(cluster.rows, [task for row in cluster.rows.values() for task in row.tasks])


def test_up_is_not_over_while_a_service_has_no_replicas() -> None:
    cluster = FakeCluster()
    assert over(cluster)
    cluster.have(SPEC)
    cluster.put_task("web", 1, phase=Phase.COMPLETE)
    assert over(cluster)
    cluster.have(msgspec.structs.replace(SPEC, name="idle", replicas=0))
    assert not over(cluster)
    cluster.drop("idle")
    assert over(cluster)


@pytest.mark.parametrize(
    ("condition", "state", "is_last"),
    [
        ("never", {"phase": Phase.FAILED}, True),
        ("on-failure", {"phase": Phase.FAILED}, False),  # another follows
        ("never", {"phase": Phase.FAILED, "is_outdated": True}, False),
        ("never", {"phase": Phase.COMPLETE, "is_outdated": True}, False),
        ("never", {"phase": Phase.STOPPED}, False),
        ("never", {"phase": Phase.RUNNING}, False),
    ],
)
def test_up_is_over_when_no_task_follows(
    condition: str, state: dict[str, Any], is_last: bool
) -> None:
    cluster = FakeCluster()
    restart = Restart(condition=Condition(condition))
    cluster.have(msgspec.structs.replace(SPEC, restart=restart, replicas=2))
    cluster.put_task("web", 1, phase=Phase.COMPLETE)
    assert not over(cluster)  # a slot is empty
    cluster.put_task("web", 2, **state)
    assert over(cluster) is is_last


def test_up_goes_on_with_a_service_that_is_scaled_to_0(file: Path, data: Path) -> None:
    web = unique("web")
    write_services(file, {web: {"command": ["sleep", "1000"]}})
    with up(file, data) as command:
        command.wait_for(f"{web}: 1/1 healthy")
        assert run("service", "scale", web, "0", "--data-dir", data).returncode == 0
        command.wait_for(f"{web}.1#1 stopped: ")
        assert run("service", "scale", web, "1", "--data-dir", data).returncode == 0
        command.wait_for(f"{web}.1#2 ready")
        command.send(signal.SIGINT)
        assert command.wait() == 0


def test_up_whose_jobs_are_complete_takes_a_first_ctrl_c_for_no_force(
    file: Path, data: Path
) -> None:
    name, go = unique("job"), data.parent / "go"
    script = f"until [ -e {go} ]; do sleep 0.05; done"
    write_services(file, {name: {"command": ["sh", "-c", script],
                                 "restart": {"condition": "on-failure"}}})  # fmt: skip
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        with Command("events", "-n", "9", "--follow", "--data-dir", data) as follower:
            follower.read_until(f"{name}.1#1 ready")
            go.touch()
            follower.read_until(f"{name}.1#1 complete")
            command.send(signal.SIGINT)  # while followers are given the time to hear of it
            assert command.wait() == 0


def test_up_is_not_over_while_a_service_is_being_removed() -> None:
    cluster = FakeCluster()
    cluster.have(SPEC)
    cluster.put_task("web", 1, phase=Phase.COMPLETE)
    cluster.rows["web"] = msgspec.structs.replace(cluster.rows["web"], is_removing=True)
    assert not over(cluster)
    cluster.drop("web")
    assert over(cluster)


async def test_up_has_not_all_while_a_service_is_set_aside(tmp_path: Path) -> None:
    with closing(StateStore.open(None)) as store:
        async with open_manager(store, wall=lambda: 1e9) as manager:
            up = Up(manager, cast("Node", None), UpFile(manager, None, tmp_path), Callers(manager))
            assert up.has_all
            manager.commit_log.quarantine.add_service("web", "OverflowError")
            assert not up.has_all
            manager.commit_log.quarantine.release_service("web")
            assert up.has_all


def test_up_says_that_its_data_directory_is_in_use(file: Path, data: Path) -> None:
    name = unique("one")
    write_services(file, {name: {"command": ["sleep", "1000"]}})
    with up(file, data) as command:
        command.read_until(f"{name}: 1/1 healthy")
        second = run("up", file, "--data-dir", data)
        assert second.returncode == 1
        assert second.stderr == (
            f"warren: data directory {data} is in use by another warren manager, "
            f"pid {command.pid}; want another --data-dir\n"
        )
        assert second.stdout == ""


def test_up_finds_file_and_data_directory_by_itself(file: Path, data: Path) -> None:
    write_services(file, {unique("job"): {"command": ["true"], "restart": {"condition": "never"}}})
    done = run("up", cwd=file.parent, env={"WARREN_DATA_DIR": str(data)})
    assert (done.returncode, done.stderr) == (0, "")
    assert (data / "journal.sqlite").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: {}", "services: {}: want a mapping of names to services"),
        ("services:\n  web:\n    command: x\n    replicas: -1\n", ":4: services.web.replicas: -1:"),
        ("services:\n  web:\n    command: x\n    frob: 1\n", "services.web.frob: 1: no such field"),
        ("services: {web: {image: nginx, ports: {a: 0}}}", "web.ports.a: 0: want the number"),
        ("services:\n  web:\n    command: x\n    liveness: {tcp: {port: db}}\n", "'db': no such"),
        ("a: [", "want YAML"),
        ("", "is missing: the file is empty"),
    ],
)
def test_up_refuses_a_bad_file_in_one_line(file: Path, data: Path, text: str, said: str) -> None:
    file.write_text(text, encoding="utf-8")
    done = run("up", file, "--data-dir", data)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("warren: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not data.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "/nonexistent/warren.yaml"], "'/nonexistent/warren.yaml': No such file"),
        (["up", "--frobnicate"], "--frobnicate"),
        (["up", "a", "b"], "b"),
        (["up", "--log-level", "loud"], "loud"),
        (["up", "--network-checks", "0"], "--network-checks"),
        (["up", "--exec-checks", "many"], "many"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_up_refuses_a_data_directory_that_is_none(file: Path, tmp_path: Path) -> None:
    write_services(file, {unique("one"): {"command": ["true"]}})
    (tmp_path / "taken").write_text("", encoding="utf-8")
    done = run("up", file, "--data-dir", tmp_path / "taken" / "below")
    assert done.returncode == 1
    assert done.stderr.startswith(f"warren: data directory {tmp_path}/taken/below: ")


def test_version_and_help_answer() -> None:
    assert re.fullmatch(r"warren \d+\.\d+\.\d+\n", run("--version").stdout)
    overview = run("--help")
    assert overview.returncode == 0
    for command in ("up", "check"):
        assert command in overview.stdout
    help_of_up = run("up", "--help").stdout
    options = ("data-dir", "json-log", "log-level", "network-checks", "exec-checks", "plain")
    assert all(f"--{option}" in help_of_up for option in options)


def test_up_says_why_a_task_is_pending(file: Path, data: Path) -> None:
    name = unique("pending")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        write_services(file, {name: {"command": ["sleep", "1000"], "ports": {"http": port}}})
        with up(file, data) as command:
            line = command.read_until(f"{name}.1#1 pending: ")
            own = Path("/proc/self/comm").read_text("utf-8").strip()
            holder = f"pid {os.getpid()} ({own})"  # S23
            assert line.endswith(f"pending: port http: {port} is taken by {holder}")
            command.send(signal.SIGINT)
            assert command.wait() == 0


def test_up_that_stops_does_not_say_that_its_node_is_unreachable(file: Path, data: Path) -> None:
    name = unique("fixed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec = {"command": ["sleep", "99d"], "replicas": 2, "ports": {"http": port}}
    write_services(file, {name: spec})
    with up(file, data, "--name", "vm") as command:
        command.read_until(f"{name}.2#1 pending: vm: port http: {port} is held by {name}.1#1")
        command.wait_for(f"{name}: 1/2 healthy")
        command.send(signal.SIGINT)
        assert command.wait() == 0
    assert not any("unreachable" in line for line in command.lines), command.lines
    with closing(StateStore.open(data / "manager.sqlite")) as store:
        told = [entry.message for entry in store.events(after=0, since=0, limit=1000)]
    assert "node vm has stopped" in told
    assert not any("unreachable" in message for message in told), told
