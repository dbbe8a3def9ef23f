"""A terminal of a few lines: what a program's writing leaves standing on 80 by 24 cells."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

from support_up import PATIENCE

_CODE = re.compile(r"\x1b\[(?P<private>\??)(?P<numbers>[\d;]*)(?P<letter>[A-Za-z])")


class Grid:
    """Cells, and a cursor. Knows the codes the command writes, and refuses others."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows = [""]
        self.row = self.column = 0
        self.is_cursor_shown = True
        self.overflows: list[str] = []

    def feed(self, text: str) -> None:
        while text:
            code = _CODE.match(text)
            if code:
                self._obey(code["private"], code["numbers"], code["letter"])
                text = text[code.end() :]
                continue
            assert text[0] != "\x1b", f"unknown code: {text[:12]!r}"
            self._put(text[0])
            text = text[1:]

    def shown(self) -> list[str]:
        """The rows that stand on the terminal: the last ones, once it has scrolled."""
        return [row.rstrip() for row in self.rows[-self.height :]]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append("")
        else:
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            self.column += 1
            if self.column > self.width:
                self.overflows.append(self.rows[self.row])

    def _obey(self, private: str, numbers: str, letter: str) -> None:
        if letter == "m" or (private and numbers == "2026"):
            return
        if private and numbers == "25":
            self.is_cursor_shown = letter == "h"
        elif letter == "A":
            top = max(0, len(self.rows) - self.height)
            self.row = max(top, self.row - int(numbers or 1))
        elif letter == "K":
            self.rows[self.row] = self.rows[self.row][: self.column]
        elif letter == "J" and not numbers:
            self.rows[self.row] = self.rows[self.row][: self.column]
            del self.rows[self.row + 1 :]
        elif letter == "J":
            self.rows = [""]
            self.row = 0
        elif letter == "H" and not numbers:
            self.row = self.column = 0
        else:
            raise AssertionError(f"unknown code: {private}{numbers}{letter}")


class Terminal:
    """`warren` with a terminal of its own. Use it in a `with`: at the end it is stopped."""

    def __init__(self, *arguments: str | Path, width: int = 80, height: int = 24) -> None:
        self._ours, theirs = pty.openpty()
        self._raw = b""
        self.grid = Grid(width, height)
        self.resize(width, height)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "warren", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": ""},
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
        self.hang_up()

    def resize(self, width: int, height: int) -> None:
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)
        self.grid.width, self.grid.height = width, height

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def hang_up(self) -> None:
        """The terminal is closed."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def wait_for(self, wanted: str | Callable[[str], bool]) -> list[str]:
        """What stands there once it has this text, or this is true of it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            screen = "\n".join(self.grid.shown())
            if wanted in screen if isinstance(wanted, str) else wanted(screen):
                return self.grid.shown()
            assert self._read(deadline), f"not there: {wanted!r}\n{screen}"

    def wait(self) -> int:
        """Its exit status, when it has written all."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._ours], [], [], left)[0]:
            return False
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:  # nobody is left on the other side
            return False
        # A code may be cut in two: what is not a whole painting yet waits.
        self._raw += chunk
        whole, cut, rest = self._raw.rpartition(b"\x1b")
        if cut and not _CODE.match((cut + rest).decode(errors="ignore")):
            self._raw = cut + rest
            self.grid.feed(whole.decode())
        else:
            try:
                text = self._raw.decode()
            except UnicodeDecodeError:
                return bool(chunk)
            self._raw = b""
            self.grid.feed(text)
        return bool(chunk)
