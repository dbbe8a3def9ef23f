"""JSON as it is printed: what cannot be seen is escaped in it, as a terminal might act on it."""

from __future__ import annotations

import msgspec


def json_text(shape: object, *, indent: int | None = None) -> str:
    """JSON for programs, which people may look at; on one line without an `indent`."""
    data = msgspec.json.encode(shape)
    if indent is not None:
        data = msgspec.json.format(data, indent=indent)
    return _printable(data.decode())


def _printable(text: str) -> str:
    """The same JSON. A line feed stands between its parts alone: in a string it is escaped."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
