"""The floors of coverage hold the right files, and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.coverage_floor import judge, main


def report(**missed: int) -> dict[str, object]:
    """One file of 100 statements and 20 branches in each place, so many of them missed."""

    def measured(missing: int) -> dict[str, object]:
        counted = {"num_statements": 100, "num_branches": 20, "covered_branches": 20}
        return {"summary": counted | {"covered_lines": 100 - missing}}

    return {
        "files": {
            f"warren/{place}/a.py": measured(missed.get(place, 0))
            for place in ("rules", "checks", "cli", "rulesets")
        }
    }


def test_coverage_floor_holds_when_all_is_covered() -> None:
    held, said = judge(report())
    assert held
    assert "100.0 %" in said[1]


@pytest.mark.parametrize(
    ("place", "missed", "holds"),
    [("rules", 6, True), ("rules", 7, False), ("checks", 7, False), ("cli", 36, True),
     ("cli", 37, False)],
)  # fmt: skip
def test_coverage_floor_is_each_places_own(place: str, missed: int, holds: bool) -> None:
    held, said = judge(report(**{place: missed}))
    assert held is holds
    assert any(f"warren/{place}/a.py: {missed} lines" in line for line in said) is not holds


def test_coverage_floor_refuses_a_report_without_branches() -> None:
    with pytest.raises(ValueError, match="branch = true"):
        judge({"files": {"warren/a.py": {"summary": {"covered_lines": 1, "num_statements": 1}}}})


def test_coverage_floor_exits_with_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "coverage.json"
    file.write_text(json.dumps(report(rules=50)))
    assert main([str(file)]) == 1
    assert "BELOW THE FLOOR" in capsys.readouterr().out
    assert main([]) == 2
