"""What a benchmark hands over: a table, and the bounds that must hold. Written as JSON.

A benchmark is a script of its own, `bench/NAME.py --json FILE`, so that every one measures in a
fresh process; `python -m bench` runs them and makes one document of their sections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Bound(msgspec.Struct, frozen=True):
    """Something promised: the promise, what was measured, and whether it holds."""

    promise: str
    measured: str
    holds: bool


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark's part of the document. `table` is Markdown, `text` says how it was taken."""

    title: str
    text: str
    table: str
    bounds: tuple[Bound, ...] = ()

    def save(self, file: Path | None) -> None:
        """Print it, and write it as JSON where a file is given."""
        print(f"{self.table}\n{told(self.bounds)}", flush=True)
        if file is not None:
            file.write_bytes(msgspec.json.encode(self))


def load(file: Path) -> Section:
    """The section a benchmark has saved."""
    return msgspec.json.decode(file.read_bytes(), type=Section)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))


def told(bounds: Sequence[Bound]) -> str:
    """The bounds as a Markdown list."""
    return "".join(
        f"- {'holds' if bound.holds else '**broken**'}: {bound.promise} ({bound.measured})\n"
        for bound in bounds
    )


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of all do not exceed. NaN when there is none."""
    if not samples:
        return math.nan
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def milliseconds(seconds: float) -> str:
    """`4.2 ms`."""
    return f"{seconds * 1e3:.1f} ms"
