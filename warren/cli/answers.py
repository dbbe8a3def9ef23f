"""Answers on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def put(lines: Iterable[str]) -> None:
    """Print lines. Raises BrokenPipeError when no reader is left."""
    for line in lines:
        print(line)  # noqa: T201 - the answer


def put_now(lines: Iterable[str]) -> None:
    """Print lines that a reader may be waiting for."""
    put(lines)
    sys.stdout.flush()
