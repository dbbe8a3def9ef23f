"""What a refusal says is so."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support_up import PATIENCE, Command, run, unique, wait_until

AS_NOBODY = """
import os, sys
import warren.cli.commands.show, warren.transport.client, warren.transport.codec
from warren.cli import main
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.needs_root
def test_another_users_manager_is_not_said_to_be_absent() -> None:
    with tempfile.TemporaryDirectory() as made, socket.socket(socket.AF_UNIX) as listener:
        path = Path(made) / "warren.sock"
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        Path(made).chmod(0o755)
        own = _as_nobody("service", "ls", "--addr", f"unix:{path}")
        Path(made).chmod(0o700)
        below = _as_nobody("service", "ls", "--addr", f"unix:{path}")
    assert own.stderr == (
        f"warren: may not connect to unix:{path}: the socket is of another user; want to be root\n"
    )
    assert below.stderr == (
        f"warren: may not connect to unix:{path}: its directory may not be entered; "
        "want to be its user, or root\n"
    )
    assert own.returncode == below.returncode == 4


def _as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}  # it may not write
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *words], capture_output=True, text=True, env=env
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("service ls foo", "'foo': want nothing more after warren service ls"
         " (`warren service ls --help` has what it takes)"),
        ("service create", "NAME: is missing; want it after warren service create"),
        ("service ls --addr", "--addr: want a value after it"),
        ("--data-dir X status", "'--data-dir': want the command first, and its options after it:"
         " warren COMMAND --data-dir ..."),
        ("statsu", "'statsu': no such command; did you mean status? want one of up, check, service,"
         " apply, task, node, events, status, manager, db"),
        ("service logs web.1#1", "NAME: 'web.1#1': want a service such as web;"
         " of a task or slot: warren task logs web.1#1"),
        ("service logs web.1", "NAME: 'web.1': want a service such as web;"
         " of a task or slot: warren task logs web.1"),
        ("task logs web", "TASK: 'web': want SERVICE.SLOT#NUMBER such as web.2#7"),
        ("apply", "FILE: there is no warren.yaml here; want the service file, such as:"
         " apply path/to/warren.yaml"),
    ],
)  # fmt: skip
def test_misuse_is_told_by_what_would_be_right(words: str, said: str, tmp_path: Path) -> None:
    done = run(*words.split(), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"warren: {said}\n")


def test_an_address_is_named_by_its_option() -> None:
    for words, option in (
        (["node", "run", "--manager", "foo"], "--manager"),
        (["manager", "run", "--listen", "foo"], "--listen"),
        (["service", "ls", "--addr", "foo"], "--addr"),
    ):
        done = run(*words)
        wanted = "want unix:PATH or tcp:HOST:PORT"
        assert (done.returncode, done.stderr) == (2, f"warren: {option}: 'foo': {wanted}\n")


def test_what_a_node_is_to_announce_is_refused_by_its_option(tmp_path: Path) -> None:
    for option, given, said in (
        ("--label", "zone", "want NAME=VALUE such as zone=a"),
        ("--address", "my.host", "want an IP address such as 10.0.0.7"),
    ):
        done = run("node", "run", option, given, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, f"warren: {option}: {given!r}: {said}\n")


def test_a_node_shows_what_it_was_told_and_what_the_machine_has(tmp_path: Path) -> None:
    env = {"WARREN_DATA_DIR": str(tmp_path), "WARREN_ADDR": ""}
    told = ["--label", "zone=a", "--label", "gpu=", "--address", "10.0.0.7"]
    name = unique("n")
    with Command("manager", "run", cwd=tmp_path, env=env) as manager:
        wait_until(lambda: "listening at" in manager.errors, "it listens")
        told += ["--engine", "none"]
        with Command("node", "run", "--name", name, *told, cwd=tmp_path, env=env):

            def is_ready() -> bool:
                return f"{name}  ready" in run("node", "ls", env=env).stdout

            wait_until(is_ready, "the node has enrolled")
            shown = run("node", "inspect", name, "--json", env=env).stdout
        shape = json.loads(shown)
        wait_until(lambda: not is_ready(), "the node has gone")
        later = json.loads(run("node", "inspect", name, "--json", env=env).stdout)
    assert (shape["labels"], shape["address"]) == ({"zone": "a", "gpu": ""}, "10.0.0.7")
    assert (shape["cpus"] > 0, shape["memory"] > 1 << 20) == (True, True)
    assert [each["name"] for each in shape["runtimes"]] == ["process"]
    assert (later["state"] != "ready", later["labels"]) == (True, shape["labels"])


def test_a_program_that_is_told_to_stop_says_so(tmp_path: Path) -> None:
    with Command("manager", "run", cwd=tmp_path, env={"WARREN_DATA_DIR": str(tmp_path)}) as manager:
        wait_until(lambda: "listening at" in manager.errors, "it listens")
        manager.send(signal.SIGINT)
        assert manager.process.wait(PATIENCE) == 0
        wait_until(lambda: "stopping: SIGINT was heard" in manager.errors, "it says so")
