"""`kill -9` of `up` under load, and its orderly end (S21, S22)."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from support_cluster import Place, pids_of
from support_up import TRAPPING, Command, unique, wait_until, write_services

from warren.process.cgroup import find_base

KILLS = int(os.environ.get("WARREN_KILLS", "20")) // 4
SEED = int(os.environ.get("WARREN_SEED", "1"))
PROBED = ["--health-cmd", "true", "--health-interval", "100ms", "--health-timeout", "5s"]
FAMILY = "(setsid sleep 98d &); sleep 97d & exec sleep 99d"


def groups(place: Place) -> list[Path]:
    """The control groups of this place's tasks; none where this machine has none to give."""
    token = hashlib.sha256(f"{place.node}\0{place.data.resolve()}".encode()).hexdigest()[:12]
    return [path for path in Path("/sys/fs/cgroup").rglob(f"*{token}*") if path.is_dir()]


def test_up_killed_under_load_loses_doubles_and_orphans_nothing(place: Place) -> None:
    chance = random.Random(SEED)
    well, family, flapping = unique("well"), unique("family"), unique("flapping")
    with place.up() as up:
        asked = [*PROBED, "--replicas", "3", "--wait", "--", "sleep", "99d"]
        place.ask("service", "create", well, *asked)
        place.ask(
            "service", "create", family, "--replicas", "2", "--wait", "--", "sh", "-c", FAMILY
        )
        wait_until(lambda: len(place.pids(family)) == 6, "both families are whole")
        place.ask(
            "service", "create", flapping, "--replicas", "3", "--max-attempts", "100000", "--",
            "sleep", "0.05",
        )  # fmt: skip
        tasks = {name: place.tasks(name) for name in (well, family)}
        processes = {name: place.pids(name) for name in tasks}
        place.kill(up)
    for _ in range(KILLS):
        with Command("up", "--plain", "--name", place.node, cwd=place.folder, env=place.env) as up:
            time.sleep(chance.uniform(0.0, 1.0))  # the moment of its death
            assert up.process.poll() is None, up.errors
            place.kill(up)
    with place.up() as up:
        for name, before in tasks.items():
            after = place.wait_ready(name, len(before))
            assert pids_of(after) == pids_of(before)
            assert [task["restarts"] for task in after] == [0] * len(before)
            assert place.pids(name) == processes[name]
        assert len(place.tasks(flapping)) == 3
        slots = [task.partition("#")[0] for task in place.pids(flapping).values()]
        assert len(slots) == len({*slots})  # no slot twice
        up.send(signal.SIGTERM)
        assert up.wait() == 0, up.errors
    assert place.pids() == {}
    assert groups(place) == []
    with place.up():  # a shutdown is no end of a service
        for name, before in tasks.items():
            after = place.wait_ready(name, len(before))
            assert [task["id"] for task in after] == [task["id"] for task in before]
            assert [task["restarts"] for task in after] == [0] * len(before)
        for name in (well, family, flapping):
            place.ask("service", "rm", name)
        assert place.pids() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_that_ends_leaves_no_process_no_group_and_no_socket(place: Place, number: int) -> None:
    name = unique("family")
    with place.up() as up:
        asked = ["--replicas", "2", *PROBED, "--wait", "--", "sh", "-c", FAMILY]
        place.ask("service", "create", name, *asked)
        assert place.pids()
        assert groups(place) or find_base("probe") is None
        up.send(number)
        assert up.wait() == 0, up.errors
    assert place.pids() == {}
    assert groups(place) == []
    assert not (place.data / "warren.sock").exists()


def test_up_with_a_file_makes_anew_what_was_being_removed(place: Place) -> None:
    name, other = unique("removed"), unique("other")
    stubborn = {"command": ["sh", "-c", TRAPPING], "stop": {"grace": "2s"}}
    sleeper = {"command": ["sleep", "99d"]}
    file = write_services(place.folder / "warren.yaml", {name: stubborn, other: sleeper})
    with place.up(str(file)) as up:
        (before,) = place.wait_ready(name)
        place.wait_ready(other)
        place.ask("service", "rm", name, "--no-wait")
        place.kill(up)
    with place.up(str(file)) as up:
        assert f"service {name} is made anew once its removal is over" in up.errors
        place.wait_ready(other)

        def is_made_anew() -> bool:
            try:
                tasks = place.tasks(name)
            except AssertionError:  # it is gone, and not there again yet
                return False
            return len(tasks) == 1 and tasks[0]["id"] != before["id"]

        wait_until(is_made_anew, "it is made anew")
        (after,) = place.tasks(name)
        place.wait_ready(name)
        assert place.pids(name) != {}
        up.send(signal.SIGTERM)
        assert up.wait() == 0, up.errors
    assert after["id"].endswith("#2")
    assert place.pids() == {}
