"""What a wait waits for, on standard error: one line that is rewritten on a terminal, else a line
per change."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from warren.cli.render.table import cut, terminal_width

_REWRITE = "\r\x1b[K"
_ECHO = len("^C") + 1  # what a terminal writes behind the line must not begin a second one


class Progress:
    """Use it in a `with`: at the end a terminal's line is wiped. `said` is the last line."""

    def __init__(self) -> None:
        self.said = ""
        self._is_shown = False
        self._rewrites = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Make room for other output."""
        if self._is_shown:
            self._write(_REWRITE)
        self._is_shown = False

    def tell(self, line: str, short: str = "") -> None:
        """Show what is waited for now; where a terminal has no room for the line, the short one."""
        if line == self.said:
            return
        self.said = line
        self._is_shown = self._rewrites
        if self._rewrites:
            room = terminal_width(sys.stderr.fileno()) - _ECHO
            fits = cut(line, room) == line
            self._write(_REWRITE + cut(line if fits else short or line, room))
        else:
            self._write(f"{line}\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
