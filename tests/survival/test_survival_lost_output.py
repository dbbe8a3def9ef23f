"""The place of the logs is unusable: services run, nothing is counted, and `status` says so."""

from __future__ import annotations

import os
from pathlib import Path

from support_cluster import Place, pids_of
from support_up import run, unique, wait_until


def test_services_start_where_no_log_can_be_made_and_status_says_what_is_lost(
    place: Place,
) -> None:
    name = unique("web")
    with place.up():
        logs = place.data / "logs"
        logs.rename(place.data / "logs.was")
        logs.touch()
        place.ask("service", "create", name, "--wait", "--", "sh", "-c", "echo hi; sleep 99d")
        (pid,) = pids_of(place.wait_ready(name))

        def is_told() -> bool:
            return run("status", cwd=place.folder, env=place.env).returncode == 1

        wait_until(is_told, "status tells of it")
        said = place.ask("status", status=1)
        assert f"{logs}: is no directory; what {name}.1 writes is lost" in said
        assert said.count("is lost") == 2  # the condition's kind and message, in one line
        assert place.wait_ready(name)[0]["restarts"] == 0

        # The restart of a program that was killed is counted, and no other.
        os.kill(pid, 9)
        place.wait_tasks(name, lambda found: pids_of(found) not in ([], [pid]), "runs again")
        (task,) = place.wait_ready(name)
        assert task["restarts"] == 1

        logs.unlink()
        place.ask("service", "restart", name, "--wait")
        wait_until(lambda: not is_told(), "all is well")
        wait_until(lambda: "hi" in place.ask("service", "logs", name), "output is kept")
        assert Path(logs / f"{name}.1.log").read_text().startswith("hi\n")
