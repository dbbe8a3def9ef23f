"""A few descriptors that are held so that they can be given up.

To end a process tree takes some: of its cgroup's files, and of `/proc`. A program that embeds a
supervisor may have used up its last one, for ever; then what has to end would never end, nor would
the supervisor. What is given up here any other part of the program may take, so it is not certain.
"""

from __future__ import annotations

import errno
import os

COUNT = 6  # as many as the kill of a tree has open at a time, and some
_NONE_LEFT = (errno.EMFILE, errno.ENFILE)


class SpareDescriptors:
    """None are held at first."""

    def __init__(self) -> None:
        self._held = list[int]()

    def __repr__(self) -> str:
        return f"<SpareDescriptors {len(self._held)}>"

    def hold(self) -> None:
        """Hold as many as there should be and can be."""
        while len(self._held) < COUNT:
            try:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def give_up(self, error: OSError | None = None) -> None:
        """Give them up; after an error, where it is the want of them."""
        if error is None or error.errno in _NONE_LEFT:
            while self._held:
                os.close(self._held.pop())
