"""Where messages begin in a stream of Cap'n Proto RPC, how long they are, and what kind they are.

    [segments - 1, words of each, padded] [segment 0: root, Message, its body, ...] [segment 1] ...

Only the head of a message is read, and only in the layout that every encoder uses. Any other is of
kind OTHER: it is not refused, and code that depends on the kind assumes the worst.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

CALL, RETURN, FINISH, BOOTSTRAP, OTHER = 2, 3, 4, 8, -1
MOST_SEGMENTS = 512  # KJ's own limit
_PEEK = 32  # bytes: the root pointer, the message's kind, its pointer, the body's first word
_ROOT = 0x00010001_00000000  # a struct right behind, of one word and one pointer
_HEAD = struct.Struct("<II")
_WORDS = struct.Struct("<QQQQ")


class FrameError(Exception):
    """No message, or one that is too long. `str()` says so."""


class Frame(NamedTuple):
    """A message: its kind, the number of the question it is about, and its bytes."""

    kind: int
    question: int
    size: int


class Frames:
    """Follows one direction of a connection. `most` is the bytes that a message may have."""

    def __init__(self, met: Callable[[Frame], None], *, most: int) -> None:
        self._met = met
        self._most = most
        self._left = 0  # of the present message
        self._head = b""

    def feed(self, data: bytes) -> None:
        """What comes next. Raises FrameError, and what `met` raises."""
        at = 0
        if self._head:
            data, self._head = self._head + data, b""
        while at < len(data):
            if self._left == 0:
                frame = self._frame(data, at)
                if frame is None:
                    self._head = data[at:]
                    return
                self._met(frame)
                self._left = frame.size
            step = min(self._left, len(data) - at)
            self._left -= step
            at += step

    def _frame(self, data: bytes, at: int) -> Frame | None:
        """The message that begins here; None where its head is not there yet."""
        have = len(data) - at
        if have < 8:
            return None
        more, words = _HEAD.unpack_from(data, at)
        table, total = 8, words
        if more:
            if more >= MOST_SEGMENTS:
                raise FrameError("what it sends is no message")
            table = (4 * (more + 2) + 7) // 8 * 8
            if have < table:
                return None
            total = sum(struct.unpack_from(f"<{more + 1}I", data, at + 4))
        size = table + 8 * total
        if size > self._most:
            raise FrameError(f"it sends a message of {size} bytes; want at most {self._most}")
        if words < _PEEK // 8:
            return Frame(OTHER, 0, size)
        if have < table + _PEEK:
            return None
        return _read(_WORDS.unpack_from(data, at + table), size)


def _read(words: tuple[int, int, int, int], size: int) -> Frame:
    root, message, body, first = words
    if root != _ROOT or body & 0xFFFFFFFF or not body >> 32 & 0xFFFF:
        return Frame(OTHER, 0, size)
    return Frame(message & 0xFFFF, first & 0xFFFFFFFF, size)
