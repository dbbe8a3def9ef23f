"""The multiplexed stream of an engine: stdout and stderr of a container or exec, in frames.

    one byte: 1 stdout, 2 stderr | three of zero | four: length, big endian | so many bytes

Nothing here reads or waits: bytes in, pieces out. A frame may come in several pieces, so that no
length that an engine names makes us hold as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from warren.engine.errors import EngineAwayError

_HEAD = 8
STREAMS = (0, 1, 2)  # stdin is never sent, but the format has it; 3 is an error of the engine's own
SYSTEM_ERROR = 3


class Piece(NamedTuple):
    """Bytes of one frame of a stream; whether they are its first and its last."""

    stream: int
    data: bytes
    is_first: bool
    is_last: bool


class FrameReader:
    """Takes a stream as it comes, in pieces of any size."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0
        self._is_begun = False

    def __repr__(self) -> str:
        return f"<FrameReader {self._left} bytes of stream {self._stream} to come>"

    @property
    def is_between(self) -> bool:
        """Whether what came ends with a frame."""
        return not self._head and not self._left

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What these bytes are. Raises EngineAwayError where they are no frames."""
        at = 0
        while at < len(data):
            if not self._left:
                taken = data[at : at + _HEAD - len(self._head)]
                self._head += taken
                at += len(taken)
                if len(self._head) == _HEAD:
                    self._begin()
                    if not self._left:  # an empty frame
                        yield Piece(self._stream, b"", is_first=True, is_last=True)
                continue
            part = data[at : at + self._left]
            at += len(part)
            self._left -= len(part)
            is_first, self._is_begun = not self._is_begun, True
            yield Piece(self._stream, part, is_first, is_last=not self._left)

    def _begin(self) -> None:
        head, self._head = self._head, b""
        if head[0] not in (*STREAMS, SYSTEM_ERROR) or head[1:4] != b"\0\0\0":
            raise EngineAwayError(f"want frames of a stream, got {head!r}")
        self._stream = head[0]
        self._left = int.from_bytes(head[4:], "big")
        self._is_begun = False
