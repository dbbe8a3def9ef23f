"""Text as SQLite stores it, which takes any bytes for text: a bad column affects no other.

Bytes that are no UTF-8 are read as lone surrogates (`decoded`), shown as `\\xff` (`readable`), and
found again by themselves (`raw`), as `CAST(? AS TEXT)`: as a blob they would equal no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def decoded(text: bytes) -> str:
    """A connection's `text_factory`, for callers that check what they read."""
    return text.decode("utf-8", "surrogateescape")


def raw(value: Any) -> Any:
    """A column's value; bytes where it is text that is no UTF-8."""
    if not isinstance(value, str) or value.isascii():
        return value
    text = value.encode("utf-8", "surrogateescape")
    return value if text.decode("utf-8", "replace") == value else text


def readable(value: Any) -> Any:
    """A column's value, as it can be written anywhere."""
    text = raw(value)
    return value if text is value else text.decode("utf-8", "backslashreplace")


def check_text(names: Sequence[str], row: Sequence[Any]) -> None:
    """Raises ValueError for text that cannot be written. It may be secret: the message has only
    the wrong byte."""
    for name, value in zip(names, row, strict=True):
        if raw(value) is not value:
            at = next(i for i, letter in enumerate(value) if "\udc80" <= letter <= "\udcff")
            byte = ord(value[at]) - 0xDC00
            raise ValueError(f"{name}: byte 0x{byte:02x} at {at}: want UTF-8 text")
