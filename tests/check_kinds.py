"""Where a kind of check is missing: each table with a row a kind, looked up by the kind's name.

Documents and the kinds' own tests are looked for in the checkout below `root`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

import warren
from tests.cli.flag_words import SAID
from tests.model.specs import CHECKS
from warren.checks.run import CHECKERS
from warren.cli.commands.check import app
from warren.cli.options.check_options import CHECK_OPTIONS
from warren.model.check import Argv
from warren.model.check_kinds import CHECK_KINDS, CheckKind
from warren.model.probe import Probe
from warren.transport.codec import record
from warren.transport.schema import wire

Holds = Callable[[CheckKind, Path], bool]


def missing(root: Path, kinds: Iterable[CheckKind] = CHECK_KINDS) -> list[str]:
    """A sentence for every table in which a kind has no row, and every row that has no kind."""
    known = [*kinds]
    found = [
        f"{kind.name}: {what}"
        for kind in known
        for what, holds in PLACES.items()
        if not holds(kind, root)
    ]
    names = {kind.name for kind in known}
    for place, rows in TABLES.items():
        found += [f"{row}: is a row of {place}, and no kind" for row in rows if row not in names]
    return found + [f"{kind.name}: {said}" for kind in known for said in _untrue(kind)]


def _has_field(kind: CheckKind, _: Path) -> bool:
    hints = {field.name: field.type for field in msgspec.structs.fields(Probe)}
    return get_args(hints.get(kind.name)) == (kind.asks, type(None))


def _is_in_the_schema(kind: CheckKind, _: Path) -> bool:
    schema = wire.HealthCheck.schema
    if kind.name not in schema.union_fields:
        return False
    record(kind.asks, schema.fields[kind.name].schema.node.id)  # raises where they do not fit
    return True


def _is_documented(kind: CheckKind, root: Path) -> bool:
    text = (root / "docs" / "service-file.md").read_text("utf-8")
    fields = kind.asks.__struct_fields__
    return f"**{kind.name}**: " in text and all(f"`{field}`" in text for field in fields)


TABLES: Mapping[str, Iterable[str]] = {
    "CHECKERS in warren/checks/run.py": CHECKERS,
    "CHECK_OPTIONS in warren/cli/options/check_options.py": CHECK_OPTIONS,
    "CHECKS in tests/model/specs.py": CHECKS,
    "SAID in tests/cli/flag_words.py": SAID,
}
PLACES: Mapping[str, Holds] = {
    "no field of Probe in warren/model/probe.py": _has_field,
    "no row of CHECKERS in warren/checks/run.py": lambda kind, _: kind.name in CHECKERS,
    "no row of CHECK_OPTIONS in warren/cli/options/check_options.py": (
        lambda kind, _: kind.name in CHECK_OPTIONS
    ),
    "no command in warren/cli/commands/check.py": lambda kind, _: kind.name in app,
    "no member of the union of HealthCheck in schema/warren.capnp": _is_in_the_schema,
    "not in warren/__init__.py": lambda kind, _: kind.asks.__name__ in warren.__all__,
    "not described in docs/service-file.md, with its fields": _is_documented,
    "no row of CHECKS in tests/model/specs.py": lambda kind, _: kind.name in CHECKS,
    "no row of SAID in tests/cli/flag_words.py": lambda kind, _: kind.name in SAID,
    "no tests/checks/test_checks_NAME.py": lambda kind, root: (
        root / "tests" / "checks" / f"test_checks_{kind.name}.py"
    ).is_file(),
}


def _untrue(kind: CheckKind) -> Iterator[str]:
    """What the row says of the struct, and the struct does not have."""
    hints: dict[str, Any] = {each.name: each.type for each in msgspec.structs.fields(kind.asks)}
    if kind.asks_port != ({"port", "host"} <= hints.keys()):
        yield f"asks_port is {kind.asks_port}, and its fields are {', '.join(hints)}"
    mappings = tuple(name for name, hint in hints.items() if get_origin(hint) is Mapping)
    if kind.secrets != mappings:
        yield f"secrets are {kind.secrets}, and its mappings {mappings}"
    commands = tuple(name for name, hint in hints.items() if Argv in (hint, *get_args(hint)))
    if kind.commands != commands:
        yield f"commands are {kind.commands}, and its fields of words {commands}"
