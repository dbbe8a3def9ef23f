"""A main process under watch: its end, signals to it. Owns one pidfd, from start to `close`.

Whether it has ended is asked of that pidfd alone: a supervisor short of descriptors is never
wrong about it, and can kill it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal

import trio

from warren.process import ending, procfs
from warren.process.reaper import Reaper


class Watched:
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
        return f"<Watched {self.pid}{' ended' if self._has_ended else ''}>"

    @property
    def status(self) -> int | None:
        """Its wait status once it has ended; None while it runs, or when nobody can tell."""
        return self._status

    @classmethod
    def child(cls, pid: int, pidfd: int, *, reaper: Reaper) -> Watched:
        """Watch a held child. Raises OSError: no descriptors left, or gone before it was held."""
        stat = procfs.read_stat(pid)
        ending.child_status(pidfd)
        if stat is None:  # pragma: no cover  # a child stays until it is reaped
            raise ChildProcessError(errno.ECHILD, os.strerror(errno.ECHILD))
        return cls(pid, stat.start, pidfd, reaper=reaper, is_child=True)

    @classmethod
    def stranger(cls, pid: int, start: int, *, reaper: Reaper) -> Watched | None:
        """Watch a process of an earlier supervisor; None when that very process is gone.

        Raises OSError: no descriptors left.
        """
        try:
            pidfd = os.pidfd_open(pid)
        except (ProcessLookupError, ValueError):
            return None
        except FileNotFoundError:  # it lives, but its first thread has ended: nobody can watch it
            return None
        # Opened first, compared then: whom the descriptor names can no longer change.
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
        if ending.has_ended(self._pidfd):
            self._has_ended = True
            if self._is_child:
                self._status = ending.child_status(self._pidfd)
            if self._status is None:  # or a child that somebody traces: only the tracer hears yet
                self._status = ending.stranger_status(self._pidfd, self.pid, self.start)
        return self._has_ended

    async def wait(self) -> int | None:
        """Wait for its end; its wait status, None when nobody can tell."""
        async with self._looking:
            while not self.look():
                await ending.wait_ended(self._pidfd)
        return self._status

    def send(self, number: int) -> None:
        """Send it a signal. Harmless when it has ended."""
        if not self.look():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Reap it if it is ours and let go. It must have ended."""
        assert self._has_ended, "an owner waits before it lets go"
        if self._is_child:
            self._reaper.reap_at_its_end(self.pid)
        os.close(self._pidfd)

    def leave(self) -> None:
        """Let go of it whether it has ended or not: whoever watches it next will tell."""
        os.close(self._pidfd)
