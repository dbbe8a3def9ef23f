"""How a process ended: wait for it by pidfd, describe it as an `End`.

The zombie of a child is left in place (WNOWAIT) until its tree has been killed: as long as it is
there, its pid and its session id cannot be reused.
"""

from __future__ import annotations

import os
import select
import signal
import time

from warren.model.byte_size import size_in_words
from warren.model.task import End, MemoryKill, Reason
from warren.process import procfs, syscalls
from warren.process.readable import wait_readable

_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def child_status(pidfd: int) -> int | None:
    """The wait status of a child that has ended; None while it runs. Leaves the zombie.

    Raises ChildProcessError when it is no child of ours.
    """
    found = os.waitid(os.P_PIDFD, pidfd, _LOOK)
    if found is None:
        return None
    if found.si_code == os.CLD_EXITED:
        return found.si_status << 8
    return found.si_status


def has_ended(pidfd: int) -> bool:
    """Whether any process, our child or not, is a zombie or gone. Takes no descriptor, so it
    can always be asked."""
    asked = select.poll()
    asked.register(pidfd, select.POLLIN)
    return any(found & select.POLLIN for _, found in asked.poll(0))


def stranger_status(pidfd: int, pid: int, start: int) -> int | None:
    """The wait status of an ended process that is not our child; None when it is unknown, or a
    shortage keeps us from asking."""
    try:
        stat = procfs.read_stat(pid)
    except OSError:
        stat = None
    if stat is not None and stat.start == start and stat.is_dead and _may_see(pid):
        return stat.exit_status
    try:
        return syscalls.pidfd_exit_status(pidfd)
    except OSError:
        return None


async def wait_ended(pidfd: int) -> None:
    """Wait until the process is a zombie or gone."""
    await wait_readable(pidfd)


def end_of(status: int | None, memory: MemoryKill | None = None) -> End:
    """An instance's end as people read it (S18). `status` None: unknown. `memory` is what the
    kernel has killed of it for want of memory: where that is the end, all of it was (S27)."""
    now = time.time()
    exit_code, name = (None, None) if status is None else split_status(status)
    if memory is not None and (name == "SIGKILL" or (status is None and memory.limit_bytes)):
        reason, message = Reason.OUT_OF_MEMORY, _of_memory(memory)
        return End(reason=reason, message=message, at=now, signal="SIGKILL", memory=memory)
    if status is None:
        message = "ended; its exit code is unknown, as an earlier supervisor had started it"
        return End(reason=Reason.LOST, message=message, at=now)
    if name is None:
        message = f"exited with code {exit_code}"
        return End(reason=Reason.EXITED, message=message, at=now, exit_code=exit_code)
    return End(reason=Reason.SIGNALED, message=f"killed by {name}", at=now, signal=name)


def _of_memory(memory: MemoryKill) -> str:
    """`out of memory: limit 64 MiB, peak 64 MiB`."""
    limit, peak = memory.limit_bytes, memory.peak_bytes
    under = (
        "the machine's, as it has no limit" if limit is None else f"limit {size_in_words(limit)}"
    )
    most = "" if peak is None else f", peak {size_in_words(peak)}"
    return f"{Reason.OUT_OF_MEMORY.value}: {under}{most}"


def split_status(status: int) -> tuple[int | None, str | None]:
    """A wait status as exit code or signal name."""
    code = os.waitstatus_to_exitcode(status)
    return (code, None) if code >= 0 else (None, signal_name(-code))


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; real-time signals are written `SIGRTMIN+1`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _may_see(pid: int) -> bool:
    # To others the kernel shows a status of 0, which would read as success.
    try:
        return os.geteuid() in (0, os.stat(f"/proc/{pid}").st_uid)  # noqa: PTH116
    except OSError:
        return False
