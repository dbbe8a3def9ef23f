"""A data directory with real programs on it: `up`, or `manager run` and `node run`, and what they
have running."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from support_up import Command, run, unique, wait_until

Shape = dict[str, Any]


class Place:
    """A data directory and the node on it, whose name no other test has."""

    def __init__(self, folder: Path, *, node: str | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.node = node or unique("n")
        self.env = {"WARREN_DATA_DIR": str(self.data), "WARREN_ADDR": ""}

    # Programs

    def up(self, *options: str) -> Command:
        """`warren up` without a file; it answers."""
        return self._begun(Command("up", "--plain", *self._named(options), **self._where()))

    def manager(self, *options: str) -> Command:
        """`warren manager run`; it listens."""
        command = Command("manager", "run", *options, **self._where())
        wait_until(lambda: self._says(command, "listening at"), "the manager listens")
        return command

    def node_run(self, *options: str) -> Command:
        """`warren node run`, whether it has a link or not."""
        return Command("node", "run", *self._named(options), **self._where())

    def kill(self, command: Command) -> None:
        """`kill -9` of a program alone."""
        command.send(signal.SIGKILL)
        command.process.wait(10)

    # Commands

    def ask(self, *words: str | Path, status: int = 0) -> str:
        """A command that ends with this status; gives its output."""
        done = run(*words, cwd=self.folder, env=self.env)
        assert done.returncode == status, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr

    def inspect(self, name: str) -> Shape:
        """`service inspect NAME --json`."""
        return json.loads(self.ask("service", "inspect", name, "--json"))

    def services(self) -> list[Shape]:
        """`service ls --json`."""
        return json.loads(self.ask("service", "ls", "--json"))

    def tasks(self, name: str) -> list[Shape]:
        """Its current tasks."""
        return self.inspect(name)["tasks"]

    def wait_tasks(
        self, name: str, condition: Callable[[list[Shape]], bool], what: str
    ) -> list[Shape]:
        """Its tasks, once this is true of all of them together."""
        found = list[Shape]()

        def is_so() -> bool:
            found[:] = self.tasks(name)
            return condition(found)

        try:
            wait_until(is_so, f"{name}: {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(found, indent=1)}") from None
        return found

    def wait_ready(self, name: str, replicas: int = 1) -> list[Shape]:
        """Its tasks, once so many are ready and there are no others."""
        return self.wait_tasks(name, lambda tasks: is_ready(tasks, replicas), f"{replicas} ready")

    def events(self) -> list[Shape]:
        """All that is kept."""
        out = self.ask("events", "--since", "1h", "--json")
        return [json.loads(line) for line in out.splitlines()]

    # What there is

    def pids(self, service: str = "") -> dict[int, str]:
        """Living processes of the node's tasks: pid to the task they carry the mark of."""
        here = f"WARREN_NODE={self.node}".encode()
        found = dict[int, str]()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it has gone
            if here in variables:
                task = next((v for v in variables if v.startswith(b"WARREN_TASK=")), b"=?")
                found[int(entry.name)] = task.partition(b"=")[2].decode()
        return {pid: task for pid, task in found.items() if not service or of(task) == service}

    def rows_with(self, text: str) -> dict[str, list[str]]:
        """The rows of the manager's state that have this text anywhere, by table."""
        with closing(sqlite3.connect(f"file:{self.data}/manager.sqlite?mode=ro", uri=True)) as db:
            tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            rows = {name: db.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}
        found = {
            name: [repr(row) for row in held if text in repr(row)] for name, held in rows.items()
        }
        return {name: held for name, held in found.items() if held}

    def _named(self, options: tuple[str, ...]) -> list[str]:
        return ["--name", self.node, *options]

    def _where(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": self.env}

    def _begun(self, command: Command) -> Command:
        def answers() -> bool:
            assert command.process.poll() is None, command.errors
            return run("status", cwd=self.folder, env=self.env).returncode == 0

        wait_until(answers, "it answers")
        return command

    def _says(self, command: Command, text: str) -> bool:
        assert command.process.poll() is None, command.errors
        return text in command.errors


@contextmanager
def cleared(place: Place) -> Generator[Place, None, None]:
    """A place; what its programs have left running after a failed test is killed at the end."""
    try:
        yield place
    finally:
        for pid in place.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def of(task: str) -> str:
    """The service of a task's id."""
    return re.sub(r"\.\d+#\d+$", "", task)


def is_ready(tasks: list[Shape], replicas: int) -> bool:
    """Whether these are so many and all ready."""
    return len(tasks) == replicas and all(task["ready"] for task in tasks)


def pids_of(tasks: list[Shape]) -> list[int]:
    """The pids of the instances they have."""
    return [task["instance"]["pid"] for task in tasks if task["instance"]]
