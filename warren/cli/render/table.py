"""Tables of plain text: a program may cut them at two spaces, a person can read them."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence

GAP = "  "
_INDENT = "    "  # of what goes on below
_WIDE = ("W", "F")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with every column as wide as its widest cell; the last one is not padded."""
    lines = [heads, *rows]
    widths = [max(_width(line[index]) for line in lines) for index in range(len(heads))]
    return [_line(line, widths) for line in lines]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The same without heads."""
    return table(rows[0], rows[1:]) if rows else []


def fitted(lines: Sequence[str]) -> list[str]:
    """Lines as a terminal can show them without wrapping; elsewhere they are left whole."""
    if not sys.stdout.isatty():
        return [*lines]
    width = terminal_width(sys.stdout.fileno())
    return [cut(line, width) for line in lines]


def wrapped(lines: Sequence[str]) -> list[str]:
    """Lines of which nothing may be cut: on a terminal they go on below, indented."""
    if not sys.stdout.isatty():
        return [*lines]
    width = terminal_width(sys.stdout.fileno())
    return [part for line in lines for part in wrap(line, width)]


def wrap(line: str, width: int) -> list[str]:
    """A line as lines of at most so many characters, broken between words where that can be."""
    if _width(line) <= width:
        return [line]
    import textwrap  # seldom wanted, and it takes time

    return textwrap.wrap(
        line,
        max(width, 2 * len(_INDENT)),
        subsequent_indent=_INDENT,
        expand_tabs=False,
        replace_whitespace=False,
        break_on_hyphens=False,
    )


def terminal_width(descriptor: int) -> int:
    """The columns of a terminal; 80 where it does not say."""
    try:
        return os.get_terminal_size(descriptor).columns or 80
    except OSError:
        return 80


def cut(line: str, width: int) -> str:
    """A line of at most so many columns."""
    if _width(line) <= width:
        return line
    kept = ""
    for character in line:
        if _width(kept + character) >= width:
            break
        kept += character
    return kept + "…"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    ]
    return GAP.join(padded).rstrip()


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in _WIDE)
        for c in text
    )
