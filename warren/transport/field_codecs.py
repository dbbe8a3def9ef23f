"""The pieces of a codec: how one value is written to a message and read from it.

Writing takes model values; reading returns plain data for `decode`, which judges it. Both raise
DecodeError, with the path to the field.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, cast

import msgspec

from warren.model import bounds
from warren.model.check import HIDDEN, StatusRange
from warren.model.decode import DecodeError
from warren.model.identity import TaskId
from warren.transport.peer_budget import Budget
from warren.transport.schema import capnp

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
NONE: Mapping[str, object] = MappingProxyType({})
SHOWN_BYTES = 60  # of text that is not text, in an error
_MISSING = object()


class Item(Protocol):
    """How a value that is no group is stored in a struct's field or at a list's index."""

    def write(self, owner: Any, place: Any, value: Any) -> None:
        """Put a model value there. Raises DecodeError where it does not fit."""
        ...

    def read(self, raw: Any, budget: Budget) -> object:
        """Plain data of what was found there. Raises DecodeError."""
        ...


class Field(Protocol):
    """How a value is stored in a struct."""

    def write(self, builder: Any, value: Any) -> None: ...

    def read(self, reader: Any, budget: Budget) -> object: ...


class Scalar:
    """A number, a bool, a text or bytes, within the bounds of its name."""

    def __init__(self, kind: str, name: str) -> None:
        self._make: Any = {"text": _utf8, "data": bytes, "bool": bool}.get(kind)
        if self._make is None:
            self._make = int if kind in INTEGERS else float
        self._wanted = f"want what fits {kind}"
        self._range = bounds.number_bound(name) if kind in INTEGERS else None
        if kind.startswith("float"):  # finite, and most are judged by the model
            self._range = bounds.NUMBERS.get(name)
        self._longest = bounds.text_bound(name)

    def write(self, owner: Any, place: Any, value: Any) -> None:
        try:
            owner._set(place, self._make(value))
        except (capnp.KjException, OverflowError, ValueError):
            raise DecodeError((), value, self._wanted) from None

    def read(self, raw: Any, budget: Budget) -> object:
        if type(raw) is float and not math.isfinite(raw):
            raise DecodeError((), raw, "want a finite number")
        if isinstance(raw, str | bytes):
            if len(raw) > self._longest:
                raise DecodeError((), raw[:40], f"want at most {self._longest} characters")
        elif self._range is not None and not self._range.low <= raw <= self._range.high:
            low, high = self._range
            raise DecodeError((), raw, f"want {low} to {high}")
        return raw


class Enumerant:
    """A member of an enum, by its name. Of an enum that has a member UNKNOWN, what a later version
    has added reads as that."""

    def __init__(self, kind: type[enum.Enum], schema: Any) -> None:
        ordinals: dict[str, int] = schema.enumerants
        names = {member: camel(member.name.lower()) for member in kind}
        if set(names.values()) != set(ordinals):
            raise TypeError(f"{kind.__name__} and the schema's {', '.join(ordinals)} differ")
        self._names = names
        self._plain = {ordinals[name]: member.value for member, name in names.items()}
        self._wanted = f"want one of {', '.join(ordinals)} (a newer peer may know more)"
        unknown = kind.__members__.get("UNKNOWN")
        self.unknown: object = _MISSING if unknown is None else unknown.value

    def write(self, owner: Any, place: Any, value: Any) -> None:
        owner._set(place, self._names[value])

    def read(self, raw: Any, budget: Budget) -> object:
        plain = self._plain.get(raw.raw, self.unknown)
        if plain is _MISSING:
            raise DecodeError((), raw.raw, self._wanted)
        return plain


class Sequenced:
    """A list of items."""

    def __init__(self, item: Item, name: str) -> None:
        self._item = item
        self._most = bounds.list_bound(name)

    def write(self, owner: Any, place: Any, value: Sequence[Any]) -> None:
        builder = owner.init(place, len(value))
        with At() as at:
            for at.step, each in enumerate(value):
                self._item.write(builder, at.step, each)

    def read(self, raw: Any, budget: Budget) -> list[object]:
        plain: list[object] = []
        count = bounded(raw, self._most, budget)
        with At() as at:
            for at.step in range(count):
                plain.append(self._item.read(raw._get(at.step), budget))
        return plain


class Record:
    """A struct. A field that reads as its default is left out: the model's own default applies
    then, and a spec that leaves its defaults unset still does after decoding."""

    def __init__(self, fields: Mapping[str, Field], defaults: Mapping[str, object] = NONE) -> None:
        self._fields = tuple(fields.items())
        self._defaults = defaults

    def write(self, owner: Any, place: Any, value: Any) -> None:
        self.fill(owner.init(place) if isinstance(place, str) else owner._get(place), value)

    def fill(self, builder: Any, value: Any) -> None:
        with At() as at:
            for at.step, field in self._fields:
                field.write(builder, getattr(value, at.step))

    def read(self, raw: Any, budget: Budget) -> object:
        plain: dict[str, object] = {}
        with At() as at:
            for at.step, field in self._fields:
                value = field.read(raw, budget)
                if value != self._defaults.get(at.step, _MISSING):
                    plain[at.step] = value
        return plain


class Named(Record):
    """A task's name, whole or not at all."""

    def read(self, raw: Any, budget: Budget) -> object:
        text = str(msgspec.convert(super().read(raw, budget), TaskId))
        try:
            return TaskId.parse(text)
        except ValueError:
            wanted = "want a task's name, SERVICE.SLOT#NUMBER such as web.2#7"
            raise DecodeError((), text, wanted) from None


