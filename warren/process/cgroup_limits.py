"""The files of one instance's cgroup: its limits, what it uses, what was killed for memory (S27).

They are of the instance's own cgroup, which gives no controller to those below it: so what is in
the cgroups of its checks counts too. What a kernel does not have, or a cgroup without the
controller, is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from warren.model.interfaces import CannotRunError
from warren.model.service import Resources
from warren.model.task import MemoryKill
from warren.model.usage import Usage

CPU_PERIOD = 100_000  # microseconds: the kernel's default
_SECOND = 1e6  # microseconds


class LimitFile(NamedTuple):
    """What is written to hold a limit. `may_lack`: the limit holds on a kernel without it too."""

    field: str
    name: str
    text: str
    may_lack: bool = False


def limit_files(resources: Resources) -> Iterator[LimitFile]:
    """What holds these limits, in the order in which it is written."""
    if resources.memory is not None:
        yield LimitFile(
            "memory", "memory.oom.group", "1", may_lack=True
        )  # one for all, all for one
        yield LimitFile("memory", "memory.swap.max", "0", may_lack=True)
        yield LimitFile("memory", "memory.max", str(int(resources.memory)))
    if resources.cpu is not None:
        yield LimitFile("cpu", "cpu.max", f"{round(resources.cpu * CPU_PERIOD)} {CPU_PERIOD}")
    if resources.pids is not None:
        yield LimitFile("pids", "pids.max", str(resources.pids))


def write_limits(cgroup: str, resources: Resources) -> None:
    """Hold these limits from now on. Raises CannotRunError."""
    for file in limit_files(resources):
        try:
            write_control(f"{cgroup}/{file.name}", file.text)
        except FileNotFoundError as error:
            if not file.may_lack:
                raise _cannot_hold(file, resources, error) from error
        except OSError as error:
            raise _cannot_hold(file, resources, error) from error


def usage_of(cgroup: str) -> Usage | None:
    """What all below it use; None where nothing of that is known, as it is gone."""
    cpu = _table(f"{cgroup}/cpu.stat")
    usage = Usage(
        memory_used=_number(f"{cgroup}/memory.current"),
        memory_peak=_number(f"{cgroup}/memory.peak"),
        cpu_seconds=_seconds(cpu, "usage_usec"),
        throttled_seconds=_seconds(cpu, "throttled_usec"),
        processes=_number(f"{cgroup}/pids.current"),
        processes_refused=_table(f"{cgroup}/pids.events").get("max"),
    )
    return None if usage == Usage() else usage


def memory_kill_of(cgroup: str) -> MemoryKill | None:
    """What the kernel has killed below it for memory."""
    killed = _table(f"{cgroup}/memory.events").get("oom_kill", 0)
    if not killed:
        return None
    limit, peak = (_number(f"{cgroup}/{name}") for name in ("memory.max", "memory.peak"))
    return MemoryKill(killed=killed, limit_bytes=limit, peak_bytes=peak)


def _cannot_hold(file: LimitFile, resources: Resources, error: OSError) -> CannotRunError:
    value: object = getattr(resources, file.field)
    said = f"{file.name} refuses it: {error.strerror}"
    return CannotRunError(f"resources.{file.field}: {value}: cannot be held here: {said}")


def _seconds(table: Mapping[str, int], name: str) -> float | None:
    return None if name not in table else table[name] / _SECOND


def _table(path: str) -> dict[str, int]:
    lines = (line.split() for line in _read(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdecimal()}


def _number(path: str) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None  # `max` is none


def _read(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(handle, 4096).decode("ascii", "replace")
        finally:
            os.close(handle)
    except OSError:  # no such file, or its cgroup is going
        return ""


def write_control(path: str | Path, text: str) -> None:
    """Write a file of a cgroup, in one write. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
