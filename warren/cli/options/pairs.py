"""Options of the form `key=value,key=value`.

A comma ends a value only where a word and `=` follow, or a word that stands alone; `\\,` is a comma
that ends nothing, and `\\\\` a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def pieces(text: str, *, alone: Iterable[str] = ()) -> list[str]:
    """The pairs of a text, with their escapes; `alone` are words that have no value."""
    words = "".join(f"|{word}(?=,|$)" for word in alone)
    ends = re.compile(rf"(?<!\\)((?:\\\\)*),(?=[A-Za-z_-]+={words})")
    # The pattern keeps the backslashes before a comma as a group of its own: put them back.
    parts = ends.split(text)
    return [*(parts[i] + parts[i + 1] for i in range(0, len(parts) - 1, 2)), parts[-1]]


def unescaped(text: str) -> str:
    """A value without its escapes."""
    return re.sub(r"\\([\\,])", r"\1", text)
