"""Output as lines with a name in front, distinct from lines about it.

web.1 | what the program wrote
web.1 2026-03-01 12:00:00.250 | the same with times: it was written by then
web.1 --- web.1#3 began at 2026-03-01 12:00:07.131
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from warren.model.view import LogChunk, LogMark

Put = Callable[[bytes], None]


class Lines:
    """Whole lines of one slot; what is not yet a line is kept back."""

    def __init__(self, name: str, put: Put, *, times: bool = False) -> None:
        self._name = name
        self._put = put
        self._times = times
        self._rest = b""
        self._at: float | None = None  # by when the rest was written
        self._has_begun = False

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing."""
        return not self._has_begun

    def take(self, chunk: LogChunk) -> None:
        """Put the lines that are complete, and where another instance begins."""
        if chunk.lost and self._has_begun:
            self._say(f"{chunk.lost} bytes before this are not kept")
        starts = {mark.offset: mark for mark in chunk.marks if mark.task}
        times = [mark for mark in chunk.marks if not mark.task]
        begin = 0
        for offset, start in sorted(starts.items()):
            # It ended before the next one began, whatever was noted since.
            self._take(chunk.data, begin, offset, [_before(mark, start.at) for mark in times])
            if self._has_begun:
                self._at = self._at and min(self._at, start.at)
                self._say(f"{start.task} began at {_moment(start.at)}")
            begin = offset
        self._take(chunk.data, begin, len(chunk.data), times)

    def end(self) -> None:
        """Put the rest as a line."""
        if self._rest:
            self._line(self._rest, self._at)
            self._rest = b""

    def _take(self, data: bytes, begin: int, end: int, times: list[LogMark]) -> None:
        while begin < end:
            feed = data.find(b"\n", begin, end)
            after = end if feed < 0 else feed + 1
            self._has_begun = True
            self._at = _time_at(times, after)
            if feed < 0:
                self._rest += data[begin:end]
            else:
                self._line(self._rest + data[begin:feed], self._at)
                self._rest = b""
            begin = after

    def _line(self, text: bytes, at: float | None) -> None:
        moment = f" {_moment(at)}" if self._times else ""
        head = f"{self._name}{moment} | " if self._name else f"{moment.strip()} "
        self._put(head.encode() + text + b"\n")

    def _say(self, what: str) -> None:
        self.end()
        self._put(f"{self._name} --- {what}\n".lstrip().encode())


def _before(mark: LogMark, at: float) -> LogMark:
    return mark if mark.at <= at else msgspec.structs.replace(mark, at=at)


def _time_at(times: list[LogMark], offset: int) -> float | None:
    """By when everything before an offset was written; None where unknown."""
    return next((mark.at for mark in times if mark.offset >= offset), None)


def _moment(at: float | None) -> str:
    if at is None:
        return "?"
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "milliseconds")[:23]
