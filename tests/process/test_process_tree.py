"""A kill is tried until it is done, whatever the kernel is short of."""

from __future__ import annotations

import errno
import os
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from warren.process.tree import ProcessTree, kill_surely

PASSING = ("EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR", "EIO", "ENOBUFS", "ENOSPC")


class Refusing:
    """Plays a tree whose kill fails at first."""

    def __init__(self, number: int, times: int) -> None:
        self.number = number
        self.left = times

    async def kill(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.left:
            self.left -= 1
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("name", PASSING)
async def test_a_kill_goes_on_after_what_passes(name: str, autojump_clock: MockClock) -> None:
    tree = Refusing(getattr(errno, name), 20)
    with trio.CancelScope() as scope:
        scope.cancel()
        await kill_surely(cast("ProcessTree", cast("Any", tree)))
    assert not tree.left


async def test_a_kill_that_may_not_be_is_no_shortage(autojump_clock: MockClock) -> None:
    with pytest.raises(PermissionError):
        await kill_surely(cast("ProcessTree", cast("Any", Refusing(errno.EPERM, 1))))
