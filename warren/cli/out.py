"""Answers on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def put(lines: Iterable[str]) -> None:
    """Print lines. Raises BrokenPipeError where nobody reads any more."""
    for line in lines:
        print(line)  # noqa: T201 - the answer


def put_now(lines: Iterable[str]) -> None:
    """Print lines that somebody may be waiting for."""
    put(lines)
    sys.stdout.flush()
