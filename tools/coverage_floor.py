"""Hold the floors of coverage, over what `coverage json` wrote: `coverage_floor.py FILE`.

Lines and branches count alike, as in coverage's own percentage. The places that decide and judge
are held higher than those that wire things together. Exits with 1 below a floor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

REST = "the rest"
DECIDING = ("rules", "state", "scheduler", "checks", "net")
FLOORS = {**{f"warren/{name}/": 95.0 for name in DECIDING}, REST: 85.0}  # per cent
WORST_SHOWN = 5  # files named under a place below its floor
COUNTED = ("covered_lines", "covered_branches", "num_statements", "num_branches")


class Coverage(NamedTuple):
    """What was covered, of what could be: statements and branches added up."""

    covered: int
    total: int

    @property
    def percent(self) -> float:
        """Per cent; nothing to cover is covered."""
        return 100 * self.covered / self.total if self.total else 100.0

    def plus(self, other: Coverage) -> Coverage:
        return Coverage(self.covered + other.covered, self.total + other.total)


def place_of(file: str) -> str:
    """The place whose floor holds for this file."""
    path = Path(file).as_posix()
    return next((place for place in FLOORS if f"/{place}" in f"/{path}"), REST)


def coverage_by_place(report: Mapping[str, Any]) -> dict[str, dict[str, Coverage]]:
    """Each place's files and their coverage. Raises ValueError for a report without branches."""
    places: dict[str, dict[str, Coverage]] = {place: {} for place in FLOORS}
    for file, measured in report["files"].items():
        summary: Mapping[str, int] = measured["summary"]
        if any(field not in summary for field in COUNTED):
            raise ValueError(f"{file} has no branch coverage: run coverage with branch = true")
        lines, arcs, statements, branches = (summary[field] for field in COUNTED)
        places[place_of(file)][file] = Coverage(lines + arcs, statements + branches)
    return places


def judge(report: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Whether every floor holds, and the lines that say so."""
    held, said = True, ["coverage, branches included:"]
    for place, files in coverage_by_place(report).items():
        whole = Coverage(0, 0)
        for measured in files.values():
            whole = whole.plus(measured)
        low = whole.percent < FLOORS[place]
        held = held and not low
        verdict = "BELOW THE FLOOR" if low else "held"
        said.append(
            f"  {place:17} {whole.percent:5.1f} %   floor {FLOORS[place]:.0f} %   {verdict}"
        )
        if low:
            said += _worst(files)
    return held, said


def _worst(files: Mapping[str, Coverage]) -> list[str]:
    missed = {file: measured.total - measured.covered for file, measured in files.items()}
    worst = sorted(missed, key=lambda file: -missed[file])[:WORST_SHOWN]
    return [
        f"    {files[file].percent:5.1f} %  {file}: {missed[file]} lines or branches missed"
        for file in worst
        if missed[file]
    ]


def main(arguments: list[str]) -> int:
    """Print the verdict; 0 where every floor holds."""
    if len(arguments) != 1:
        print("usage: coverage_floor.py FILE", file=sys.stderr)
        return 2
    held, said = judge(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    print("\n".join(said))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
