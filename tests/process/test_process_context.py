"""What is only short for now is told apart from what cannot be."""

from __future__ import annotations

import errno
import os

import pytest

from warren.model.seams import ShortageError
from warren.process.context import cannot_run

SHORT = ("EMFILE", "ENFILE", "EAGAIN", "ENOMEM", "ENOBUFS", "ENOSPC", "EDQUOT")


@pytest.mark.parametrize("name", SHORT)
def test_shortage_is_the_nodes_and_no_failure_of_the_program(name: str) -> None:
    number = getattr(errno, name)
    told = cannot_run(OSError(number, os.strerror(number)), "/bin/true")
    assert isinstance(told, ShortageError)
    assert str(told).startswith("/bin/true: no ")
    assert os.strerror(number) in str(told)


def test_what_may_not_be_is_no_shortage() -> None:
    told = cannot_run(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "/bin/true")
    assert not isinstance(told, ShortageError)
