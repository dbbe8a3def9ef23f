"""Descriptors that are held so that they can be given up."""

from __future__ import annotations

import errno
import os

from warren.process.spare_descriptors import COUNT, SpareDescriptors


def count() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_what_is_held_is_given_up_for_want_of_descriptors_alone() -> None:
    before, spare = count(), SpareDescriptors()
    assert count() == before
    for _ in range(2):
        spare.hold()
        assert count() == before + COUNT
    spare.give_up(OSError(errno.EIO, "no matter"))
    assert count() == before + COUNT
    spare.give_up(OSError(errno.EMFILE, "none left"))
    assert count() == before
    spare.hold()
    spare.give_up()
    assert count() == before
