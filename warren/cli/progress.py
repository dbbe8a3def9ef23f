"""What a wait waits for, on standard error: one line that is rewritten on a terminal, else a line
per change."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from warren.cli.columns import cut, terminal_width

_REWRITE = "\r\x1b[K"


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

    def tell(self, line: str) -> None:
        """Show what is waited for now."""
        if line == self.said:
            return
        self.said = line
        self._is_shown = self._rewrites
        if self._rewrites:
            self._write(_REWRITE + cut(line, terminal_width(sys.stderr.fileno()) - 1))
        else:
            self._write(f"{line}\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
