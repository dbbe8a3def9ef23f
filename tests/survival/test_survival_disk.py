"""The manager's disk is full, or read-only: edits are refused, and everything else goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from support_cluster import Place, pids_of
from support_up import Command, run, unique, wait_until

PROBED = ["--health-cmd", "true", "--health-interval", "100ms", "--health-timeout", "5s"]


@pytest.fixture
def small(place: Place) -> Generator[Path, None, None]:
    """A data directory on a disk of two megabytes."""
    place.data.mkdir()
    options = ["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", place.data]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place.data
    finally:
        subprocess.run(["umount", "--lazy", place.data], check=True)


def fill(disk: Path) -> None:
    """To the last byte."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 4096, 512, 1):
            try:
                while filler.write(b"x" * size):
                    pass
            except OSError:
                continue


def empty(disk: Path) -> None:
    (disk / "filler").unlink()


@pytest.mark.needs_root
def test_manager_whose_disk_is_full_refuses_edits_and_heals_by_itself(
    place: Place, small: Path
) -> None:
    name, other = unique("web"), unique("other")
    command = ["node", "run", "--name", place.node, "--data-dir", place.folder / "node"]
    where = {**place.env, "WARREN_ADDR": f"unix:{small}/warren.sock"}
    with place.manager() as manager, Command(*command, cwd=place.folder, env=where) as node:
        place.ask(
            "service", "create", name, *PROBED, "--replicas", "2", "--wait", "--", "sleep", "99d"
        )
        first, second = place.tasks(name)
        fill(small)
        for words in (
            ["create", other, "--", "true"], ["scale", name, "3"], ["rm", name], ["restart", name],
        ):  # fmt: skip
            refused = place.ask("service", *words, status=1)
            assert f"{small}/manager.sqlite cannot be written" in refused
            assert "full" in refused
            assert refused.count("\n") == 1
        status = place.ask("status", status=1)
        assert "trouble: " in status
        assert "full" in status
        killed = first["instance"]["pid"]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(place.pids(name)) == 2 and killed not in place.pids(name), "anew")
        (_, still) = place.wait_ready(name, 2)
        passes = still["probes"]["liveness"]["consecutive_successes"]
        place.wait_tasks(
            name,
            lambda tasks: tasks[1]["probes"]["liveness"]["consecutive_successes"] > passes,
            "it is probed",
        )
        empty(small)
        wait_until(lambda: run("status", env=place.env).returncode == 0, "it is well by itself")
        assert manager.process.poll() is None
        kinds = [e["kind"] for e in place.events() if e["subject"] == first["id"]]
        wait_until(
            lambda: "restarting" in [e["kind"] for e in place.events()], "the report arrives"
        )
        (after, same) = place.wait_ready(name, 2)
        assert (after["restarts"], same["restarts"]) == (1, 0)
        assert pids_of([same]) == pids_of([second])
        assert [service["name"] for service in place.services()] == [name]
        place.ask("service", "create", other, "--wait", "--", "sleep", "99d")
        assert kinds
        for each in (name, other):
            place.ask("service", "rm", each)
        node.send(signal.SIGTERM)
        assert node.wait() == 0, node.errors
    assert place.pids() == {}


@pytest.mark.needs_root
def test_trouble_with_the_disk_is_over_when_it_is_over(place: Place, small: Path) -> None:
    command = ["node", "run", "--name", place.node, "--data-dir", place.folder / "node"]
    where = {**place.env, "WARREN_ADDR": f"unix:{small}/warren.sock"}
    with place.manager(), Command(*command, cwd=place.folder, env=where):
        wait_until(lambda: run("status", env=place.env).returncode == 0, "the node is there")
        fill(small)  # and nothing waits to be written
        place.ask("service", "create", unique("web"), "--", "true", status=1)
        place.ask("status", status=1)
        empty(small)
        wait_until(lambda: run("status", env=place.env).returncode == 0, "well again", seconds=15)


@pytest.mark.needs_root
def test_manager_on_a_read_only_disk_is_refused_clearly(place: Place, small: Path) -> None:
    with place.manager():
        pass
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    for words in (["manager", "run"], ["up", "--plain"]):
        refused = run(*words, cwd=place.folder, env=place.env)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert refused.stderr.startswith(f"warren: data directory {small}: Read-only file system")


@pytest.mark.needs_root
def test_node_whose_disk_is_full_keeps_its_tasks_says_so_and_heals(
    place: Place, small: Path
) -> None:
    """Its journal and its logs are on that disk; the manager's state is not."""
    name = unique("web")
    talk = "while :; do echo something that is written all the time; sleep 0.05; done"
    where = {**place.env, "WARREN_DATA_DIR": str(place.folder / "manager")}
    node_words = ["node", "run", "--name", place.node, "--data-dir", small]
    socket = {**place.env, "WARREN_ADDR": f"unix:{place.folder}/manager/warren.sock"}
    place.env = socket
    with (
        Command("manager", "run", cwd=place.folder, env=where),
        Command(*node_words, cwd=place.folder, env=socket) as node,
    ):
        wait_until(lambda: run("status", env=socket).returncode == 0, "the node is there")
        place.ask(
            "service", "create", name, *PROBED, "--replicas", "2", "--wait", "--", "sh", "-c", talk
        )
        first, second = place.tasks(name)
        fill(small)
        os.kill(first["instance"]["pid"], signal.SIGKILL)
        wait_until(lambda: "disk: " in run("status", env=socket).stdout, "it says so")
        place.ask("status", status=1)
        wait_until(lambda: _passes(place, name) > _passes_of(second), "it is probed")
        assert node.process.poll() is None
        assert second["instance"]["pid"] in place.pids(name)
        empty(small)
        place.wait_ready(name, 2)
        wait_until(lambda: run("status", env=socket).returncode == 0, "well again")
        (after, same) = place.tasks(name)
        assert (after["restarts"], same["restarts"]) == (1, 0)
        assert pids_of([same]) == pids_of([second])
        place.ask("service", "rm", name)
        node.send(signal.SIGTERM)
        assert node.wait() == 0, node.errors


def _passes(place: Place, name: str) -> int:
    return _passes_of(place.tasks(name)[1])


def _passes_of(task: Any) -> int:
    return task["probes"]["liveness"]["consecutive_successes"]
