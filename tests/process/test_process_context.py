"""What is only short for now is told apart from what cannot be."""

from __future__ import annotations

import errno
import os

import pytest

from warren.model.interfaces import CannotRunError, ShortageError
from warren.process.context import Context, cannot_run

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


def test_a_path_that_is_long_is_cut_between_directories() -> None:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/root/.cargo/bin:/bin"
    with pytest.raises(CannotRunError) as caught:
        Context({"PATH": path}).resolve(["nosuch"])
    said = "nosuch: not found in PATH /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:..."
    assert str(caught.value) == said
