"""Numbers of things, in words."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 restart`, `2 restarts`, `2 passes`; `plural` where it takes more than an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
