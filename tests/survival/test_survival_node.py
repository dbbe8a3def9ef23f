"""The supervisor is killed, stopped, and started again; real programs (S21)."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path

from support_cluster import Place, Shape, pids_of
from support_up import Command, run, unique, wait_until

from warren.manager.program import LEASE
from warren.node.manager_link import RENEW_EVERY

KILLS = int(os.environ.get("WARREN_KILLS", "20")) // 4
SEED = int(os.environ.get("WARREN_SEED", "1"))
PROBED = ["--health-cmd", "true", "--health-interval", "100ms", "--health-timeout", "5s"]
FLAPPING = ["--max-attempts", "100000"]


def linked(place: Place, *options: str) -> Command:
    """A node that has a session."""
    command = place.node_run(*options)

    def is_linked() -> bool:
        assert command.process.poll() is None, command.errors
        return run("status", env=place.env).returncode == 0

    try:
        wait_until(is_linked, "the node has a session")
    except AssertionError as error:
        error.add_note(run("status", env=place.env).stdout)
        raise
    return command


def no_other_process(place: Place, names: list[str]) -> None:
    """Every process is that of an instance of a current task."""

    def is_so() -> bool:
        wanted = [pid for name in names for pid in pids_of(place.tasks(name))]
        return sorted(place.pids()) == sorted(wanted)

    wait_until(is_so, "no other process runs")


def remove(place: Place, *names: str) -> None:
    for name in names:
        place.ask("service", "rm", name)
    assert place.pids() == {}


def test_supervisor_killed_under_load_restarts_nothing_that_is_healthy(place: Place) -> None:
    chance = random.Random(SEED)
    well, probed, flapping = unique("well"), unique("probed"), unique("flapping")
    with place.manager():
        with linked(place) as node:
            place.ask("service", "create", well, "--replicas", "5", "--wait", "--", "sleep", "99d")
            asked = [*PROBED, "--replicas", "3", "--wait", "--", "sleep", "99d"]
            place.ask("service", "create", probed, *asked)
            place.ask(
                "service", "create", flapping, "--replicas", "2", *FLAPPING, "--",
                "sh", "-c", "sleep 0.05; exit 3",
            )  # fmt: skip
            before = {name: place.tasks(name) for name in (well, probed)}
            place.kill(node)
        counted = 0
        for _ in range(KILLS):
            with place.node_run() as node:
                time.sleep(chance.uniform(0.0, 0.8))  # the moment of its death
                assert node.process.poll() is None, node.errors
                place.kill(node)
        with linked(place) as node:
            for name, tasks in before.items():
                after = place.wait_ready(name, len(tasks))
                assert pids_of(after) == pids_of(tasks)
                assert [task["restarts"] for task in after] == [0] * len(tasks)
            place.ask("service", "update", flapping, "--wait", "--", "sleep", "99d")
            no_other_process(place, [well, probed, flapping])
            counted += sum(e["kind"] == "restarting" for e in place.events())
            assert counted > 0
            remove(place, well, probed, flapping)


def test_supervisor_that_stops_leaves_its_tasks_and_the_next_knows_what_ended(
    place: Place,
) -> None:
    stays, ends, restarted = unique("stays"), unique("ends"), unique("restarted")
    with place.manager():
        with linked(place) as node:
            place.ask("service", "create", stays, "--wait", "--", "sleep", "99d")
            place.ask("service", "create", restarted, "--wait", "--", "sleep", "99d")
            once = ["--restart", "never", "--", "sleep", "99d"]
            place.ask("service", "create", ends, *once)
            place.wait_ready(ends)
            before = {name: place.tasks(name)[0] for name in (stays, ends, restarted)}
            os.kill(before[restarted]["instance"]["pid"], signal.SIGKILL)
            place.wait_tasks(restarted, lambda t: t[0]["restarts"] == 1 and t[0]["ready"], "again")
            pids = {name: pids_of(place.tasks(name)) for name in before}
            node.send(signal.SIGTERM)
            assert node.wait() == 0, node.errors
        (stopped,) = json.loads(place.ask("node", "ls", "--json"))
        assert stopped["state"] == "stopped"  # its link was not lost
        told = {one["name"]: one["health"] for one in place.services()}
        assert all((one["healthy"], one["stale"]) == (0, 1) for one in told.values()), told
        assert sorted(place.pids()) == sorted(pid for one in pids.values() for pid in one)
        os.kill(pids[ends][0], signal.SIGKILL)
        wait_until(lambda: not place.pids(ends), "it has ended unseen")
        with linked(place) as node:
            place.wait_ready(stays)
            (again,) = place.wait_ready(restarted)
            assert pids_of(place.tasks(stays)) == pids[stays]
            assert (pids_of([again]), again["restarts"]) == (pids[restarted], 1)
            (gone,) = place.wait_tasks(ends, lambda t: t[0]["state"] == "failed", "its end")
            assert gone["last_end"]["reason"] in ("lost", "signaled")
            assert sorted(place.pids()) == sorted([*pids[stays], *pids[restarted]])
            node.send(signal.SIGTERM)
            assert node.wait() == 0, node.errors
        with linked(place, "--stop-tasks") as node:
            assert pids_of(place.tasks(stays)) == pids[stays]
            node.send(signal.SIGTERM)
            assert node.wait() == 0, node.errors
        assert place.pids() == {}
        with linked(place) as node:  # a shutdown is no end of a task
            (task,) = place.wait_ready(stays)
            assert (task["id"], task["restarts"]) == (before[stays]["id"], 0)
            remove(place, stays, ends, restarted)


def test_supervisor_whose_clock_has_jumped_restarts_nothing(place: Place, tmp_path: Path) -> None:
    name = unique("clock")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nshift = float(os.environ.get('SHIFT', '0'))\n"
        "real = time.time\ntime.time = lambda: real() + shift\n"
    )
    with place.manager():
        with linked(place) as node:
            place.ask("service", "create", name, *PROBED, "--wait", "--", "sleep", "99d")
            before = place.tasks(name)
            place.kill(node)
        for shift in (-100_000, 100_000):
            where = {"SHIFT": str(shift), "PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}
            command = ["node", "run", "--name", place.node]
            with Command(*command, cwd=place.folder, env={**place.env, **where}) as node:
                after = place.wait_ready(name)
                assert pids_of(after) == pids_of(before)
                assert after[0]["restarts"] == 0
                os.kill(pids_of(after)[0], signal.SIGKILL)
                place.wait_tasks(name, partial(is_anew, after), "it restarts all the same")
                place.ask("service", "restart", name, "--wait")
                before = place.tasks(name)
                assert "clock skew" in place.ask("status", status=1)  # it is wrong indeed
                started = datetime.fromisoformat(before[0]["instance"]["started_at"]).timestamp()
                assert abs(started - time.time() - min(shift, 0)) < 60  # none is in the future
                place.kill(node)
        with linked(place):
            remove(place, name)


def is_anew(before: list[Shape], tasks: list[Shape]) -> bool:
    """Whether it runs anew and is ready."""
    return tasks[0]["ready"] and pids_of(tasks) != pids_of(before)


def test_node_that_hangs_is_down_when_its_lease_is_over_and_comes_back(place: Place) -> None:
    name = unique("hangs")
    with place.manager(), linked(place) as node:
        place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
        node.send(signal.SIGSTOP)
        since = time.time()
        wait_until(lambda: _state(place) == "down", "it is down", seconds=60)
        (lost,) = (event for event in place.events() if event["kind"] == "lost")
        after = datetime.fromisoformat(lost["at"]).timestamp() - since
        assert LEASE - RENEW_EVERY - 1 < after < LEASE + 1  # S20
        node.send(signal.SIGCONT)
        wait_until(lambda: _state(place) == "ready", "it is back")
        remove(place, name)


def _state(place: Place) -> str:
    (node,) = json.loads(place.ask("node", "ls", "--json"))
    return node["state"]
