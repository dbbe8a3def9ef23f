"""The file descriptors this process may still open, of which some are reserved.

A start that used up the last descriptor would leave none for a client that asks why, for probes, or
for the journal. Counted by /proc only near the limit, and then at most four times a second.
"""

from __future__ import annotations

import os
import resource
import time

from warren.process import spare_descriptors

RESERVE_PART = 4  # one part in so many is reserved for connections, probes and files ...
MOST_RESERVED = 288  # ... but no more than this: the cap of network checks, and some
A_START = 4  # descriptors that one may take for a moment
COUNT_EVERY = 0.25  # seconds
PER_TASK = 1  # its process


class Descriptors:
    """Whether there are descriptors to start one more program."""

    def __init__(self) -> None:
        self._used = 0  # at most: what was counted, and what was started since
        self._counted_at = 0.0
        self._recount()

    def __repr__(self) -> str:
        return f"<Descriptors {self._used}/{limit()}>"

    def shortage(self) -> str | None:
        """Why nothing more should be started now; None where it may."""
        most = limit()
        usable = most - reserve(most) + spare_descriptors.COUNT  # held, and a part of the reserve
        if self._used + A_START > usable:
            if time.monotonic() - self._counted_at >= COUNT_EVERY:
                self._recount()
            if self._used + A_START > usable:
                return f"no file descriptors left: {self._used} of {most} are in use"
        self._used += PER_TASK
        return None

    def lacking(self, tasks: int) -> str | None:
        """What to say where the limit will not do for so many tasks; None where it will."""
        most = limit()
        wanted = tasks * PER_TASK + reserve(most) + A_START
        if wanted <= most:
            return None
        said = "raise the hard limit (ulimit -Hn, LimitNOFILE= of a unit)"
        return f"{tasks:,} tasks want {wanted:,} descriptors, and the limit is {most:,}: {said}"

    def _recount(self) -> None:
        self._counted_at = time.monotonic()
        try:
            self._used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - thousands of names
        except OSError:  # none left even for this
            self._used = limit()


def limit() -> int:
    """The number of descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def reserve(most: int) -> int:
    """How many of them starts do not use."""
    return min(most // RESERVE_PART, MOST_RESERVED)
