"""Processes of a container, as its machine sees them: what an exec check has left in it.

Of which container a process is, its cgroup says: a pid is an engine's word, and one that is wrong,
or of another pid namespace, must not get somebody else's process killed.

A container is the engine's, its cgroups too: it is only looked into here, and what belongs to one
check is killed. It belongs by a marker in its environment, by the session that the check's own
process leads, or by its parent.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from warren.process import procfs
from warren.process.procfs import Stat
from warren.process.tree import send

_MOUNT = Path("/sys/fs/cgroup")
_ID = re.compile(r"[0-9a-f]{64}")
_ROUNDS = 200
_PAUSE = 0.005  # seconds, between rounds


class CannotSeeError(OSError):
    """The processes of the container are not to be seen or killed from here."""


def end_check(container: int, check: int, marker: bytes) -> int:
    """Kill everything of a check in the container whose first process is `container`: `check` is
    the pid of its own process, 0 where that is not known. Returns how many processes there were.

    Takes a while where there is something: for a thread. Raises CannotSeeError.
    """
    killed = set[tuple[int, int]]()
    for _ in range(_ROUNDS):
        left = list(_belonging(container, check, marker))
        if not left:
            return len(killed)
        for stat in left:
            killed.add((stat.pid, stat.start))
            try:
                send(stat, signal.SIGKILL)
            except PermissionError as error:
                raise CannotSeeError(error.errno, error.strerror) from None
        time.sleep(_PAUSE)
    return len(killed)


def start_in(pid: int, container: str) -> int:
    """When that process was started; 0 where there is none in the container with this id."""
    stat = procfs.read_stat(pid)
    if stat is None or not _ID.fullmatch(container):
        return 0
    is_in = container.encode() in procfs.cgroups(pid)
    return stat.start if is_in and procfs.is_same(pid, stat.start) else 0


def is_alive(pid: int, start: int) -> bool:
    """Whether that process has not ended."""
    stat = procfs.read_stat(pid)
    return stat is not None and stat.start == start and not stat.is_dead


def kill_first(pid: int, start: int, container: str) -> bool:
    """Kill a container's first process, and so all of it; whether it is that process still, in that
    container, and may be killed."""
    stat = procfs.read_stat(pid)
    if stat is None or start_in(pid, container) != start or not is_alive(pid, start):
        return False
    try:
        send(stat, signal.SIGKILL)
    except OSError:
        return False
    return True


def _belonging(container: int, check: int, marker: bytes) -> Iterator[Stat]:
    found = set[int]()
    for pid in members(container):
        stat = procfs.read_stat(pid)
        if stat is None or stat.is_dead:
            continue
        if (
            pid == check
            or stat.session == check != 0
            or stat.parent in found
            or procfs.has_marker(pid, marker)
        ):
            found.add(pid)
            yield stat


def members(pid: int) -> list[int]:
    """Every process in the cgroup of this one, and below. Raises CannotSeeError."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text("utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CannotSeeError(error.errno, error.strerror) from None
    for directory in _directories(text.splitlines()):
        try:
            return sorted(set(_pids(directory)))
        except OSError:
            continue
    raise CannotSeeError(f"no cgroup of process {pid} can be read")


def _directories(lines: Iterable[str]) -> Iterator[Path]:
    """Where it may be: one cgroup2, or one of the hierarchies before it."""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if path == "/":  # everything is in there
            continue
        if controllers:
            name = controllers.removeprefix("name=")
            yield _MOUNT / name / path.lstrip("/")
        else:
            yield _MOUNT / path.lstrip("/")
            yield _MOUNT / "unified" / path.lstrip("/")


def _pids(directory: Path) -> Iterator[int]:
    for at, _, files in os.walk(directory, onerror=_raise):
        if "cgroup.procs" in files:
            yield from map(int, (Path(at) / "cgroup.procs").read_text("ascii").split())


def _raise(error: OSError) -> None:
    raise error
