"""What the kernel's log says of processes that it killed for want of memory, by their cgroup.

For containers whose engine does not say it. Only root may read it, and it forgets: a word that is
not found is no proof.
"""

from __future__ import annotations

import os

_LOG = "/dev/kmsg"
_RECORD = 8192  # bytes: no record has more
_MOST = 100_000  # records


def kills_in(cgroup: str) -> int:
    """How many processes were killed for memory in cgroups with this name in their path; 0 where
    that is not known. Reads the whole log: for a thread."""
    try:
        handle = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    wanted, count = os.fsencode(cgroup), 0
    try:
        for _ in range(_MOST):
            try:
                record = os.read(handle, _RECORD)
            except BlockingIOError:  # its end
                break
            except BrokenPipeError:  # overwritten meanwhile: the next is there
                continue
            count += is_kill(record, wanted)
    except OSError:
        return count
    finally:
        os.close(handle)
    return count


def is_kill(record: bytes, cgroup: bytes) -> bool:
    """Whether a record tells of a process killed for memory in such a cgroup."""
    if b"oom-kill:" not in record:
        return False
    _, found, rest = record.partition(b"task_memcg=")
    return bool(found) and cgroup in rest.partition(b",")[0]
