"""The system calls Python has no name for."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

_PR_SET_CHILD_SUBREAPER = 36
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO_SIZE = 64
# _IOWR(PIDFS_IOCTL_MAGIC 0xFF, 11, struct pidfd_info of its first published size)
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO_SIZE << 16) | (0xFF << 8) | 11
_EXIT_STATUS_OFFSET = 60


def become_subreaper() -> None:
    """Let orphans of this process's descendants become its children, not those of pid 1."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:  # pragma: no cover  # since 3.4
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def pidfd_exit_status(pidfd: int) -> int | None:
    """The wait status of a process that was reaped, by any process. None before Linux 6.15."""
    info = bytearray(_PIDFD_INFO_SIZE)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        raise
    mask: int = struct.unpack_from("=Q", info, 0)[0]
    if not mask & _PIDFD_INFO_EXIT:
        return None
    status: int = struct.unpack_from("=i", info, _EXIT_STATUS_OFFSET)[0]
    return status
