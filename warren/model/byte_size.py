"""Numbers of bytes as people write them: `64M` is 64 x 1024 x 1024."""

from __future__ import annotations

import re

SIZE_WANTED = "want a number of bytes, such as 64M or 67108864"
LARGEST = (1 << 63) - 1

_SIZE = re.compile(
    r"(?P<number>\d{1,19}(?:\.\d{1,9})?)(?P<unit>[kKmMgGtT]?)(?:i?[bB])?\Z", re.ASCII
)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(written: object) -> int:
    """The bytes that `64M`, `64MiB`, `1.5G` or a bare number says. Raises ValueError."""
    if isinstance(written, int) and not isinstance(written, bool):
        found = written
    else:
        match = _SIZE.match(written) if isinstance(written, str) else None
        if match is None:
            raise ValueError(SIZE_WANTED)
        number, unit = match["number"], _UNITS[match["unit"].lower()]
        found = int(float(number) * unit) if "." in number else int(number) * unit
    if not 0 < found <= LARGEST:
        raise ValueError(SIZE_WANTED)
    return found


def show_size(size: int) -> str:
    """The same in the largest unit that says it exactly; `parse_size` returns it."""
    for unit, bytes_of_it in reversed(_UNITS.items()):
        if size % bytes_of_it == 0:
            return f"{size // bytes_of_it}{unit.upper()}"
    raise AssertionError("every number is one of bytes")


def size_in_words(size: int) -> str:
    """A size for people, to a tenth: `64 MiB`, `1.5 GiB`."""
    for unit, bytes_of_it in reversed(_UNITS.items()):
        if unit and size >= bytes_of_it:
            return f"{size / bytes_of_it:.1f}".removesuffix(".0") + f" {unit.upper()}iB"
    return f"{int(size)} B"


class ByteSize(int):
    """A number of bytes above 0 whose `str()` is its written form, as `show_size` has it."""

    def __new__(cls, written: int | str) -> ByteSize:
        """Of bytes, or of the written form. Raises ValueError saying what would be right."""
        return super().__new__(cls, parse_size(written))

    def __str__(self) -> str:
        return show_size(self)

    def __repr__(self) -> str:
        return show_size(self)
