"""Services with an image, typed as commands, on real engines: probes, restarts, `kill -9`, and what
is left."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support_cluster import Place
from support_up import Command, unique, wait_until

from tests.engines import IMAGE, RealEngine


class Site:
    """A node on an engine."""

    def __init__(self, engine: RealEngine, folder: Path) -> None:
        self.engine = engine
        self.place = Place(folder)

    @contextmanager
    def up(self) -> Generator[Command]:
        """`warren up`, which is killed at the end of the block if it still runs."""
        with self.place.up("--engine", self.engine.address) as command:
            yield command
            if command.process.poll() is None:
                self.place.kill(command)

    def containers(self, service: str) -> dict[str, str]:
        """Its containers: their ids, and what state they are in."""
        found: list[dict[str, Any]] = self.engine.containers()
        return {
            one["Id"]: one["State"]
            for one in found
            if one["Labels"].get("warren.service") == service
        }


@pytest.fixture
def site(engine: RealEngine, tmp_path: Path) -> Site:
    return Site(engine, tmp_path)


def test_three_replicas_on_one_port_outlive_a_killed_supervisor_and_leave_nothing(
    site: Site,
) -> None:
    web = unique("web")
    create = [
        *("service", "create", web, "--image", IMAGE, "--replicas", "3", "--port", "http=80"),
        *("--health-http", "path=/passwd,port=http", "--health-interval", "200ms", "--wait"),
        *("--stop-grace", "1s", "--", "httpd", "-f", "-p", "80", "-h", "/etc"),
    ]
    with site.up():
        assert "3/3 healthy" in site.place.ask(*create)
        before = site.containers(web)
        assert list(before.values()) == ["running"] * 3
        described = site.place.ask("node", "inspect", site.place.node)
        assert f"Runtime: {site.engine.kind} " in described
    with site.up() as command:
        wait_until(lambda: "3/3" in site.place.ask("service", "ls"), "they are ready again")
        assert site.containers(web) == before
        assert sum(task["restarts"] for task in site.place.tasks(web)) == 0
        site.place.ask("service", "rm", web)
        assert site.containers(web) == {}
        command.send(signal.SIGTERM)
        assert command.process.wait(30) == 0


def test_a_check_inside_that_fails_restarts_its_container_after_exactly_its_retries(
    site: Site,
) -> None:
    name = unique("job")
    script = "echo begun; touch /tmp/well; sleep 1; rm /tmp/well; sleep 1000"
    create = [
        *("service", "create", name, "--image", IMAGE, "--stop-grace", "0s"),
        *("--health-cmd", "test -e /tmp/well", "--health-interval", "200ms"),
        *("--health-retries", "2", "--", "sh", "-c", script),
    ]
    with site.up() as command:
        site.place.ask(*create)
        wait_until(lambda: site.place.tasks(name)[0]["restarts"] > 0, "it is restarted", seconds=60)
        told = site.place.ask("events", "--since", "5m")
        assert "liveness probe failed 2 times: exit code 1" in told
        logs = site.place.ask("service", "logs", name)
        assert logs.count("begun") >= 2
        assert len(site.containers(name)) <= 1  # none while it waits for its next start
        command.send(signal.SIGTERM)
        assert command.process.wait(30) == 0
    assert site.containers(name) == {}


def test_an_image_that_is_not_there_is_what_its_task_waits_for(site: Site) -> None:
    name = unique("gone")
    image = "localhost:1/no/such:1"
    with site.up() as command:
        site.place.ask("service", "create", name, "--image", image)
        wait_until(
            lambda: "cannot be pulled" in site.place.ask("task", "ls"),
            "the reason is told",
            seconds=60,
        )
        assert site.place.tasks(name)[0]["restarts"] == 0
        command.send(signal.SIGTERM)
        assert command.process.wait(30) == 0
