"""Short of descriptors: the programs limp and live, say so, and are well again by themselves."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from support_cluster import Place
from support_up import run, unique, wait_until, write_services

FEW = 64
FEW_PROCESSES = 12
STRANGER = 61_007  # a user without an account, whose processes are this test's alone


def restrict(pid: int, descriptors: int) -> None:
    """As `ulimit -Sn` for a process that runs."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))


def test_hundred_services_with_64_descriptors_start_as_far_as_they_can(place: Place) -> None:
    names = [unique("web") for _ in range(100)]
    services = {name: {"command": ["sleep", "99d"], "ports": {"http": 0}} for name in names}
    file = write_services(place.folder / "many.yaml", services)
    with place.up() as command:
        restrict(command.pid, FEW)
        place.ask("apply", "-f", file)
        wait_until(lambda: "shortage: no file descriptors left" in told(place), "it says so")
        said = told(place)
        assert "100 tasks want " in said
        assert f"the limit is {FEW}" in said
        running = [one for one in place.services() if one["health"]["healthy"]]
        assert 5 < len(running) < FEW
        waits = next(one for one in place.services() if not one["health"]["healthy"])
        assert "file descriptors" in waits["tasks"][0]["pending_reason"]
        assert waits["tasks"][0]["restarts"] == 0
        (node,) = json.loads(place.ask("node", "ls", "--json"))
        assert {"shortage", "descriptors"} <= {one["kind"] for one in node["conditions"]}
        place.ask("service", "rm", *names[:90])
        for name in names[90:]:
            place.wait_ready(name)
        wait_until(lambda: not told(place), "all is well")
        assert command.process.poll() is None


def test_programs_without_a_descriptor_left_live_and_are_well_again(place: Place) -> None:
    name = unique("web")
    options = ["--health-cmd", "true", "--health-interval", "100ms"]
    with place.manager() as manager, place.node_run() as node:
        place.ask("service", "create", name, *options, "--wait", "--", "sleep", "99d")
        before = place.tasks(name)
        for program in (manager, node):
            restrict(program.pid, 3)
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.connect(str(place.data / "warren.sock"))
            wait_until(lambda: "oo many open files" in manager.errors, "it is met")
        (killed,) = place.pids(name)
        assert killed == before[0]["instance"]["pid"]
        for program in (manager, node):
            assert program.process.poll() is None
            restrict(program.pid, 1024)
        wait_until(lambda: not told(place), "all is well")
        (after,) = place.wait_ready(name)
        assert after["instance"] == before[0]["instance"]


@contextmanager
def up_as_stranger(place: Place) -> Generator[subprocess.Popen[bytes], None, None]:
    """`warren up` of a user who may have few processes; he may read where Python lies."""
    for program in ("setpriv", "prlimit"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
    place.data.mkdir(mode=0o700)
    os.chown(place.data, STRANGER, STRANGER)
    who = [f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    may = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    command = [sys.executable, "-m", "warren", "up", "--plain", "--name", place.node]
    with (place.folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            ["setpriv", *who, *may, "prlimit", f"--nproc={FEW_PROCESSES}", *command],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd=place.folder,
            env={**os.environ, **place.env},
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: run("status", cwd=place.folder, env=place.env).returncode in (0, 1), "it is up"
        )
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@pytest.mark.needs_root
def test_starts_wait_for_processes_that_the_user_may_not_have(place: Place) -> None:
    name = unique("web")
    with up_as_stranger(place) as process:
        place.ask("service", "create", name, "--replicas", "20", "--", "sleep", "99d")
        wait_until(lambda: "no processes left" in told(place), "it says so")
        running = place.wait_tasks(
            name,
            lambda tasks: any("no processes left" in (t["pending_reason"] or "") for t in tasks),
            "one waits, and says for what",
        )
        assert 0 < sum(task["instance"] is not None for task in running) < 20
        assert {task["restarts"] for task in running} == {0}
        assert process.poll() is None
        place.ask("service", "scale", name, "2")
        place.wait_ready(name, 2)
        place.ask("service", "scale", name, "3")
        after = place.wait_ready(name, 3)
        assert {task["restarts"] for task in after} == {0}
        wait_until(lambda: not told(place), "all is well")
        assert process.poll() is None


def told(place: Place) -> str:
    """What `status` says of trouble; empty where all is well."""
    done = run("status", cwd=place.folder, env=place.env)
    assert done.returncode in (0, 1, 4), done.stderr
    return "" if done.returncode == 0 else done.stdout + done.stderr
