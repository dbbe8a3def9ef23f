"""Two of what there may be one of, and places where a manager cannot be."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support_cluster import Place, pids_of
from support_up import Command, run, unique, wait_until


@pytest.mark.parametrize("program", [("manager", "run"), ("up", "--plain")])
def test_second_manager_on_a_data_directory_is_refused(
    place: Place, program: tuple[str, str]
) -> None:
    with place.manager() as manager:
        second = run(*program, cwd=place.folder, env=place.env)
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1] == (
            f"warren: data directory {place.data} is in use by another warren manager, "
            f"pid {manager.pid}; want another --data-dir"
        )
        assert "Traceback" not in second.stderr
        assert run("service", "ls", env=place.env).returncode == 0


def test_node_is_refused_while_up_runs_on_its_data_directory(place: Place) -> None:
    with place.up() as up:
        second = run("node", "run", cwd=place.folder, env=place.env)
        assert second.returncode == 1
        assert second.stderr == (
            f"warren: data directory {place.data} is in use by another warren node, "
            f"pid {up.pid}; want another --data-dir\n"
        )


def test_two_nodes_of_one_name_are_told_apart(place: Place, tmp_path: Path) -> None:
    name = unique("web")
    other = {
        "WARREN_DATA_DIR": str(tmp_path / "other"),
        "WARREN_ADDR": f"unix:{place.data}/warren.sock",
    }
    with place.manager(), place.node_run() as node:
        place.ask("service", "create", name, "--replicas", "2", "--wait", "--", "sleep", "99d")
        before = pids_of(place.tasks(name))
        with Command("node", "run", "--name", place.node, cwd=tmp_path, env=other) as twin:
            wait_until(lambda: "another supervisor of this name" in twin.errors, "it is refused")
            assert "want another --name" in twin.errors
            assert twin.process.poll() is None  # the other may go
            assert pids_of(place.wait_ready(name, 2)) == before
            assert len(place.pids()) == 2
            place.kill(node)
            # What the other has left runs on: it is not to run here too.
            wait_until(lambda: "had a session less than 15 s ago" in twin.errors, "it waits")
            assert sorted(place.pids()) == sorted(before)
            twin.send(signal.SIGTERM)
            twin.wait()
