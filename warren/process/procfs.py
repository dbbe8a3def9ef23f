"""What `/proc` shows of processes, and of what is mounted where.

A pid alone does not identify a process for long: wherever one is remembered it is a `Stat`, whose
`start` (field 22, clock ticks since boot) distinguishes it from a later process with the same pid.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
DEAD_STATES = frozenset("ZXx")
# Anything else, above all "no descriptors left", must not read as "no such process".
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


class Stat(NamedTuple):
    """The fields of `/proc/PID/stat` that Warren uses. `exit_status` is a wait status."""

    pid: int
    state: str
    parent: int
    session: int
    start: int
    exit_status: int
    threads: int = 1

    @property
    def is_dead(self) -> bool:
        """Whether it is a zombie: it no longer runs and waits to be reaped. One whose first thread
        alone has ended looks like one."""
        return self.state in DEAD_STATES and self.threads <= 1

    @property
    def is_stopped(self) -> bool:
        """Whether a signal or a tracer has stopped it."""
        return self.state in ("T", "t")


class Mount(NamedTuple):
    """A line of `/proc/self/mountinfo`. `device` is `MAJOR:MINOR`, `kind` such as `fuse.sshfs`."""

    device: str
    point: str
    kind: str


def read_stat(pid: int) -> Stat | None:
    """The process's stat, or None when there is no such process."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except _GONE:
        return None
    # The name in parentheses may hold anything, also ") Z 1".
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        state=chr(fields[0][0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        start=int(fields[19]),
        exit_status=int(fields[49]),
        threads=int(fields[17]),
    )


def is_same(pid: int, start: int) -> bool:
    """Whether the pid still names the process that started then (a zombie included)."""
    stat = read_stat(pid)
    return stat is not None and stat.start == start


def all_pids() -> list[int]:
    """Every pid in this pid namespace, ascending: a child is seen after its parent."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208


def all_stats() -> Iterator[Stat]:
    """Every process that can be read."""
    for pid in all_pids():
        stat = read_stat(pid)
        if stat is not None:
            yield stat


def read_environ(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it may not or can not be read."""
    try:
        text = _read(f"/proc/{pid}/environ")
    except _GONE:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in text.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def has_marker(pid: int, marker: bytes) -> bool | None:
    """Whether `NAME=VALUE` is in the environment the process was started with.

    None: it shows no environment at all. It is in the middle of an exec, or truly has none.
    """
    try:
        text = _read(f"/proc/{pid}/environ")
    except _GONE:
        return False
    if not text:
        return None
    return marker in text and marker in text.split(b"\0")


def last_pid() -> int:
    """The last pid allocated in this namespace: no younger process exists unless pids wrapped."""
    return int(_read("/proc/loadavg").rsplit(b" ", 1)[1])


def own_children() -> list[int]:
    """The pids of this process's children, zombies included."""
    try:
        tasks = os.listdir("/proc/self/task")  # noqa: PTH208
        texts = [_read(f"/proc/self/task/{task}/children") for task in tasks]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        own = os.getpid()
        return [stat.pid for stat in all_stats() if stat.parent == own]
    return [int(pid) for text in texts for pid in text.split()]


def cgroups(pid: int) -> bytes:
    """The process's cgroups in all hierarchies, as the kernel writes them; empty without one."""
    try:
        return _read(f"/proc/{pid}/cgroup")
    except _GONE:
        return b""


def cgroup2_path(pid: int) -> str | None:
    """The process's path in the cgroup2 hierarchy; a zombie's too."""
    try:
        text = _read(f"/proc/{pid}/cgroup")
    except _GONE:
        return None
    for line in os.fsdecode(text).split("\n"):  # a name may hold any other byte
        if line.startswith("0::"):
            return line[3:].removesuffix(" (deleted)")
    return None


def boot_id() -> str:
    """Which boot of the machine this is: pids and start times mean nothing in another."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def mounts() -> Iterator[Mount]:
    """What is mounted, as this process sees it."""
    # Any user may mount something at a path of odd bytes, of which four are escaped and no others.
    # Reads return pieces shorter than what was asked for: read it to its end.
    for line in (_PROC / "self/mountinfo").read_bytes().split(b"\n"):
        fields, _, rest = line.partition(b" - ")
        if rest:
            device, _root, point = fields.split(b" ")[2:5]
            kind = rest.partition(b" ")[0]
            yield Mount(os.fsdecode(device), os.fsdecode(_unescaped(point)), os.fsdecode(kind))


def _unescaped(path: bytes) -> bytes:
    return re.sub(rb"\\([0-3][0-7]{2})", lambda code: bytes([int(code[1], 8)]), path)


def _read(path: str) -> bytes:
    # Not pathlib: this is read thousands of times, and a stat must come from one read call.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(handle, 1 << 16)
        while len(text) and len(text) % 4096 == 0 and (more := os.read(handle, 1 << 16)):
            text += more
        return text
    finally:
        os.close(handle)
