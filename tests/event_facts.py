"""What docs/protocol.md says of the events, and which code reads words back out of messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.floors import read_modules
from warren.model.cluster import Entry
from warren.model.event import EventFacts, EventKind

ROOT = Path(__file__).parent.parent
_ROW = re.compile(r"^\| (?P<kinds>`[^|]*) \| [^|]* \| (?P<has>[^|]*)\| (?P<may>[^|]*)\|$", re.M)
_WORD = re.compile(r"`([^`]+)`")
_CAPITAL = re.compile(r"[A-Z]")

CODECS = ("transport", "store")  # read text that others wrote, whatever it is
MESSAGES = ("message", "pending_reason", "stop_reason", "warning", "detail")
READS = (
    *("startswith", "endswith", "partition", "rpartition", "split", "rsplit", "removeprefix"),
    *("removesuffix", "find", "rfind", "index", "match", "fullmatch", "search", "findall"),
)


class Promise(NamedTuple):
    """The facts that an event of a kind has, and those that it may have."""

    has: frozenset[str]
    may: frozenset[str]


def promises() -> dict[EventKind, Promise]:
    """The table of events in docs/protocol.md."""
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    section = page.partition("\n## Events\n")[2].partition("\n## ")[0]
    found: dict[EventKind, Promise] = {}
    for row in _ROW.finditer(section):
        promise = Promise(_facts(row["has"]), _facts(row["may"]))
        found |= {EventKind(word): promise for word in _WORD.findall(row["kinds"])}
    return found


def _facts(cell: str) -> frozenset[str]:
    return frozenset(_CAPITAL.sub(lambda c: f"_{c[0].lower()}", w) for w in _WORD.findall(cell))


def broken(entry: Entry) -> list[str]:
    """What an event that this version has made does not keep of the table."""
    said = f"{entry.kind.value} of {entry.subject}"
    if entry.kind is EventKind.UNKNOWN:
        return [f"{said}: is of no kind"]
    facts, none = entry.facts or EventFacts(), EventFacts()
    has = {f for f in EventFacts.__struct_fields__ if getattr(facts, f) != getattr(none, f)}
    promise = promises()[entry.kind]
    missing, surplus = promise.has - has, has - promise.has - promise.may
    return [
        *(f"{said}: has no {name}" for name in sorted(missing)),
        *(f"{said}: has {name}" for name in sorted(surplus)),
    ]


def read_backs(folder: Path) -> Iterator[str]:
    """Places outside the codecs where a program decides by what a text for people says."""
    for module in read_modules(folder):
        if module.package in CODECS:
            continue
        for scope in ast.walk(module.tree):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                texts = _texts(scope)
                for node in ast.walk(scope):
                    if _is_read(node, texts):
                        line = getattr(node, "lineno", 0)
                        yield f"{module.path}:{line}: reads a message: {ast.unparse(node)}"


def _texts(scope: ast.AST) -> set[str]:
    """Names of a function that stand for messages, or for what was made of one."""
    names = set[str](MESSAGES)
    assigned = [node for node in ast.walk(scope) if isinstance(node, ast.Assign)]
    for _ in range(2):
        for node in assigned:
            for target, value in _pairs(node):
                if isinstance(target, ast.Name) and _is_text(value, names):
                    names.add(target.id)
    return names


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def _is_text(node: ast.expr, names: set[str]) -> bool:
    """Whether an expression is a message, or one made safe or short."""
    if isinstance(node, ast.Attribute):
        return node.attr in MESSAGES
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return any(_is_text(argument, names) for argument in node.args)
    if isinstance(node, ast.Subscript):
        return _is_text(node.value, names)
    return False


def _is_read(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_folded = node.func.attr == "split" and not node.args  # of white space
        reads = node.func.attr in READS and not is_folded
        parts = (node.func.value, *node.args)
        return reads and any(_is_text(part, names) for part in parts)
    if isinstance(node, ast.Compare):
        looks = [isinstance(op, ast.In | ast.NotIn) for op in node.ops]
        compared = [isinstance(op, ast.Eq | ast.NotEq) for op in node.ops]
        with_words = [isinstance(c, ast.Constant) and bool(c.value) for c in node.comparators]
        if any(looks):
            return any(_is_text(one, names) for one in node.comparators)
        return _is_text(node.left, names) and any(compared) and any(with_words)
    return False
