"""What of a spec is too large for a message: the bounds of the wire, by the names of its fields.

A spec that is submitted within the process has crossed no wire, and its nodes and readers may be
behind one. So it is held to the same table (`model/bounds.py`), in the same way as a codec has it:
a mapping is a list of entries, whose names and values are texts of the mapping's own name. What no
program could be started with is refused here alone: a message may have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from warren.model import bounds
from warren.model.decode import DecodeError, Path
from warren.model.service import ServiceSpec

ARGUMENT = 131_000  # characters of an argument or variable: Linux starts nothing with 128 KiB
_ARGUMENTS = ("args", "command", "env")
_OF_AN_ITEM = 24  # bytes that one takes in a message besides its text
_OF_A_CHARACTER = 4  # bytes, at most, as UTF-8


def beyond_bounds(spec: ServiceSpec) -> DecodeError | None:
    """The first value that is too long, or the list that has too many; None where none is."""
    try:
        size = sum(_sizes(spec, "", ()))
    except DecodeError as error:
        return error
    if size <= bounds.SPEC:
        return None
    wanted = f"want at most {bounds.SPEC >> 20} MiB of text in one service"
    return DecodeError((), f"about {size >> 20} MiB", wanted)


def _sizes(value: object, name: str, path: Path) -> Iterator[int]:
    """The bytes of every text in it, about. Raises DecodeError for what is beyond its bound."""
    match value:
        case str():
            yield _text(value, name, path)
        case msgspec.Struct():
            for field in value.__struct_fields__:
                yield from _sizes(getattr(value, field), field, (*path, field))
        case Mapping():
            entries = cast("Mapping[str, object]", value)
            _count(sum(_lines(each) for each in entries.values()), name, path)
            for key, each in entries.items():
                yield _text(key, name, path)
                yield from _sizes(each, name, (*path, key))
        case tuple():
            items = cast("tuple[object, ...]", value)
            _count(len(items), name, path)
            for index, each in enumerate(items):
                yield from _sizes(each, name, (*path, index))
        case _:  # a number: the model's own bounds are narrower
            pass


def _lines(value: object) -> int:
    """How often an entry stands in a message: a header may have several values."""
    return len(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else 1


def _text(text: str, name: str, path: Path) -> int:
    limits = (bounds.text_bound(name), ARGUMENT if name in _ARGUMENTS else bounds.TEXT)
    for most in limits:
        if len(text) > most:
            raise DecodeError(path, text, f"want at most {most} characters")
    return _OF_AN_ITEM + (1 if text.isascii() else _OF_A_CHARACTER) * len(text)


def _count(count: int, name: str, path: Path) -> None:
    most = bounds.list_bound(name)
    if count > most:
        raise DecodeError(path, f"{count} items", f"want at most {most}")
