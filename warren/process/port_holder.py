"""Which process listens on a TCP port: as far as `/proc` shows it to us, and soon.

/proc/net/tcp{,6}: port -> its listening socket -> /proc/PID/fd: the process that has it open

It is asked for the words of a refusal, in the event loop. So what is known of a socket is kept, and
a search of all processes ends after SOUGHT_FOR: then nobody is named.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from warren.process import procfs

SOUGHT_FOR = 0.05  # seconds of this thread
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"


class PortHolders:
    """What is known of the holders of ports that were asked for."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int | None]] = {}  # by port: a socket, and its process

    def __repr__(self) -> str:
        return f"<PortHolders of {len(self._known)} ports>"

    def of(self, port: int) -> str | None:
        """`pid 123 (nginx)`; None where that cannot be found out."""
        try:
            for inode in _listeners(port):
                pid = self._holder(port, inode)
                if pid is not None:
                    return f"pid {pid} ({_name(pid)})"
        except OSError:  # of descriptors there may be none
            pass
        return None

    def _holder(self, port: int, inode: int) -> int | None:
        known, pid = self._known.get(port, (0, None))
        if known == inode and (pid is None or _has_open(pid, inode)):
            return pid
        pid = _search(inode)
        self._known[port] = inode, pid
        return pid


def _listeners(port: int) -> Iterator[int]:
    """The sockets that listen on a port, by inode."""
    for path in _TABLES:
        with suppress(FileNotFoundError), Path(path).open(encoding="ascii") as table:
            next(table, None)  # the heading
            for line in table:
                _, local, _, state, *rest = line.split()
                if state != _LISTENS:  # these come first
                    break
                if int(local.rpartition(":")[2], 16) == port:
                    yield int(rest[5])


def _search(inode: int) -> int | None:
    ends = time.thread_time() + SOUGHT_FOR
    for pid in procfs.all_pids():
        if time.thread_time() > ends:
            return None
        if _has_open(pid, inode):
            return pid
    return None


def _has_open(pid: int, inode: int) -> bool:
    wanted, folder = f"socket:[{inode}]", f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - thousands
    except OSError:  # it has gone, or is another user's
        return False
    for name in names:
        with suppress(OSError):
            if os.readlink(f"{folder}/{name}") == wanted:  # noqa: PTH115
                return True
    return False


def _name(pid: int) -> str:
    """As `ps` has it; on one line, whatever it is."""
    try:
        text = Path(f"/proc/{pid}/comm").read_bytes().decode("utf-8", "backslashreplace").strip()
    except OSError:
        return "?"
    return "".join(c if c.isprintable() else "?" for c in text)
