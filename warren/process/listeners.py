"""Which process listens on a port, as `/proc` shows it: no connection is made.

Only listening sockets are read, which the kernel lists before all others, and everything is
bounded: what is unknown is None, and never a guess. Reading the table takes milliseconds, so it is
done in a thread, at most a few times a second, for all callers.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable

import trio

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")  # of our own network namespace, which checks use
_LISTENS = b"0A"
_NOBODY = (b"0" * 8, b"0" * 32)  # a remote address of IPv4, and of IPv6
_MOST_BYTES = 8 << 20  # of one table: 50,000 listeners
_MOST_HANDLES = 100_000
_PAUSE = 0.25  # seconds between readings

Members = Callable[[], Iterable[int]]


class _TooManyError(Exception):
    """There is more than is read."""


class Listeners:
    """The sockets of this machine that listen. One reading at a time, however many callers."""

    def __init__(self) -> None:
        self._looking = trio.Lock()
        self._table = b""
        self._read_at = -math.inf  # when the reading began

    def __repr__(self) -> str:
        return f"<Listeners {len(self._table)} bytes>"

    async def belong_to(self, members: Members, port: int) -> bool | None:
        """Whether a process of `members` holds a socket that listens on the TCP port; None where
        that is unknown, or no process listens. `members` is called in a thread."""
        is_own = await self._look(members, port)
        if is_own is False:
            # Twice before False: a member may just have forked, or have begun to listen.
            is_own = await self._look(members, port)
        return is_own

    async def _look(self, members: Members, port: int) -> bool | None:
        asked = trio.current_time()
        async with self._looking:
            try:
                if self._read_at < asked:
                    await trio.sleep_until(self._read_at + _PAUSE)
                    begun = trio.current_time()
                    self._table = await trio.to_thread.run_sync(read_tables)
                    self._read_at = begun
                inodes = _listening(self._table, port)
                return await trio.to_thread.run_sync(_hold_any, members, inodes)
            except (OSError, RuntimeError, _TooManyError):  # no thread can be started, say
                return None


def _hold_any(members: Members, inodes: Iterable[int]) -> bool | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return None
    left = _MOST_HANDLES
    is_known = False
    for pid in members():
        handles = _handles(pid)
        is_known = is_known or handles is not None
        for handle in handles or ():
            left -= 1
            if not left:
                raise _TooManyError
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if os.readlink(f"/proc/{pid}/fd/{handle}") in wanted:  # noqa: PTH115
                    return True
    return False if is_known else None


def _handles(pid: int) -> list[str] | None:
    """The descriptors of a process, None where it is gone. Raises PermissionError."""
    try:
        return os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208
    except (FileNotFoundError, ProcessLookupError):
        return None


def _listening(table: bytes, port: int) -> list[int]:
    """The inodes of the sockets that listen on the port."""
    needles = [b":%04X %s:0000 %s " % (port, remote, _LISTENS) for remote in _NOBODY]
    rows = (rest for needle in needles for rest in table.split(needle)[1:])
    return [int(row.split(maxsplit=6)[5]) for row in rows]


def read_tables() -> bytes:
    """The kernel's tables of the sockets that listen, of IPv4 and IPv6."""
    return b"".join(_listeners(table) for table in _TABLES)


def _listeners(table: str) -> bytes:
    """The rows of the sockets that listen: they come first, and nothing else is read."""
    try:
        handle = os.open(table, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # a machine without IPv6
        return b""
    try:
        text = b""
        while chunk := os.read(handle, 1 << 14):
            text += chunk
            last = text[: text.rfind(b"\n")].rsplit(b"\n", 1)[-1].split()
            if last[0] != b"sl" and last[3] != _LISTENS:
                break
            if len(text) > _MOST_BYTES:
                raise _TooManyError
        return text
    finally:
        os.close(handle)
