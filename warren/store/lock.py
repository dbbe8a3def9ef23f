"""One Warren to a data directory, or one of each role: locks that the kernel lets go of at any
death."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from warren.store.directory import DataDirectoryError, refuse_unsafe

__all__ = ["DataDirectoryError", "LockHold", "locked"]
BACKLOG = 4096  # no connection is accepted: each start that was refused stays in the queue
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class LockHold:
    """A data directory that is held."""

    def __init__(self, lock: int, path: Path) -> None:
        self._lock = lock
        self._path = path

    def __repr__(self) -> str:
        return f"<LockHold {self._path}>"

    def trouble(self) -> str | None:
        """What has happened to the directory, where it is not ours any more."""
        held = os.fstat(self._lock)
        try:
            found = self._path.lstat()
        except OSError as error:
            said = f"has been removed ({error.strerror})"
        else:
            if (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino):
                return None
            said = "has been replaced"
        return f"{self._path.parent} {said}: what is written down is lost; start this program anew"


@contextmanager
def locked(
    directory: Path, *, role: str | None = None, wanted: str = "want another --data-dir"
) -> Generator[LockHold, None, None]:
    """Hold a data directory, made if need be. Raises DataDirectoryError.

    Roles, such as `manager` and `node`, do not shut each other out. `wanted` is what is to be done
    where it is in use. The path is held as well as the file: where the directory was removed under
    a running program and made anew, that program still runs.
    """
    name = f"{role}.lock" if role else "lock"
    who = f"warren {role}" if role else "warren"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_unsafe(directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(directory / name, flags, 0o600)
    except OSError as error:
        raise DataDirectoryError(f"data directory {directory}: {error.strerror}") from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            _take(lock, directory, who, wanted)
            _claim(claim, directory, name, who)
            yield LockHold(lock, directory / name)
        finally:
            os.close(lock)


def _take(lock: int, directory: Path, who: str, wanted: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        said = f"is in use by another {who}, pid {holder}; {wanted}"
        raise DataDirectoryError(f"data directory {directory} {said}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _claim(claim: socket.socket, directory: Path, name: str, who: str) -> None:
    """Hold the path, by a name in the kernel that goes with this process. It is of this mount
    namespace: in another one the same path is another directory."""
    place = f"{Path('/proc/self/ns/mnt').readlink()}\0{os.geteuid()}\0{directory / name}"
    address = f"\0warren-{hashlib.sha256(place.encode()).hexdigest()[:32]}"
    try:
        claim.bind(address)
        claim.listen(BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return  # a kernel without such names: the lock alone has to suffice
        pid, uid = _holder(address)
        if uid not in (0, os.geteuid()):
            return  # another user's process, which may only want to prevent this start
        said = f"was removed or replaced under another {who}, pid {pid}, which still runs"
        raise DataDirectoryError(f"data directory {directory} {said}; end it first") from None


def _holder(address: str) -> tuple[int, int]:
    """Pid and uid; -1 where unknown."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except OSError:
            return -1, -1
        option = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(option)
    return int(pid), int(uid)
