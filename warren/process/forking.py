"""Start a program at once, by fork and exec, with the limit of descriptors that programs get.

    room below that limit:  lower our own -> fork and exec -> raise it again
    none:                   fork and exec -> give the child its limit while its loader is at work

A child forked with its limit never sees another. But while our own is that low, no thread of this
process gets a descriptor beyond it: so this is done only where there is room.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import subprocess
from collections.abc import Generator, Sequence

from warren.process.context import Context
from warren.process.defaults import UMASK

_ROOM = 64  # descriptors that may be opened meanwhile, by other threads too


def fork_and_exec(
    argv: Sequence[str], context: Context, *, output: int, soft_limit: int | None
) -> int:
    """Start a resolved argv; returns its pid. `soft_limit` None: our own. Raises OSError."""
    if soft_limit is None:
        return _popen(argv, context, output)
    if _has_room_below(soft_limit, output):
        try:
            with own_limit(soft_limit):
                return _popen(argv, context, output)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
    pid = _popen(argv, context, output)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # ended, or set-uid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft_limit, hard))
    return pid


def _popen(argv: Sequence[str], context: Context, output: int) -> int:
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=context.cwd or "/",
        env=context.env,
        umask=UMASK,
        start_new_session=True,
    )
    # From here on the pid is watched by pidfd and reaped by its owner, not by this object.
    process.returncode = 0
    return process.pid


def _has_room_below(soft_limit: int, handle: int) -> bool:
    """Whether numbers are free below it. The kernel allocates the lowest first: where one `_ROOM`
    below is free, those after it are too, unless it is a gap; then the start is tried again."""
    try:
        probe = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, soft_limit - _ROOM)
    except OSError:  # none is free at all, or our own limit is lower
        return False
    os.close(probe)
    return probe == soft_limit - _ROOM


@contextlib.contextmanager
def own_limit(soft: int) -> Generator[None, None, None]:
    """Our own soft limit of descriptors, while a child is forked."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
