"""A data directory that is started under another node name than before (S20, S21)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from textwrap import dedent

from support_cluster import Place, pids_of
from support_up import Command, marked, unique, wait_until

from tests.survival.test_survival_identity import linked

SUPERVISES = """
    import sys
    from pathlib import Path

    import trio

    import warren

    async def main() -> None:
        async with warren.open_supervisor(data_dir=Path(sys.argv[1])) as supervisor:
            spec = warren.ServiceSpec(name=sys.argv[2], command=warren.Argv(["sleep", "99d"]))
            service = await supervisor.start(spec)
            await service.wait_ready()
            print("ready", flush=True)
            await trio.sleep_forever()

    trio.run(main)
"""


def renamed(place: Place) -> Place:
    """The same directory, whose node has another name."""
    return Place(place.folder)


def test_up_under_another_name_is_refused_over_what_runs(place: Place) -> None:
    name, other = unique("kept"), renamed(place)
    with place.up() as first:
        place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
        before = place.pids()
        place.kill(first)
    with Command("up", "--plain", "--name", other.node, env=place.env, cwd=place.folder) as refused:
        assert refused.wait() == 1
        said = f"this data directory belongs to node {place.node}, of which {name}.1#1 still runs"
        assert f"{said}; nothing was started as {other.node}" in refused.errors
        assert f"want --name {place.node}" in refused.errors
    assert place.pids() == before
    with place.up() as again:
        assert pids_of(place.wait_ready(name)) == list(before)
        again.send(signal.SIGTERM)
        assert again.wait() == 0
    assert not place.pids()
    with other.up() as anew:  # nothing is left of the old one
        (task,) = other.wait_ready(name)
        assert (task["id"], task["node"]) == (f"{name}.1#2", other.node)
        assert list(other.pids(name)) == pids_of([task])
        nodes = other.ask("node", "ls")
        assert other.node in nodes
        assert place.node not in nodes
        assert f"node {place.node} goes on as {other.node}" in anew.errors


def test_what_the_library_left_running_is_of_the_name_it_had(place: Place) -> None:
    name = unique("kept")
    words = [sys.executable, "-c", dedent(SUPERVISES), place.data, name]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        before = marked(name)
        program.kill()
    up = ["up", "--plain", "--name", place.node]
    with Command(*up, env=place.env, cwd=place.folder) as refused:
        assert refused.wait() == 1
        said = f"this data directory belongs to node local, of which {name}.1#1 still runs"
        assert said in refused.errors
        assert "(of open_supervisor: node='local')" in refused.errors
    assert marked(name) == before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    with place.up():  # nothing runs, so that nothing can be ended
        (task,) = place.wait_ready(name)
        assert (task["id"], task["node"]) == (f"{name}.1#2", place.node)


def test_node_under_another_name_is_refused_by_its_manager_and_ends_nothing(place: Place) -> None:
    name, other = unique("kept"), renamed(place)
    with place.manager():
        with linked(place) as first:
            place.ask("service", "create", name, "--wait", "--", "sleep", "99d")
            before = place.pids()
            place.kill(first)
        with other.node_run() as refused:
            said = f"this data directory belongs to node {place.node}, which has 1 task"
            wait_until(lambda: said in refused.errors, "it is refused")
            assert refused.process.poll() is None
            place.kill(refused)
        assert place.pids() == before
        with linked(place):
            assert pids_of(place.wait_ready(name)) == list(before)
