"""The types of what a program puts into a spec. What comes from a file a decoder has checked.

A list of words stands for a command, and a number for a duration or another number: they become
what the field declares. All else that is not of its field's type is refused (S25).
"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from warren.model.errors import FieldError

COMMAND = 'a list of words, such as ["sleep", "1"]'
_WORDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    types.NoneType: "None",
}


class _Field(NamedTuple):
    name: str
    kinds: tuple[type, ...]
    exact: frozenset[type]  # of these most values are, which is quick to see


def settle_types(value: msgspec.Struct) -> None:
    """Refuse fields of a new value that are of the wrong type. Raises FieldError."""
    for field in _fields(type(value)):
        given = getattr(value, field.name)
        if type(given) not in field.exact:
            settled = _settled(field, given)
            if settled is not given:
                msgspec.structs.force_setattr(value, field.name, settled)


def check_type(field: str, value: object, *kinds: type) -> None:
    """Refuse a value that is of none of these types. Raises FieldError."""
    if not any(_is(value, kind) for kind in kinds):
        raise FieldError(field, value, f"want {' or '.join(map(_word, kinds))}")


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[_Field, ...]:
    hints = get_type_hints(struct)
    found = ((name, _kinds(hints[name])) for name in struct.__struct_fields__)
    return tuple(_Field(name, kinds, _exact(kinds)) for name, kinds in found)


def _kinds(hint: Any) -> tuple[type, ...]:
    options = get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)
    return tuple(get_origin(option) or option for option in options)


def _exact(kinds: tuple[type, ...]) -> frozenset[type]:
    mappings = (dict, types.MappingProxyType) if Mapping in kinds else ()
    return frozenset((*kinds, *mappings))


def _settled(field: _Field, given: object) -> object:
    if any(_is(given, kind) for kind in field.kinds):
        return given
    for kind in field.kinds:
        if issubclass(kind, tuple) and isinstance(given, list | tuple):
            return cast("Any", kind)(given)
        if issubclass(kind, float) and (_is(given, int) or _is(given, float)):
            return _number(field, kind, given)
    check_type(field.name, given, *field.kinds)
    raise AssertionError("it was of none of them")


def _number(field: _Field, kind: Any, given: object) -> object:
    try:
        return kind(given)
    except (ValueError, OverflowError) as error:
        raise FieldError(field.name, given, str(error)) from None


def _is(value: object, kind: type) -> bool:
    """`isinstance`, but that True is no number."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _word(kind: type) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    if issubclass(kind, enum.Enum):
        return " or ".join(f"{kind.__name__}.{name}" for name in kind.__members__)
    if issubclass(kind, tuple):
        return "a tuple of strings" if kind is tuple else COMMAND
    if issubclass(kind, float):
        return "a number of seconds, such as 1.5"
    return "a mapping" if kind is Mapping else f"{kind.__name__}(...)"
