"""Notice from the kernel that a file of a directory has grown: inotify, which Python lacks."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from contextlib import suppress
from pathlib import Path

_MODIFY, _MOVED_TO, _CREATE, _OVERFLOW = 0x2, 0x80, 0x100, 0x4000
_DELETED, _MOVED, _IGNORED = 0x400, 0x800, 0x8000  # the directory itself
_ONLY_DIRECTORIES = 0x01000000
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_AT_ONCE = 1 << 16  # bytes


class Changes:
    """Names of files in a directory that were made or written to. Raises OSError when made.

    `handle` can be polled for reading. `close` it.
    """

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.handle = _checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        mask = _MODIFY | _MOVED_TO | _CREATE | _DELETED | _MOVED | _ONLY_DIRECTORIES
        try:
            _checked(libc.inotify_add_watch(self.handle, os.fsencode(directory), mask))
        except OSError:
            self.close()
            raise

    def read(self) -> set[str] | None:
        """The names since the last call; None where some were lost. Raises OSError, with
        ENOENT where the directory is gone."""
        names = set[str]()
        is_whole = True
        while True:
            try:
                data = os.read(self.handle, _AT_ONCE)
            except BlockingIOError:
                return names if is_whole else None
            offset = 0
            while offset < len(data):
                _, mask, _, length = _HEAD.unpack_from(data, offset)
                offset += _HEAD.size + length
                if mask & (_DELETED | _MOVED | _IGNORED):
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
                is_whole = is_whole and not mask & _OVERFLOW
                names.add(os.fsdecode(data[offset - length : offset].rstrip(b"\0")))

    def close(self) -> None:
        """Close the descriptor."""
        with suppress(OSError):  # Linux closes it whatever it returns
            os.close(self.handle)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
