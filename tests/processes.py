"""What the tests of processes share: bounded waiting, and counting what is left."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import trio

from warren.process import procfs

NAUGHTY = Path(__file__).parent / "process" / "naughty"
PATIENCE = 20.0


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; an error after PATIENCE seconds."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # files and /proc wake nobody
            await trio.sleep(0.001)


def marked(name: str, value: str) -> list[int]:
    """Living processes started with that variable."""
    marker = f"{name}={value}".encode()
    return [stat.pid for stat in procfs.all_stats() if procfs.has_marker(stat.pid, marker)]


def open_handles() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def zombies() -> set[int]:
    """Children of this process that nobody has reaped."""
    stats = (procfs.read_stat(pid) for pid in procfs.own_children())
    return {stat.pid for stat in stats if stat is not None and stat.is_dead}


@contextlib.contextmanager
def only_descriptors(spare: int) -> Generator[None]:
    """A process that can open so many more files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    fillers = list[int]()
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(spare):
            os.close(fillers.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for handle in fillers:
            os.close(handle)


def fill_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Trio have no room to watch a descriptor: over fs.epoll.max_user_watches, which is the
    whole machine's."""

    def full(_descriptor: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trio.lowlevel, "wait_readable", full)
