"""The manager is away: killed, or stopped as if it were; real programs (S19)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support_cluster import Place, Shape, pids_of
from support_up import Command, run, unique, wait_until

FAST = ["--health-interval", "100ms", "--health-timeout", "5s", "--health-retries", "2"]
FLAPPING = ["--max-attempts", "1000"]


def restarts(tasks: list[Shape]) -> int:
    return sum(task["restarts"] for task in tasks)


def kill_when_back(place: Place, service: str, before: int) -> int:
    """Kill the service's only process once it is another than `before`; gives its pid."""
    wait_until(lambda: not {before} & {*place.pids(service)} and bool(place.pids(service)), "back")
    (pid,) = place.pids(service)
    os.kill(pid, signal.SIGKILL)
    return pid


def test_outage_of_the_manager_loses_no_restart_no_reason_and_no_health(
    place: Place, tmp_path: Path
) -> None:
    well, killed, sick = unique("well"), unique("killed"), unique("sick")
    flag = tmp_path / "flag"
    flag.touch()
    with place.node_run() as node:
        with place.manager() as manager:
            for name in (well, killed):
                asked = ["--replicas", "1" if name == killed else "3", "--wait"]
                place.ask("service", "create", name, *asked, "--", "sleep", "1000")
            place.ask(
                "service", "create", sick, "--health-cmd", f"test -e {flag}", *FAST, *FLAPPING,
                "--wait", "--", "sleep", "1000",
            )  # fmt: skip
            before = place.tasks(well)
            first = place.tasks(killed)[0]["instance"]["pid"]
            last_seq = place.events()[-1]["seq"]
            place.kill(manager)
        place.ask("status", status=4)
        os.kill(first, signal.SIGKILL)
        second = kill_when_back(place, killed, first)
        wait_until(lambda: bool({*place.pids(killed)} - {first, second}), "it is back again")
        sick_pids = {*place.pids(sick)}
        flag.unlink()
        wait_until(lambda: not sick_pids & {*place.pids(sick)}, "the sick one was restarted")
        with place.manager():
            wait_until(lambda: place.inspect(killed)["tasks"][0]["restarts"] == 2, "counted")
            (task,) = place.wait_ready(killed)
            assert (task["restarts"], task["last_end"]["reason"]) == (2, "signaled")
            assert task["last_end"]["signal"] == "SIGKILL"
            wait_until(lambda: place.inspect(sick)["health"]["restarting"] == 1, "sick is told")
            assert place.tasks(sick)[0]["last_end"]["reason"] == "probe failed"
            news = [event for event in place.events() if event["seq"] > last_seq]
            ends = [
                e for e in news if e["subject"] == f"{killed}.1#1" and e["kind"] == "restarting"
            ]
            assert [event["reason"] for event in ends] == ["signaled"] * 2
            assert [e["kind"] for e in news if e["subject"].startswith(well)] == []
            failures = [e for e in news if e["subject"].startswith(sick)]
            assert failures[0]["kind"] == "probe failed"
            flag.touch()
            place.wait_ready(sick)
            after = place.tasks(well)
            assert pids_of(after) == pids_of(before)
            assert restarts(after) == 0
            expect_no_other(place, [well, killed, sick])
            stop_everything(place, node)


def test_manager_that_is_stopped_is_taken_for_silent_and_nothing_restarts(place: Place) -> None:
    name = unique("calm")
    with place.node_run() as node, place.manager() as manager:
        place.ask("service", "create", name, "--replicas", "2", "--wait", "--", "sleep", "1000")
        before = place.tasks(name)
        known = node.errors
        manager.send(signal.SIGSTOP)
        try:
            wait_until(lambda: "no link to the manager" in node.errors[len(known) :], "it is lost")
        finally:
            manager.send(signal.SIGCONT)
        wait_until(lambda: "the manager is back" in node.errors[len(known) :], "it is back")
        after = place.wait_ready(name, 2)
        assert pids_of(after) == pids_of(before)
        assert restarts(after) == 0
        kinds = [e["kind"] for e in place.events() if e["subject"].startswith(name)]
        assert set(kinds) <= {"created", "placed", "started", "ready"}
        assert run("status", env=place.env).returncode == 0
        stop_everything(place, node)


def expect_no_other(place: Place, names: list[str]) -> None:
    """Every process is an instance of a current task."""

    def is_so() -> bool:
        wanted = [pid for name in names for pid in pids_of(place.tasks(name))]
        return sorted(place.pids()) == sorted(wanted)

    wait_until(is_so, "no other process runs")


def stop_everything(place: Place, node: Command) -> None:
    """Remove all services, and end the node."""
    for service in place.services():
        place.ask("service", "rm", service["name"])
    assert place.pids() == {}
    node.send(signal.SIGTERM)
    assert node.wait() == 0, node.errors