class Slot:
    """A field of its own. An optional value that is missing is a null pointer."""

    def __init__(self, name: str, item: Item, *, optional: bool) -> None:
        self._name = name
        self._item = item
        self._optional = optional

    def write(self, builder: Any, value: Any) -> None:
        if not (self._optional and value is None):
            self._item.write(builder, self._name, value)

    def read(self, reader: Any, budget: Budget) -> object:
        if self._optional and not reader._has(self._name):
            return None
        return self._item.read(reader._get(self._name), budget)


class Member:
    """An optional field that is a member of its struct's unnamed union."""

    def __init__(self, name: str, item: Item) -> None:
        self._name = name
        self._item = item

    def write(self, builder: Any, value: Any) -> None:
        if value is not None:
            self._item.write(builder, self._name, value)

    def read(self, reader: Any, budget: Budget) -> object:
        if which(reader) != self._name:
            return None
        return self._item.read(reader._get(self._name), budget)


class Choice:
    """A union of its own: one member for each type, and one for None."""

    def __init__(self, name: str, members: Mapping[type, tuple[str, Item]]) -> None:
        self._name = name
        self._members = members
        self._items = dict(members.values())

    def write(self, builder: Any, value: Any) -> None:
        kind = next(kind for kind in self._members if isinstance(value, kind))
        name, item = self._members[kind]
        group = builder.init(self._name)
        if value is None:
            group._set(name, None)
        else:
            item.write(group, name, value)

    def read(self, reader: Any, budget: Budget) -> object:
        group = reader._get(self._name)
        chosen = which(group)
        if chosen not in self._items:
            known = ", ".join(self._items)
            raise DecodeError((), chosen, f"want one of {known} (a newer peer may know more)")
        return self._items[chosen].read(group._get(chosen), budget)


