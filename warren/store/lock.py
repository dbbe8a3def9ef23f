"""One Warren to a data directory, or one of each role: locks that the kernel lets go of at any
death."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from warren.store.directory import DataDirectoryError, refuse_unsafe

__all__ = ["DataDirectoryError", "locked"]


@contextmanager
def locked(
    directory: Path, *, role: str | None = None, wanted: str = "want another --data-dir"
) -> Generator[None, None, None]:
    """Hold a data directory, made if need be. Raises DataDirectoryError.

    Roles, such as `manager` and `node`, do not shut each other out. `wanted` is what is to be done
    where it is in use.
    """
    name = f"{role}.lock" if role else "lock"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_unsafe(directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(directory / name, flags, 0o600)
    except OSError as error:
        raise DataDirectoryError(f"data directory {directory}: {error.strerror}") from None
    try:
        _take(lock, directory, f"warren {role}" if role else "warren", wanted)
        yield
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
