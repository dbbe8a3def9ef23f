"""Whose tasks they are: a manager whose state was lost ends nothing (S22)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from support_cluster import Place, pids_of
from support_up import Command, run, unique, wait_until


def linked(place: Place, *options: str) -> Command:
    """A node that has a session."""
    command = place.node_run(*options)

    def is_linked() -> bool:
        assert command.process.poll() is None, command.errors
        return run("status", env=place.env).returncode == 0

    wait_until(is_linked, "the node has a session")
    return command


def states(place: Place) -> dict[str, str]:
    """The nodes and their states."""
    nodes = json.loads(place.ask("node", "ls", "--json"))
    return {node["name"]: node["state"] for node in nodes}


def lose(data: Path, how: str) -> None:
    """Lose the state of a manager that was killed before its log was played back."""
    files = [data / f"manager.sqlite{side}" for side in ("", "-wal", "-shm")]
    if how == "without its log":
        assert files[0].stat().st_size <= 4096, "nothing is in the file itself"
        del files[0]
    for file in files:
        file.unlink(missing_ok=True)
    if how == "empty":
        (data / "manager.sqlite").touch()


@pytest.mark.parametrize("how", ["missing", "empty", "without its log"])
def test_manager_that_lost_its_state_ends_nothing_until_its_nodes_are_told_so(
    place: Place, how: str
) -> None:
    name = unique("kept")
    manager = place.manager()
    with linked(place) as node:
        place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
        before = place.pids()
        if how == "missing":
            place.ask("db", "backup", place.folder / "backup")
        place.kill(manager)
        lose(place.data, how)
        with manager, place.manager() as anew:
            wait_until(lambda: states(place) == {place.node: "refusing"}, "the node refuses")
            said = place.ask("status", status=1)
            assert f"node {place.node} refuses this manager" in said
            assert "--new-manager" in said
            assert "belongs to another manager" in node.errors
            assert place.pids() == before
            place.kill(anew)
        if how == "missing":  # a backup is the same manager
            place.ask("db", "restore", place.folder / "backup")
            with place.manager():
                wait_until(lambda: states(place) == {place.node: "ready"}, "it is back")
                assert (
                    place.pids()
                    == before
                    == dict.fromkeys(pids_of(place.wait_ready(name)), f"{name}.1#1")
                )
            return
        node.send(signal.SIGTERM)
        assert node.wait() == 0, node.errors
    assert place.pids() == before
    with place.manager(), linked(place, "--new-manager") as node:
        wait_until(lambda: not place.pids(), "the new manager does not have it")
        node.send(signal.SIGTERM)
        assert node.wait() == 0, node.errors
    with place.manager(), linked(place):  # said once, for good
        assert states(place) == {place.node: "ready"}


def test_up_that_lost_its_state_starts_nothing_over_what_runs(place: Place) -> None:
    name = unique("kept")
    with place.up() as first:
        place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
        before = place.pids()
        place.kill(first)
    lose(place.data, "missing")
    with Command("up", "--plain", "--name", place.node, env=place.env, cwd=place.folder) as refused:
        assert refused.wait() == 1
        assert "is of another manager" in refused.errors
        assert "warren db restore FILE" in refused.errors
        assert "--new-manager" in refused.errors
    assert place.pids() == before
    with place.up("--new-manager") as anew:
        wait_until(lambda: not place.pids(), "the new manager does not have it")
        place.kill(anew)
    with place.up():
        assert states(place) == {place.node: "ready"}


def test_data_directory_that_goes_under_running_programs_is_said(place: Place) -> None:
    name = unique("kept")
    with place.up() as up:
        place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
        before = place.pids()
        (place.data / "journal.sqlite").unlink()
        told = "journal.sqlite was removed or replaced; it has been written anew"
        wait_until(lambda: told in up.errors, "it is written anew")
        assert (place.data / "journal.sqlite").exists()
        place.kill(up)
    with place.up("--listen", f"unix:{place.folder}/aside.sock") as up:
        assert place.pids() == before
        place.data.rename(place.folder / "gone")
        where = {"WARREN_ADDR": f"unix:{place.folder}/aside.sock"}

        def said() -> str:
            done = run("status", env=where)
            return done.stdout if done.returncode == 1 else ""

        wait_until(lambda: said().count("has been removed") >= 2, "manager and node say so")
        second = ["up", "--plain", "--name", place.node]
        with Command(*second, env=place.env, cwd=place.folder) as refused:
            assert refused.wait() == 1
            assert f"was removed or replaced under another warren manager, pid {up.pid}" in (
                refused.errors
            )
        assert place.pids() == before


def harm(file: Path, how: str) -> None:
    """What others may do to a database under its program."""
    if how == "linked":
        file.symlink_to(file.rename(file.with_name("moved")))
    else:
        os.truncate(file if how == "cut" else file.with_name(f"{file.name}-wal"), 0)


HARMS = {
    "cut": "was cut short from outside",
    "log cut": "was cut short from outside",
    "linked": "was removed or replaced",
}


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("program", ["up", "node run"])
def test_journal_that_is_harmed_under_its_program_ends_no_task(  # S21
    place: Place, program: str, how: str
) -> None:
    name = unique("kept")
    with ExitStack() as stack:
        if program == "node run":
            stack.enter_context(place.manager())
        with place.up() if program == "up" else linked(place) as first:
            place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
            before = place.pids()
            harm(place.data / "journal.sqlite", how)
            told = f"journal.sqlite {HARMS[how]}; it has been written anew"
            wait_until(lambda: told in first.errors, "it is written anew")
            place.kill(first)
        with place.up() if program == "up" else linked(place) as again:
            place.wait_ready(name)
            assert place.pids() == before
            assert "no record" not in again.errors


@pytest.mark.parametrize("how", HARMS)
def test_state_that_is_harmed_under_its_manager_takes_no_edit(place: Place, how: str) -> None:
    # S22
    name = unique("kept")
    with place.manager() as manager:
        place.ask("service", "create", name, "--", "sleep", "99d")
        harm(place.data / "manager.sqlite", how)
        refused = run("service", "scale", name, "3", env=place.env)
        assert refused.returncode != 0
        assert f"it {HARMS[how]}; " in refused.stderr
        assert place.inspect(name)["replicas"] == 1
        assert f"it {HARMS[how]}; " in place.ask("status", status=1)
        place.kill(manager)


def test_copied_data_directory_is_refused_and_takes_no_task(place: Place) -> None:
    name = unique("kept")
    with place.up() as up:
        place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
        before = place.pids()
        place.kill(up)
    shutil.copytree(place.data, place.folder / "copy", ignore=shutil.ignore_patterns("*.sock"))
    words = ["up", "--plain", "--name", place.node, "--data-dir", place.folder / "copy"]
    with Command(*words, env=place.env, cwd=place.folder) as refused:
        assert refused.wait() == 1
        assert f"is a copy of {place.data}/journal.sqlite" in refused.errors
    assert place.pids() == before


def test_task_whose_row_cannot_be_read_runs_on_and_is_replaced_when_asked(place: Place) -> None:
    bad, good = unique("bad"), unique("good")
    with place.manager():
        with linked(place) as node:
            for name in (bad, good):
                place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
            before = place.pids()
            place.kill(node)
        with closing(sqlite3.connect(place.data / "journal.sqlite")) as db, db:
            garbled = "UPDATE tasks SET record = substr(record, 1, 40) WHERE id LIKE ?"
            assert db.execute(garbled, (f"{bad}.%",)).rowcount == 1
        with place.node_run() as node:
            place.wait_ready(good)
            said = ""

            def is_said() -> bool:
                nonlocal said
                done = run("status", env=place.env)
                said = done.stdout
                return done.returncode == 1 and "journal rows" in said

            wait_until(is_said, "the condition is shown")
            assert f"task {bad}.1#1: its processes run unwatched" in said
            assert f"warren service restart {bad}" in said
            assert place.pids() == before
            place.ask("service", "restart", bad, "--wait")
            after = place.pids()
            assert {p: t for p, t in after.items() if t.startswith(good)} == {
                p: t for p, t in before.items() if t.startswith(good)
            }
            assert [t for t in after.values() if t.startswith(bad)] == [f"{bad}.1#2"]
            assert not set(place.pids(bad)) & set(before)
            wait_until(lambda: run("status", env=place.env).returncode == 0, "all is well")
            assert node.process.poll() is None


@pytest.mark.parametrize("how", ["up", "node run"])
def test_damaged_journal_is_refused_and_once_it_is_moved_away_the_node_begins_anew(
    place: Place, how: str
) -> None:
    name = unique("anew")
    with ExitStack() as stack:
        if how == "node run":
            stack.enter_context(place.manager())
        with place.up() if how == "up" else linked(place) as first:
            place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
            before = place.pids()
            place.kill(first)
        journal = place.data / "journal.sqlite"
        for side in ("-wal", "-shm"):
            journal.with_name(f"{journal.name}{side}").unlink()
        journal.write_bytes(b"\xa5" * 20_000)
        words = [*how.split(), *(["--plain"] if how == "up" else []), "--name", place.node]
        with Command(*words, env=place.env, cwd=place.folder) as refused:
            assert refused.wait() == 1
            said = [line for line in refused.errors.splitlines() if "journal.sqlite" in line]
            assert len(said) == 1
            assert said[0].startswith(f"warren: {journal}: file is not a database. Nothing was")
            assert "want the file moved away" in said[0]
            assert "Traceback" not in refused.errors
        assert place.pids() == before
        if how == "node run":
            return  # the rest is the same, and takes a lease
        journal.rename(place.folder / "damaged")

        def has_begun_anew() -> bool:
            now = place.pids()
            return len(now) == 1 and not now.keys() & before.keys()

        with Command(*words, env=place.env, cwd=place.folder):
            wait_until(has_begun_anew, "what ran is ended, and started again")
            place.wait_ready(name)
