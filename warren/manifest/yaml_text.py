"""YAML text to plain data with the line of everything: no surprises, no bombs.

Scalars follow YAML 1.2's core schema (`no` and `on` are strings). Duplicate keys and tags are
refused; aliases and `<<` work, within a budget, and may not contain themselves.
"""

from __future__ import annotations

import re
from typing import Any, cast

import yaml

from warren.model.decode import Path, dotted
from warren.model.errors import SpecError

BUDGET = 100_000  # values (of some 100 characters) after all aliases are written out
DEEPEST = 100  # levels, aliases written out
LONGEST_TEXT = 1 << 20

_INT = re.compile(r"[-+]?\d+\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?\Z", re.ASCII)
_KEYWORDS: dict[str, object] = {
    form: value
    for word, value in (("", None), ("~", None), ("null", None), ("true", True), ("false", False))
    for form in (word, word.title(), word.upper())
}
_untyped: Any = yaml  # the package has no types of its own


class _Loader(yaml.BaseLoader):
    """Leaves the tag of a node empty, unless the text has one."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return ""


class Document:
    """Plain data of a YAML text; `line(path)` is where a path's key stands, counted from 1."""

    def __init__(self, text: str, source: str | None = None) -> None:
        self.source = source
        self._lines: dict[Path, int] = {}
        self._left = BUDGET
        if len(text) > LONGEST_TEXT:
            raise SpecError("file", "want at most 1 MiB", value=f"{len(text)} characters")
        self.data = self._build(self._compose(text), (), ())

    def line(self, path: Path) -> int | None:
        """The line of the nearest element of the text on the way to `path`."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path)

    def refuse(self, path: Path, wanted: str, value: object = ...) -> SpecError:
        """The error for what stands at `path`."""
        line = self.line(path)
        return SpecError(dotted("", path), wanted, value=value, line=line, source=self.source)

    def _compose(self, text: str) -> Any:
        try:
            return _untyped.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = None if mark is None else mark.line + 1
            said = ", ".join(part for part in (error.context, error.problem) if part)
            wanted = f"want YAML: {said[:200]}"
            raise SpecError("file", wanted, line=line, source=self.source) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            said = str(error).splitlines()[0]
            raise SpecError("file", f"want YAML: {said}", source=self.source) from None
        except RecursionError:
            raise SpecError("file", "is nested too deeply", source=self.source) from None

    def _build(self, node: Any, path: Path, within: tuple[int, ...]) -> Any:
        if node is None:
            return None
        self._lines.setdefault(path, node.start_mark.line + 1)
        self._spend(node, path)
        if id(node) in within:
            raise self.refuse(path, "contains itself through an alias")
        if len(within) >= DEEPEST:
            raise SpecError("file", "is nested too deeply", source=self.source)
        inside = (*within, id(node))
        if node.tag:
            raise self.refuse(path, "want no tag", value=node.tag)
        if isinstance(node, yaml.ScalarNode):
            text = self._whole(node.value, path)
            return text if node.style is not None else plain_scalar(text)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*path, i), inside) for i, item in enumerate(node.value)]
        return self._mapping(node, path, inside)

    def _whole(self, text: str, path: Path) -> str:
        """Text whose escapes are as JSON writes them: a character beyond U+FFFF as two halves."""
        if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            wanted = "want text without half a surrogate pair"
            raise self.refuse(path, wanted, value=text) from None

    def _spend(self, node: Any, path: Path) -> None:
        """Long words cost more, or a few aliases of one would fill the memory."""
        self._left -= 1 + (len(node.value) // 100 if isinstance(node, yaml.ScalarNode) else 0)
        if self._left < 0:
            raise self.refuse(path, f"has more than {BUDGET} values once aliases are written out")

    def _mapping(self, node: Any, path: Path, within: tuple[int, ...]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.refuse(path, "has a key that is no string")
            self._spend(key_node, path)
            if key_node.tag:
                raise self.refuse(path, "want no tag", value=key_node.tag)
            key = self._whole(key_node.value, path)
            here = (*path, key)
            if key in own or (key == "<<" and merged):
                where = f"is given twice, first on line {self._lines[here]}"
                self._lines[here] = line
                raise self.refuse(here, where)
            self._lines[here] = line
            if key == "<<" and key_node.style is None:
                merged = self._merge(value_node, here, within)
            else:
                own[key] = self._build(value_node, here, within)
        return merged | own

    def _merge(self, node: Any, path: Path, within: tuple[int, ...]) -> dict[str, Any]:
        value = self._build(node, path, within)
        parts = cast("list[Any]", value) if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for part in reversed(parts):
            if not isinstance(part, dict):
                raise self.refuse(path, "want a mapping to merge")
            merged |= part
        return merged


def plain_scalar(text: str) -> object:
    """What an unquoted word means."""
    if text in _KEYWORDS:
        return _KEYWORDS[text]
    if _INT.match(text):
        return int(text) if len(text) <= 20 else text
    if _FLOAT.match(text):
        return float(text)
    return text


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _represent_text(dumper: Any, text: str) -> Any:
    is_plain = isinstance(plain_scalar(text), str) and text != "<<" and text.isprintable()
    style = None if is_plain else '"'  # unquoted, a reader takes U+0085 for the end of a line
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def write(data: object) -> str:
    """Plain data as YAML text; `Document(text).data` returns the data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
