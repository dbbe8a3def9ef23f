"""Every cited rule is in docs/behaviour.md, every rule has a test, and every cited page is here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULES = "docs/behaviour.md"
FOLDERS = ("bench", "docs", "examples", "schema", "tests", "tools", "warren")
SUFFIXES = {".capnp", ".cpp", ".go", ".md", ".py", ".sh", ".txt", ".yaml"}
FILES = (".ci/run", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "justfile", "pyproject.toml")

_RULE = re.compile(r"^### S(\d+)$", re.M)
# Two digits at most: the linter's own rules, such as S603, have three.
_CITED = re.compile(r"(?<![\w./-])S(\d{1,2})(?:\s?[-\u2013]\s?S?(\d{1,2}))?(?!\w)")
_PAGE = re.compile(r"\bdocs/[\w/-]+\.md\b")
_ELSEWHERE = re.compile(r"\(design\b|\bdesign \d|\bdesign\.md|\bsemantics\.md")


def rules_of(text: str) -> list[int]:
    """The numbers of the rules that a page has, in its order."""
    return [int(number) for number in _RULE.findall(text)]


def cited_in(text: str) -> set[int]:
    """The numbers of all rules that a text cites, those within a range such as S2-S4 too."""
    found = set[int]()
    for first, last in _CITED.findall(text):
        found.update(range(int(first), int(last or first) + 1))
    return found


def strays_in(text: str) -> list[str]:
    """What a text cites that is no page of this repository."""
    missing = [page for page in _PAGE.findall(text) if not (ROOT / page).exists()]
    return missing + _ELSEWHERE.findall(text)


def untested(rules: Iterable[int], tests: Iterable[str]) -> set[int]:
    """The rules that none of these texts cites."""
    return set(rules).difference(*map(cited_in, tests))


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the repository by its path, but for this file, which makes some up."""
    below = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    texts = [path for path in below if path.suffix in SUFFIXES and path != Path(__file__)]
    for path in [*(ROOT / name for name in FILES), *texts]:
        yield str(path.relative_to(ROOT)), path.read_text("utf-8")


HERE = dict(texts())


def test_rules_are_s1_to_s30_in_order() -> None:
    assert rules_of(HERE[RULES]) == list(range(1, 31))


def test_every_citation_has_its_rule() -> None:
    known = set(rules_of(HERE[RULES]))
    strange = {path: more for path, text in HERE.items() if (more := cited_in(text) - known)}
    assert not strange, f"want a rule of {RULES}"


def test_every_rule_has_a_test_that_cites_it() -> None:
    tests = [text for path, text in HERE.items() if Path(path).name.startswith("test_")]
    assert not untested(rules_of(HERE[RULES]), tests)


def test_no_page_is_cited_that_is_not_here() -> None:
    assert not {path: found for path, text in HERE.items() if (found := strays_in(text))}


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("# S12", {12}),
        ('"""Ends (S5, S16)."""', {5, 16}),
        ("(S1, S11-S13)", {1, 11, 12, 13}),
        ("S7-9 and S19 - S21", {7, 8, 9, 19, 20, 21}),
        ("# S3: ready is no news", {3}),
        ("# S99, S0", {99, 0}),
        ("# noqa: S603 - SHA1, IS5, web-S3, S3cret, data/S4", set[int]()),
    ],
)
def test_finder_knows_what_is_cited(text: str, cited: set[int]) -> None:
    assert cited_in(text) == cited


def test_finder_misses_no_rule_without_a_test() -> None:
    rules = rules_of("### S1\nOutcomes, see S9.\n### S2\n#### S4\n### S3\n")
    assert rules == [1, 2, 3]
    assert untested(rules, ["def test_a():  # S1", "# S3-S3"]) == {2}


@pytest.mark.parametrize(
    ("text", "strays"),
    [
        ("see docs/nowhere.md", ["docs/nowhere.md"]),
        ("(design 3 and 4)", ["(design"]),
        ("by design 7", ["design 7"]),
        ("(design: edges are persisted)", ["(design"]),
        ("semantics.md, design.md", ["semantics.md", "design.md"]),
        (f"{RULES}, if it shapes the design", []),
    ],
)
def test_finder_knows_what_is_elsewhere(text: str, strays: list[str]) -> None:
    assert strays_in(text) == strays
