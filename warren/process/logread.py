"""Reading a slot's output piece by piece, across rotations.

A cursor is `FILE:OFFSET`. FILE is the inode of an older piece, which changes no more, or for the
newest file `now-MARK`, where the mark is that of the newest older piece: when it has changed, what
stood in the newest file has been copied there, at the same offset.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from warren.model.errors import InvalidError

_CURSOR = re.compile(r"(?P<file>\d+|now-\d+-\d+):(?P<offset>\d{1,18})\Z", re.ASCII)
_STEP = 1 << 16


class Pieces:
    """The files of one slot as they are now: `older`, the oldest first, and the newest.

    `cut` is how many bytes the last rotation has not copied, because a flood was too long.
    """

    def __init__(self, newest: Path, older: list[Path], *, cut: int = 0) -> None:
        self.newest = newest
        self.cut = cut
        self.older = [piece for piece in older if piece.exists()]

    def first(self) -> str:
        """The cursor of the very beginning."""
        return self._start_of(0)

    def tail(self, lines: int) -> str:
        """The cursor from which on there are so many lines, or all there are."""
        wanted = lines
        for index in range(len(self.older), -1, -1):
            path = self._path(index)
            offset, found = _from_end(path, wanted)
            wanted -= found
            if wanted <= 0:
                return f"{self._name(index)}:{offset}"
        return self.first()

    def read(self, cursor: str, limit: int) -> tuple[bytes, str]:
        """What follows the cursor, and the cursor of what follows that. Raises InvalidError."""
        match = _CURSOR.match(cursor)
        if match is None:
            raise InvalidError(f"cursor: {cursor[:60]!r}: want one that an earlier call gave")
        index, offset = self._place(match["file"], int(match["offset"]))
        while True:
            data = _read_at(self._path(index), offset, limit)
            if data or index == len(self.older):
                return data, f"{self._name(index)}:{offset + len(data)}"
            index, offset = index + 1, 0

    def _place(self, file: str, offset: int) -> tuple[int, int]:
        """Which piece is meant, and where in it; the oldest there is where it has gone."""
        if file == self._name(len(self.older)):
            size = self.newest.stat().st_size if self.newest.exists() else 0
            return len(self.older), offset if offset <= size else 0
        if file.startswith("now-"):
            last = len(self.older) - 1
            return (last, max(0, offset - self.cut)) if self.older else (0, 0)
        names = [self._name(index) for index in range(len(self.older))]
        return (names.index(file), offset) if file in names else (0, 0)

    def _start_of(self, index: int) -> str:
        return f"{self._name(index)}:0"

    def _path(self, index: int) -> Path:
        return self.newest if index == len(self.older) else self.older[index]

    def _name(self, index: int) -> str:
        if index < len(self.older):
            return str(self.older[index].stat().st_ino)
        if not self.older:
            return "now-0-0"
        stat = self.older[-1].stat()
        return f"now-{stat.st_ino}-{stat.st_mtime_ns}"


def _read_at(path: Path, offset: int, limit: int) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(file, limit, offset)
    finally:
        os.close(file)


def _from_end(path: Path, lines: int) -> tuple[int, int]:
    """Where the last `lines` lines of a file begin, and how many there are up to its end."""
    if not path.exists():
        return 0, 0
    with path.open("rb") as file:
        end = start = file.seek(0, os.SEEK_END)
        text = b""
        while start > 0 and text.count(b"\n") <= lines:
            step = min(_STEP, start)
            start -= step
            file.seek(start)
            text = file.read(step) + text
    kept = text.splitlines(keepends=True)[-lines:]
    return end - sum(map(len, kept)), len(kept)
