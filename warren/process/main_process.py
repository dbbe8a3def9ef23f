"""A main process under watch: its end, signals to it. Owns one pidfd, from start to `close`.

That pidfd alone shows whether it has ended: a supervisor short of descriptors is never wrong about
it, and can kill it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal

import trio

from warren.process import exit_status, procfs
from warren.process.reaper import Reaper


class MainProcess:
    """A process known by pid and start time; our child, or adopted."""

    def __init__(self, pid: int, start: int, pidfd: int, *, reaper: Reaper, is_child: bool) -> None:
        self.pid = pid
        self.start = start
        self._pidfd = pidfd
        self._reaper = reaper
        self._is_child = is_child
        self._has_ended = False
        self._status: int | None = None
        # Trio lets one task at a time wait for a descriptor; the others wait for that task.
        self._looking = trio.Lock()
        if is_child:
            reaper.hold(pid)

    def __repr__(self) -> str:
        return f"<MainProcess {self.pid}{' ended' if self._has_ended else ''}>"

    @property
    def status(self) -> int | None:
        """Its wait status once it has ended; None while it runs, or when it is unknown."""
        return self._status

    @property
    def is_over(self) -> bool:
        """Whether it was seen to have ended, and nobody waits for that any more."""
        return self._has_ended and not self._looking.locked()

    @classmethod
    def child(cls, pid: int, pidfd: int, *, reaper: Reaper) -> MainProcess:
        """Watch a held child. Raises OSError: no descriptors left, or gone before it was held."""
        stat = procfs.read_stat(pid)
        exit_status.child_status(pidfd)
        if stat is None:  # pragma: no cover  # a child stays until it is reaped
            raise ChildProcessError(errno.ECHILD, os.strerror(errno.ECHILD))
        return cls(pid, stat.start, pidfd, reaper=reaper, is_child=True)

    @classmethod
    def stranger(cls, pid: int, start: int, *, reaper: Reaper) -> MainProcess | None:
        """Watch a process of an earlier supervisor; None when that very process is gone.

        Raises OSError: no descriptors left.
        """
        try:
            pidfd = os.pidfd_open(pid)
        except (ProcessLookupError, ValueError):
            return None
        except FileNotFoundError:  # it lives, but its first thread has ended: not to be watched
            return None
        # Opened first, then compared: the process it refers to can no longer change.
        try:
            stat = procfs.read_stat(pid)
        except BaseException:
            os.close(pidfd)
            raise
        if stat is None or stat.start != start:
            os.close(pidfd)
            return None
        return cls(pid, start, pidfd, reaper=reaper, is_child=stat.parent == os.getpid())

    def look(self) -> bool:
        """Whether it has ended by now."""
        if self._has_ended:
            return True
        if exit_status.has_ended(self._pidfd):
            self._has_ended = True
            if self._is_child:
                self._status = exit_status.child_status(self._pidfd)
            if self._status is None:  # or a traced child: only its tracer is notified yet
                self._status = exit_status.stranger_status(self._pidfd, self.pid, self.start)
        return self._has_ended

    async def wait(self) -> int | None:
        """Wait for its end; returns its wait status, None when it is unknown."""
        async with self._looking:
            while not self.look():
                await exit_status.wait_ended(self._pidfd)
        return self._status

    def send(self, number: int) -> None:
        """Send it a signal. Harmless when it has ended."""
        if not self.look():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Reap it if it is ours and close the pidfd. It must have ended."""
        assert self._has_ended, "an owner waits before it lets go"
        if self._is_child:
            self._reaper.reap_at_its_end(self.pid)
        os.close(self._pidfd)

    def leave(self) -> None:
        """Close the pidfd whether it has ended or not: its next supervisor watches it."""
        os.close(self._pidfd)
