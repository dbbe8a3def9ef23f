"""One slot's output on disk: its pieces by position, and what was seen of them.

A position counts every byte the slot has ever written, so that rotations move no reader: a cursor
is a position. The position of a piece's first byte is in its index (time_index.py) or, where that
is missing, follows from the end of the piece before it.

Synchronous; the caller holds the slot's lock, in a thread that may wait for it: truncating a file
that is written to without pause takes a while. All system calls go through `os`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from warren.logs import time_index
from warren.logs.time_index import MOST_DIGITS, LogIndex, Seen
from warren.model.errors import InvalidError
from warren.model.view import LogChunk, LogMark

_STEP = 1 << 16


class LogFilePiece(NamedTuple):
    """A file of the slot; the positions of its first byte and behind its last."""

    number: int  # 0 is the newest
    path: Path
    base: int
    end: int
    written_at: float  # wall, by the file system


class SlotFiles:
    """The files of one slot: `newest`, what the program writes to, and `keep` older ones."""

    def __init__(self, newest: Path, keep: int) -> None:
        self.newest = newest
        self.keep = keep
        self.lock = threading.RLock()
        self._indexes = newest.parent / "index"
        self._newest_index = self._indexes / newest.name
        self.index = time_index.load(self.index_path(0))  # of the newest
        self._older: tuple[tuple[int, int], LogIndex] | None = None  # the one read last
        self._bases = self._find_bases()

    def path(self, number: int) -> Path:
        """A piece's file."""
        return self.newest.with_name(f"{self.newest.name}.{number}") if number else self.newest

    def index_path(self, number: int) -> Path:
        """A piece's index: in another directory, so that writing it wakes no watcher."""
        return self._indexes / self.path(number).name if number else self._newest_index

    @property
    def base(self) -> int:
        """The position of the newest piece's first byte."""
        return self._bases[0]

    def set_bases(self, bases: list[int]) -> None:
        """Set them after a rotation: the newest's first."""
        self._bases = bases[: self.keep + 1]
        self._older = None

    def bases(self) -> list[int]:
        """Of every piece, the newest's first."""
        return [*self._bases]

    def pieces(self) -> list[LogFilePiece]:
        """Those that exist, the oldest first. Raises OSError."""
        found = list[LogFilePiece]()
        for number in range(len(self._bases) - 1, -1, -1):
            path = self.path(number)
            try:
                stat = os.stat(path)  # noqa: PTH116 - one of the calls that a test lets fail
            except FileNotFoundError:
                continue
            base = self._bases[number]
            found.append(LogFilePiece(number, path, base, base + stat.st_size, stat.st_mtime))
        return found

    # Reading

    def begin(self, *, tail: int | None, since: float) -> int:
        """Where to begin: with the last `tail` lines, and not before what `since` had been
        written. Raises OSError."""
        pieces = self.pieces()
        first = pieces[0].base if pieces else self.base
        if since:
            first = self._since(pieces, since, first)
        return first if tail is None else max(first, _tail(pieces, tail, first))

    def read(self, cursor: str, limit: int, *, times: bool) -> LogChunk:
        """What follows a cursor. Raises InvalidError, OSError."""
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= MOST_DIGITS):
            raise InvalidError(f"cursor: {cursor[:60]!r}: want one that an earlier call gave")
        position = int(cursor)
        pieces = self.pieces()
        if not pieces or position > pieces[-1].end:  # truncated by others, or made again
            position = self.base
        for piece in pieces:
            if piece.end > position:
                begin = max(position, piece.base)
                data = _read_at(piece.path, begin - piece.base, limit)
                return LogChunk(
                    data=data,
                    cursor=str(begin + len(data)),
                    lost=begin - position,
                    marks=self._marks(piece, begin, begin + len(data), times=times),
                )
        return LogChunk(cursor=str(position))

    def _marks(
        self, piece: LogFilePiece, begin: int, end: int, *, times: bool
    ) -> tuple[LogMark, ...]:
        """What was seen from `begin` to `end`; of times also the next one, for a line that is
        incomplete."""
        found = list[LogMark]()
        for seen in self.seen(piece):
            if seen.task and begin <= seen.position < end:
                found.append(_mark(seen, begin))
            elif times and not seen.task and seen.position > begin:
                found.append(_mark(seen, begin))
                if seen.position >= end:
                    break
        return tuple(found)

    def seen(self, piece: LogFilePiece) -> Iterator[Seen]:
        """What is known of a piece, by position; last, when its last byte was written."""
        index = self._index(piece)
        yield from (one for one in index.seen if one.position <= piece.end)
        if not index.seen or index.seen[-1].position < piece.end:
            yield Seen(piece.end, piece.written_at)

    def _index(self, piece: LogFilePiece) -> LogIndex:
        if piece.number == 0:
            return self.index
        key = (piece.number, piece.base)
        if self._older is None or self._older[0] != key:
            self._older = key, time_index.load(self.index_path(piece.number))
        return self._older[1]

    def _since(self, pieces: list[LogFilePiece], since: float, first: int) -> int:
        for piece in pieces:
            for seen in self.seen(piece):
                if seen.at < since:
                    first = max(first, seen.position)
        return first

    def _find_bases(self) -> list[int]:
        bases, end = list[int](), 0
        for number in range(self.keep, -1, -1):
            index = self.index if number == 0 else time_index.load(self.index_path(number))
            base = max(index.base or 0, end)
            bases.append(base)
            try:
                end = base + os.stat(self.path(number)).st_size  # noqa: PTH116
            except FileNotFoundError:
                end = base
        return bases[::-1]


def _mark(seen: Seen, begin: int) -> LogMark:
    return LogMark(at=seen.at, offset=seen.position - begin, task=seen.task, instance=seen.instance)


def _read_at(path: Path, offset: int, limit: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.pread(handle, limit, offset)
    finally:
        os.close(handle)


def _tail(pieces: list[LogFilePiece], lines: int, first: int) -> int:
    """Where the last lines begin."""
    wanted = lines
    for piece in reversed(pieces):
        if wanted <= 0:
            return piece.end
        offset, found = _from_end(piece, wanted)
        wanted -= found
        if wanted <= 0:
            return piece.base + offset
    return first


def _from_end(piece: LogFilePiece, lines: int) -> tuple[int, int]:
    """Where the last `lines` lines of a piece begin, and how many there are up to its end."""
    size = piece.end - piece.base
    if size == 0:
        return 0, 0
    handle = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        ends_in_line = os.pread(handle, 1, size - 1) != b"\n"
        wanted = lines if ends_in_line else lines + 1  # line feeds, from the end
        start, found = size, 0
        while start > 0:
            step = min(_STEP, start)
            start -= step
            block = os.pread(handle, step, start)
            here = block.count(b"\n")
            if found + here >= wanted:
                return start + _nth_from_end(block, wanted - found) + 1, lines
            found += here
    finally:
        os.close(handle)
    return 0, found + ends_in_line


def _nth_from_end(block: bytes, number: int) -> int:
    place = len(block)
    for _ in range(number):
        place = block.rindex(b"\n", 0, place)
    return place
