"""Plain data to model values and back, strictly; every refusal has the path of what is wrong."""

from __future__ import annotations

import enum
import re
import shlex
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import msgspec

from warren.model.byte_size import SIZE_WANTED, ByteSize, parse_size
from warren.model.check import Args, Argv, StatusRange
from warren.model.check_kinds import CHECK_KINDS
from warren.model.duration import Duration, parse_duration
from warren.model.errors import FieldError, SpecError, shown
from warren.model.identity import NAME_WANTED
from warren.model.suggest import no_such_field

T = TypeVar("T")
Path = tuple[str | int, ...]

_AT = re.compile(r"(?s)(?P<said>.*) - at `\$(?P<path>.*)`\Z")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_WORDS = {
    "str": "a string (quote it)",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "nothing",
}
_PROBE = "{http: {path: /healthz, port: 8080}}"
_EXAMPLES: dict[str, str] = {  # of what is a mapping, by the name of its field, or its list's
    "env": "{NAME: value}",
    "ports": "{http: 8080}",
    "labels": "{team: shop}",
    "ulimits": "{nofile: 1024}",
    "mounts": "{type: volume, source: data, target: /var/lib/data}",
    "restart": "{condition: always}",
    "resources": "{memory: 512M}",
    "stop": "{grace: 10s}",
    **{kind.name: kind.example for kind in CHECK_KINDS},
    "headers": "{Host: example.org}",
    **dict.fromkeys(("health", "startup", "liveness", "readiness"), _PROBE),
}


class DecodeError(Exception):
    """Where in the data it is (`path`), the value there, and what would be right."""

    def __init__(self, path: Path, value: object, wanted: str) -> None:
        self.path = path
        self.value = value
        self.wanted = wanted
        super().__init__(path, value, wanted)

    def named(self, prefix: str = "") -> SpecError:
        """The error for people; `prefix` is a field's name to put in front."""
        return SpecError(dotted(prefix, self.path), self.wanted, value=self.value)


def decode(data: object, kind: type[T]) -> T:
    """Strictly make a `kind` of plain data (dicts, lists, scalars). Raises DecodeError."""
    try:
        return msgspec.convert(data, kind, dec_hook=_decode_word)
    except msgspec.ValidationError as error:
        raise _explain(error, data, kind) from None


def plain(value: object) -> Any:
    """A model value as plain data, without defaults; `decode` returns the value."""
    return msgspec.to_builtins(value, enc_hook=_encode_word)


def to_json(value: object) -> bytes:
    """A model value as JSON, without defaults."""
    return msgspec.json.encode(value, enc_hook=_encode_word)


def from_json(text: bytes | str, kind: type[T]) -> T:
    """The inverse of `to_json`. Raises DecodeError."""
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError((), ..., f"want JSON: {error}") from None
    return decode(data, kind)


def dotted(prefix: str, path: Path) -> str:
    """`services` and ("web", "command", 0) -> `services.web.command[0]`."""
    text = prefix
    for step in path:
        if isinstance(step, str):
            # Names as they are written; anything else so that the message stays one line.
            step = f".{step if step.isprintable() and len(step) <= 63 else shown(step)}"
        text += step if isinstance(step, str) else f"[{step}]"
    return text.lstrip(".") or "(the whole)"


def _decode_word(kind: type, raw: object) -> object:
    if kind is Duration:
        if isinstance(raw, str | int | float):
            return parse_duration(raw)
        raise ValueError("want a duration such as 10s or 500ms")
    if kind is ByteSize:
        if isinstance(raw, str | int):
            return ByteSize(parse_size(raw))
        raise ValueError(SIZE_WANTED)
    if kind is StatusRange:
        return StatusRange.parse(raw if isinstance(raw, str | int) else "")
    if kind is Argv:
        return _argv(raw)
    if kind is Args:
        return Args(_words(raw))
    raise ValueError(f"want {kind.__name__}")


def _argv(raw: object) -> Argv:
    words = _words(raw)
    if not words or not words[0]:
        raise ValueError("want at least the name of a program")
    return Argv(words)


def _words(raw: object) -> list[str]:
    if isinstance(raw, str):
        try:
            words: list[object] = [*shlex.split(raw)]
        except ValueError as error:
            raise ValueError(f"want a command whose quotes are closed ({error})") from None
    elif isinstance(raw, list | tuple):
        words = list(cast("list[object]", raw))
    else:
        raise ValueError("want a list of words, or one string")
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise FieldError(f"[{index}]", word, "want a string (quote it)")
    return cast("list[str]", words)