class Span:
    """A range of status codes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def write(self, builder: Any, value: StatusRange) -> None:
        low, _, high = str(value).partition("-")
        group = builder.init(self._name)
        group._set("low", int(low))
        group._set("high", int(high or low))

    def read(self, reader: Any, budget: Budget) -> object:
        group = reader._get(self._name)
        return f"{group._get('low')}-{group._get('high')}"


class Size:
    """An optional size of memory: written as bytes, read as bytes or as text."""

    def __init__(self, name: str) -> None:
        members: dict[type, tuple[str, Item]] = {
            type(None): ("unset", Scalar("void", name)),
            int: ("bytes", Scalar("int64", name)),
            str: ("text", Scalar("text", name)),
        }
        self._choice = Choice(name, members)

    def write(self, builder: Any, value: int | None) -> None:
        self._choice.write(builder, value)

    def read(self, reader: Any, budget: Budget) -> object:
        return self._choice.read(reader, budget)


class Entries:
    """A mapping as a list of structs: the key's field, and the value's, or the value's own ones. Of
    several keys that only a later version knows the first counts.
    With `may_hide` they have `hidden` too, for a value that is masked; one that `repeats` has a
    key as often as it has values."""

    def __init__(
        self,
        name: str,
        key: tuple[str, Item],
        value: tuple[str, Item] | Record,
        *,
        bound: str,
        may_hide: bool = False,
        repeats: bool = False,
    ) -> None:
        self._name = name
        self._key, self._key_item = key
        self._unknown = getattr(self._key_item, "unknown", _MISSING)
        self._value = value
        self._may_hide = may_hide
        self._repeats = repeats
        self._most = bounds.list_bound(bound)

    def write(self, builder: Any, value: Mapping[Any, Any]) -> None:
        lines = [*(_repeated(value) if self._repeats else value.items())]
        entries = builder.init(self._name, len(lines))
        with At() as at:
            for index, (at.step, each) in enumerate(lines):
                entry = entries._get(index)
                self._key_item.write(entry, self._key, at.step)
                if isinstance(self._value, Record):
                    self._value.fill(entry, each)
                elif self._may_hide and each == HIDDEN:
                    entry._set("hidden", True)
                else:
                    self._value[1].write(entry, self._value[0], each)

    def read(self, reader: Any, budget: Budget) -> object:
        entries = reader._get(self._name)
        plain: dict[object, object] = {}
        count = bounded(entries, self._most, budget)
        with At() as at:
            for at.step in range(count):
                key, value = self._read_entry(entries._get(at.step), budget)
                if key in plain and self._repeats:
                    value = [*_listed(plain[key]), value]
                elif key in plain and key == self._unknown:
                    continue
                elif key in plain:
                    raise DecodeError((), key, "is given twice")
                plain[key] = value
        return plain

    def _read_entry(self, entry: Any, budget: Budget) -> tuple[object, object]:
        key = self._key_item.read(entry._get(self._key), budget)
        if isinstance(self._value, Record):
            return key, self._value.read(entry, budget)
        if self._may_hide and entry._get("hidden"):
            return key, HIDDEN
        name, item = self._value
        return key, item.read(entry._get(name), budget)


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _repeated(value: Mapping[str, str | tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for name, given in value.items():
        for one in (given,) if isinstance(given, str) else given:
            yield name, one


class At:
    """Prepends `step` to the path of a DecodeError raised inside."""

    __slots__ = ("step",)

    def __init__(self, step: Any = None) -> None:
        self.step = step

    def __enter__(self) -> At:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        step = self.step if isinstance(self.step, str | int) else str(self.step)
        if isinstance(error, DecodeError):
            raise type(error)((step, *error.path), error.value, error.wanted) from None
        if isinstance(error, UnicodeDecodeError):
            raise DecodeError((step,), error.object[:SHOWN_BYTES], "want UTF-8 text") from None


def bounded(entries: Any, most: int, budget: Budget) -> int:
    """How many items a list has, before the first is read. Raises DecodeError."""
    count = len(entries)
    if count > most:
        raise DecodeError((), f"{count} items", f"want at most {most}")
    budget.take(count)
    return count


def which(reader: Any) -> str:
    """The member of a union that is set; `?` for one this side does not know."""
    try:
        return cast(str, reader._which_str())
    except (capnp.KjException, RuntimeError):
        return "?"


def camel(name: str) -> str:
    """`start_period` -> `startPeriod`."""
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
