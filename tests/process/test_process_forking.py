"""A program started at once gets its limit of descriptors, and always starts."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import pytest

from warren.process import forking
from warren.process.context import Context
from warren.process.spawn import Starter

SOFT = 300  # which is what programs get


@contextlib.contextmanager
def all_numbers_taken(but: Iterable[int], *, upto: int = SOFT + 100) -> Generator[None]:
    """A process that has more descriptors open than programs get, with gaps at these numbers."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT + 200, limits[1]))
    fillers = set[int]()
    try:
        while len(fillers) == 0 or max(fillers) < upto:
            fillers.add(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        for gap in but:
            fillers.remove(gap)
            os.close(gap)
        yield
    finally:
        for handle in fillers:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def limit_of_a_check() -> int:
    """The limit that a program has which is started at once, its output in the lowest gap."""
    output = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        starter = Starter(soft_limit=SOFT)
        pid = starter.spawn(["/bin/sleep", "1000"], Context(env={}), output=output)
        try:
            told = re.search(r"Max open files +(\d+)", Path(f"/proc/{pid}/limits").read_text())
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    finally:
        os.close(output)
    assert told is not None
    return int(told[1])


def test_program_is_born_with_its_limit_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lowered = list[int]()
    monkeypatch.setattr(forking, "own_limit", noting(lowered))
    with all_numbers_taken((), upto=SOFT - 150):
        assert limit_of_a_check() == SOFT
    assert lowered == [SOFT]


def test_program_gets_its_limit_later_where_few_numbers_below_it_are_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lowered = list[int]()
    monkeypatch.setattr(forking, "own_limit", noting(lowered))
    with all_numbers_taken((100, 101, SOFT - 10)):  # three instances have ended
        assert limit_of_a_check() == SOFT
    assert lowered == []  # else our own threads could open nothing meanwhile


def test_program_starts_where_its_room_was_but_a_gap() -> None:
    with all_numbers_taken((100, SOFT - 64)):
        assert limit_of_a_check() == SOFT


def noting(lowered: list[int]) -> Callable[[int], contextlib.AbstractContextManager[None]]:
    own_limit = forking.own_limit  # itself, before it is replaced

    @contextlib.contextmanager
    def noted(soft: int) -> Generator[None]:
        lowered.append(soft)
        with own_limit(soft):
            yield

    return noted