def _encode_word(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    return str(value)


def _explain(error: msgspec.ValidationError, data: object, kind: type) -> DecodeError:
    match = _AT.match(str(error))
    said = match["said"] if match else str(error)
    path = _steps(match["path"], data, said) if match else ()
    if isinstance(error.__cause__, FieldError):
        cause = error.__cause__
        if not cause.field.startswith("[") and cause.field.partition(".")[0] not in _fields(
            kind, path
        ):  # it is about the whole: name what was written, and no field that was not
            return DecodeError(path, _value(data, path), cause.wanted)
        return DecodeError((*path, *_extra(cause.field)), cause.value, cause.wanted)
    if unknown := _UNKNOWN.match(said):
        value = cast("dict[str, object]", _value(data, path)).get(unknown["name"])
        return DecodeError(
            (*path, unknown["name"]), value, no_such_field(unknown["name"], _fields(kind, path))
        )
    if missing := _MISSING.match(said):
        return DecodeError((*path, missing["name"]), None, "is missing")
    if said.startswith("Invalid enum value") and (options := _options(kind, path)):
        return DecodeError(path, _value(data, path), f"want one of {options}")
    if "matching regex" in said:  # names are all that has one
        return DecodeError(path, _value(data, path), NAME_WANTED)
    wanted = _in_words(said)
    if wanted in ("want a mapping", "want a mapping or nothing") and path:
        named = [step for step in path if isinstance(step, str)]
        example = _EXAMPLES.get(named[-1]) if named else None
        wanted = wanted if example is None else f"want a mapping such as {example}"
    return DecodeError(path, _value(data, path), wanted)


def _extra(field: str) -> Path:
    """The steps of a refused field: `[1]`, `path` or `env.NAME`, whatever the name."""
    return (int(field[1:-1]),) if field.startswith("[") else tuple(field.split(".", 1))


def _in_words(said: str) -> str:
    def words(match: re.Match[str]) -> str:
        return " or ".join(_WORDS.get(word, word) for word in match[1].split(" | "))

    said = re.sub(r"^Expected ", "want ", said)
    said = re.sub(r", got `.*`$", "", said)
    return re.sub(r"`([\w |]+)`", words, said)


def _steps(text: str, data: object, said: str) -> Path:
    """The path a decoder's message names; a mapping's `[...]` is looked up in the data."""
    wanted: type = int if said.startswith("Expected `int`") else str
    path: Path = ()
    for step in _STEP.finditer(text):
        if step["name"] is not None:
            path = (*path, step["name"])
        elif step["index"] != "...":
            path = (*path, int(step["index"]))
        else:
            found = _value(data, path)
            items = cast("dict[str, object]", found) if isinstance(found, dict) else {}
            path = (*path, *[k for k, v in items.items() if type(v) is not wanted][:1])
    return path


def _value(data: object, path: Path) -> object:
    for step in path:
        if isinstance(data, Mapping):
            data = cast("Mapping[object, object]", data).get(step)
        elif isinstance(data, list | tuple) and isinstance(step, int):
            data = cast("list[object]", data)[step]
        else:
            return None
    return data


def _fields(kind: Any, path: Path) -> list[str]:
    """The fields of the struct that `path` leads to from `kind`."""
    struct = _among(_hint(kind, path), msgspec.Struct)
    return [field.encode_name for field in msgspec.structs.fields(struct)] if struct else []


def _options(kind: Any, path: Path) -> str:
    """The values of the enum that `path` leads to."""
    return ", ".join(str(member.value) for member in _among(_hint(kind, path), enum.Enum) or ())


def _hint(kind: Any, path: Path) -> Any:
    for step in path:
        struct = _among(kind, msgspec.Struct)
        hints = {f.encode_name: f.type for f in msgspec.structs.fields(struct)} if struct else {}
        kind = _item_hint(kind) if isinstance(step, int) else hints.get(step)
    return kind


def _item_hint(kind: Any) -> Any:
    """What a list's items are."""
    lists = (one for one in _alternatives(kind) if get_origin(one) in (tuple, list))
    return next((get_args(one)[0] for one in lists), None)


def _among(hint: Any, wanted: type) -> Any:
    options = _alternatives(hint)
    return next((o for o in options if isinstance(o, type) and issubclass(o, wanted)), None)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)
