"""Programs that a benchmark measures, each in a process of its own, and ended with it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 30.0  # seconds until a program must be ready
POLL = 0.01


@contextmanager
def child(argv: Sequence[str | Path]) -> Generator[str]:
    """A program that prints one line when it is ready: that line. TERM ends it."""
    with _ended(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError(f"{argv}: it has ended with {process.wait()}")
        yield line


@contextmanager
def warren(*arguments: str | Path, data_dir: Path) -> Generator[None]:
    """`warren ...` on a data directory. Not waited for: see `wait_listening`."""
    argv = [sys.executable, "-m", "warren", *arguments, "--data-dir", data_dir]
    with _ended(argv, stdout=subprocess.DEVNULL):
        yield


def wait_listening(path: Path) -> None:
    """Wait until somebody listens at a Unix socket."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
            sock.connect(str(path))
            return
        time.sleep(POLL)
    raise TimeoutError(f"nobody listens at {path} within {PATIENCE:.0f} s")


@contextmanager
def _ended(argv: Sequence[str | Path], *, stdout: int) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stdout=stdout, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
