"""When a piece of output was written, and where in it an instance began.

The programs write to the files themselves, so this is what the supervisor has seen of them:

    base 1048576                                        the position of the piece's first byte
    t 1048642 1764000000.25                             written up to there by that time
    s 1048642 1764000003.5 web.2#7 web.2-7.1-ab         this instance began there

A position counts all bytes that a slot has ever written. The file beside a piece is an aid: where
it is missing or damaged, times are unknown, and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

MOST = 4096  # times of one piece; then every second one is dropped
MOST_DIGITS = 18  # of a position
_LATEST = 1e11  # seconds since the epoch, some 3,000 years
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in its place is waited for by none
_MODE = 0o640


class Seen(NamedTuple):
    """By `at` (wall) the output was written up to `position`; there `task` began, if any."""

    position: int
    at: float
    task: str = ""
    instance: str = ""

    def line(self) -> str:
        """The line in the file."""
        if self.task:
            return f"s {self.position} {self.at!r} {self.task} {self.instance}\n"
        return f"t {self.position} {self.at!r}\n"


class LogIndex:
    """What is known of one piece. `base` is None where it was not recorded."""

    def __init__(self, base: int | None = None, seen: list[Seen] | None = None) -> None:
        self.base = base
        self.seen: list[Seen] = [] if seen is None else seen

    def reaches(self, position: int) -> bool:
        """Whether it is known by when all up to there was written."""
        return bool(self.seen) and self.seen[-1].position >= position

    def thinned(self) -> LogIndex:
        """With every second time only; instances stay, up to as many."""
        times = [one for one in self.seen if not one.task][::2]
        starts = [one for one in self.seen if one.task][-MOST // 2 :]
        return LogIndex(self.base, sorted([*times, *starts], key=lambda one: one.position))


def load(path: Path) -> LogIndex:
    """The file's index, without what cannot be read. Raises OSError unless the file is missing."""
    index = LogIndex()
    try:
        handle = os.open(path, os.O_RDONLY | _SAFE)
    except FileNotFoundError:
        return index
    with open(handle, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a descriptor
        for line in file:
            try:
                _take(index, line.split())
            except (ValueError, IndexError):
                continue
    return index


def append(path: Path, seen: Seen) -> None:
    """Add a line. Raises OSError."""
    _write(path, os.O_APPEND, seen.line())


def write(path: Path, index: LogIndex) -> None:
    """Rewrite it. Raises OSError."""
    head = "" if index.base is None else f"base {index.base}\n"
    new = path.with_name(f"{path.name}.new")
    _write(new, os.O_TRUNC, head + "".join(one.line() for one in index.seen))
    os.replace(new, path)  # noqa: PTH105 - one of the calls that a test lets fail


def _write(path: Path, how: int, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | _SAFE | how, _MODE)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _take(index: LogIndex, words: list[str]) -> None:
    match words:
        case ["base", number]:
            index.base = _position(number)
        case ["t", position, at]:
            index.seen.append(Seen(_position(position), _time(at)))
        case ["s", position, at, task, instance]:
            index.seen.append(Seen(_position(position), _time(at), task, instance))
        case _:
            pass


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < MOST_DIGITS):  # it grows
        raise ValueError(text)
    return int(text)


def _time(text: str) -> float:
    at = float(text)
    if not 0 <= at <= _LATEST:  # which no NaN is
        raise ValueError(text)
    return at
