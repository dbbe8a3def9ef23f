"""What this process, and all that it starts, may use of the machine: cores and memory.

The affinity of the process, and the limits of its cgroup and of those above it, as far as cgroup2
has them. Limits that v1 controllers hold are not looked at. What cannot be read is no limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from warren.process import procfs

_MEMINFO = Path("/proc/meminfo")


def usable_cpus(cgroups: Iterable[Path] | None = None) -> float:
    """Cores: those it may run on, or fewer by a quota of these cgroups, by default its own."""
    cpus = float(len(os.sched_getaffinity(0)))
    return min([cpus, *map(_quota, own_cgroups() if cgroups is None else cgroups)])


def usable_memory(cgroups: Iterable[Path] | None = None) -> int:
    """Bytes that there are, or fewer by a limit; 0 where that cannot be known."""
    return min([_total(), *map(_limit, own_cgroups() if cgroups is None else cgroups)])


def own_cgroups() -> Iterator[Path]:
    """The directories of this process's cgroup2 and of those above it, the innermost first."""
    mount = next((one.point for one in procfs.mounts() if one.kind == "cgroup2"), None)
    own = procfs.cgroup2_path(os.getpid())
    if mount is None or own is None:
        return
    path = Path(mount, own.lstrip("/"))
    while path.is_relative_to(mount):
        yield path
        path = path.parent


def _quota(cgroup: Path) -> float:
    words = _words(cgroup / "cpu.max")  # `max 100000`, or microseconds of each period
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return float("inf")
    return int(words[0]) / int(words[1])


def _limit(cgroup: Path) -> int:
    words = _words(cgroup / "memory.max")
    return int(words[0]) if words and words[0].isdecimal() else _total()


def _total() -> int:
    for line in _lines(_MEMINFO):
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) << 10  # in kB
    return 0


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path)[:1] for word in line.split()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except OSError:
        return []
