"""Running the command `warren` for real: lines read until a deadline, and what it left behind."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # seconds; only a failing test waits so long
TRAPPING = "trap '' TERM; echo trapping; while :; do sleep 1; done"
_numbers = itertools.count(1)


def unique(name: str) -> str:
    """A service's name that no other test, in this run or another, has."""
    return f"{name}-{os.getpid()}-{next(_numbers)}"


def write_services(path: Path, services: Mapping[str, Mapping[str, Any]]) -> Path:
    """A service file (JSON is YAML)."""
    path.write_text(json.dumps({"services": services}), encoding="utf-8")
    return path


def marked(service: str) -> dict[int, str]:
    """Living processes that carry the service's mark: pid to command line."""
    mark = f"WARREN_SERVICE={service}".encode()
    found = dict[int, str]()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = b" ".join(words).decode(errors="replace")
        except OSError:
            continue  # it has gone
    return found


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait for what gives no event of its own."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


def unmeasured() -> dict[str, str]:
    """The environment of a program that loads what it loads, and not what measures coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def run(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "warren", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )


class Command:
    """A `warren` command that runs. Use it in a `with`: at the end it is killed."""

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self._rest = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the command
        self.process = subprocess.Popen(
            [sys.executable, "-m", "warren", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.close_output()
        self._errors.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        """Standard error up to now."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def read_until(self, wanted: str | Callable[[str], bool], *, seconds: float = PATIENCE) -> str:
        """The next line that has this text, or of which this is true. Lines are kept."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._next_line(deadline)
            if line is None:
                said = "\n".join([*self.lines, "standard error:", self.errors])
                raise AssertionError(f"no line with {wanted!r} came in:\n{said}")
            if wanted in line if isinstance(wanted, str) else wanted(line):
                return line

    def wait_for(self, text: str, *, seconds: float = PATIENCE) -> str:
        """A line with this text: one read before, or the next one that comes."""
        before = next((line for line in self.lines if text in line), None)
        return before or self.read_until(text, seconds=seconds)

    def read_to_end(self, *, seconds: float = PATIENCE) -> list[str]:
        """Every line until the output ends, with those read before."""
        deadline = time.monotonic() + seconds
        while self._next_line(deadline) is not None:
            pass
        return self.lines

    def send(self, number: int) -> None:
        """Send a signal to the command itself."""
        self.process.send_signal(number)

    def wait(self, *, seconds: float = PATIENCE) -> int:
        """Its exit status; negative for a signal. Reads what is still to come."""
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.read_to_end(seconds=seconds)
        return self.process.wait(seconds)

    def close_output(self) -> None:
        """Read no more: the command's next write fails."""
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _next_line(self, deadline: float) -> str | None:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                return None
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        self.lines.append(line.decode())
        return self.lines[-1]


@contextmanager
def up(
    file: Path, data_dir: Path, *options: str, env: Mapping[str, str] | None = None
) -> Generator[Command, None, None]:
    """`warren up FILE`, stopped at the end if it still runs."""
    with Command("up", file, "--data-dir", data_dir, *options, env=env) as command:
        yield command
