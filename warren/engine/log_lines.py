"""A container's output as its engine keeps it, and how far of it was copied: a cursor.

    entry: a frame that begins with its time, `2026-11-24T06:12:01.123456789Z what was written`

An engine tells output from a time on, and many entries may have one time: so a cursor has, for
stdout and stderr each, the time of the last entry and how many of that time were copied. Of one
stream the times only grow; of both together they need not. With the position in our own file that
a cursor belongs to, output is copied on without a byte lost or doubled, whoever was killed in
between: what stands behind that position has been copied since.
"""

from __future__ import annotations

import calendar
import re

import msgspec

from warren.engine.frames import FrameReader, Piece

_TIME = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))\Z"
)
_LONGEST_TIME = 64  # bytes, its blank included
_SECOND = 10**9
_TIMES = range(1 << 63)  # nanoseconds: until 2262, what a cursor holds


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The last entry of a stream: its time in nanoseconds, and how many of that time there were."""

    at: int
    count: int


class Cursor(msgspec.Struct, frozen=True):
    """What was copied: up to these entries, which end at `position` of the copy."""

    position: int = 0
    marks: dict[int, Mark] = msgspec.field(default_factory=dict[int, Mark])

    @property
    def since(self) -> str:
        """The time to ask the engine from, as its API writes it; empty for everything."""
        if not self.marks:
            return ""
        first = min(mark.at for mark in self.marks.values())
        return f"{first // _SECOND}.{first % _SECOND:09d}"


class LogReader:
    """Takes a stream of entries that begins at or before a cursor, and returns what comes after
    it; but for the first `skip` bytes, which were copied already."""

    def __init__(self, cursor: Cursor, *, skip: int = 0) -> None:
        self._frames = FrameReader()
        self._left = dict(cursor.marks)  # of the streams that are still before the cursor
        self._marks = dict(cursor.marks)
        self._position = cursor.position
        self._skip = skip
        self._head = b""  # the beginning of an entry, as long as its time is not complete
        self._is_timed = self._is_old = False
        self._next: Mark | None = None
        self._pending = 0  # bytes of the entry that has not ended

    def __repr__(self) -> str:
        return f"<LogReader at {self._position}>"

    @property
    def cursor(self) -> Cursor:
        """Up to the last whole entry."""
        return Cursor(self._position, dict(self._marks))

    def feed(self, data: bytes) -> bytes:
        """What is new in it. Raises EngineAwayError where it is no such stream."""
        return b"".join(self._take(piece) for piece in self._frames.feed(data))

    def _take(self, piece: Piece) -> bytes:
        if piece.is_first:
            self._head, self._is_timed, self._is_old, self._pending = b"", False, False, 0
        data = piece.data
        if not self._is_timed:
            self._head += data
            time, blank, rest = self._head.partition(b" ")
            if not (blank or piece.is_last or len(self._head) > _LONGEST_TIME):
                return b""
            at = nanoseconds(time)
            data = self._head if at is None else rest
            self._is_timed = True
            self._is_old = at is not None and self._is_before(piece.stream, at)
            if at is not None and not self._is_old:
                mark = self._marks.get(piece.stream)
                count = mark.count + 1 if mark is not None and mark.at == at else 1
                self._next = Mark(at, count)
            else:
                self._next = None
        if self._is_old:
            return b""
        self._pending += len(data)
        if piece.is_last:
            self._position += self._pending
            self._pending = 0
            if self._next is not None:
                self._marks[piece.stream] = self._next
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        return data[skipped:]

    def _is_before(self, stream: int, at: int) -> bool:
        """Whether an entry was copied before; of each stream until the first that was not."""
        mark = self._left.get(stream)
        if mark is None:
            return False
        if at < mark.at:
            return True
        if at == mark.at and mark.count > 0:
            self._left[stream] = Mark(at, mark.count - 1)
            return True
        del self._left[stream]
        return False


def nanoseconds(time: bytes) -> int | None:
    """A time as engines write it, since the epoch; None where it is none, or cannot be."""
    match = _TIME.match(time)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        whole = calendar.timegm((year, month, day, hour, minute, second))
    except ValueError:
        return None
    if match[8]:
        offset = 3600 * int(match[9]) + 60 * int(match[10])
        whole += offset if match[8] == b"-" else -offset
    at = whole * _SECOND + int((match[7] or b"").ljust(9, b"0"))
    return at if at in _TIMES else None
