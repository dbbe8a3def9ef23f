"""A made-up later schema: today's, with enumerants, fields and members that nobody knows yet.

Its id is today's: what a type is called on the wire is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from warren.transport.schema import schema_path

_ADDED = {
    "enum Phase": ("paused @{0};",),
    "enum ProbeKind": ("canary @{0};", "shadow @{1};"),
    "enum Verdict": ("suspect @{0};",),
    "enum Result": ("degraded @{0};",),
    "enum Reason": ("evicted @{0};",),
    "enum EventKind": ("moved @{0};",),
    "struct TaskStatus": ("mood @{0} :Text;",),
    "struct TaskEvent": ("place @{0} :Text;",),
    "struct Report": ("weather @{0} :Text;",),
    "struct NodeHello": ("shape @{0} :Text;",),
    "struct NodeDescription": ("planet @{0} :Text;",),
    "struct RuntimeInfo": ("mood @{0} :Text;",),
}
_MEMBER = "exitCode :union {"


def later_schema(folder: Path) -> Path:
    """Writes it into the folder."""
    text = schema_path().read_text("utf-8")
    for what, lines in _ADDED.items():
        text = _grown(text, what, lines)
    text = _grown(text, "struct End", ("code @{0} :Text;",), after=_MEMBER)
    path = folder / "later.capnp"
    path.write_text(text, "utf-8")
    return path


def _grown(text: str, what: str, lines: Iterable[str], *, after: str = "") -> str:
    """With these lines at the end of a block, or in the union that begins so within it."""
    start = text.index(f"\n{what} {{")
    end = text.index("\n}", start)
    block = re.sub(r"#.*", "", text[start:end])
    ordinals = [int(found) for found in re.findall(r"@(\d+)", block)]
    added = "\n  ".join(lines).format(max(ordinals) + 1, max(ordinals) + 2)
    if not after:
        return f"{text[:end]}\n  {added}{text[end:]}"
    at = text.index(after, start) + len(after)
    assert at < end
    return f"{text[:at]}\n    {added}{text[at:]}"
