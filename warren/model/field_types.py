"""The types of what a program puts into a spec. What comes from a file a decoder has checked.

A list of words stands for a command, a number for a duration or another number, a text for a size:
they become what the field declares. All else that is not of its field's type is refused (S25).
"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from warren.model.byte_size import ByteSize, parse_size
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
    parts: tuple[type, ...]  # of what is in a tuple, or a mapping from strings


def settle_types(value: msgspec.Struct) -> None:
    """Refuse fields of a new value that are of the wrong type. Raises FieldError."""
    for field in _fields(type(value)):
        given = getattr(value, field.name)
        if type(given) not in field.exact:
            settled = _settled(field, given)
            if settled is not given:
                msgspec.structs.force_setattr(value, field.name, settled)
                given = settled
        if field.parts and given:
            _check_parts(field, given)


def check_type(field: str, value: object, *kinds: type) -> None:
    """Refuse a value that is of none of these types. Raises FieldError."""
    if type(value) not in kinds and not any(_is(value, kind) for kind in kinds):
        raise FieldError(field, value, f"want {' or '.join(map(_word, kinds))}")


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[_Field, ...]:
    hints = get_type_hints(struct)
    return tuple(_field(name, hints[name]) for name in struct.__struct_fields__)


def _field(name: str, hint: Any) -> _Field:
    kinds = _kinds(hint)
    inner = [get_args(option) for option in _options(hint)]
    parts = [kind for args in inner if args for kind in _kinds(_part(args))]
    return _Field(name, kinds, _exact(kinds), tuple(parts))


def _part(args: tuple[Any, ...]) -> Any:
    """`V` of `Mapping[str, V]`, and of `tuple[V, ...]`."""
    return args[0] if args[-1] is ... else args[-1]


def _kinds(hint: Any) -> tuple[type, ...]:
    return tuple(get_origin(option) or option for option in _options(hint))


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)


def _exact(kinds: tuple[type, ...]) -> frozenset[type]:
    mappings = (dict, types.MappingProxyType) if Mapping in kinds else ()
    return frozenset((*kinds, *mappings))


def _settled(field: _Field, given: object) -> object:
    if any(_is(given, kind) for kind in field.kinds):
        return given
    for kind in field.kinds:
        if issubclass(kind, tuple) and isinstance(given, list | tuple):
            return cast("Any", kind)(given)
        if kind is ByteSize and (isinstance(given, str) or _is(given, int)):
            return _number(field, _byte_size, given)
        if issubclass(kind, float) and (_is(given, int) or _is(given, float)):
            return _number(field, kind, given)
    check_type(field.name, given, *field.kinds)
    raise AssertionError("it was of none of them")


def _check_parts(field: _Field, given: object) -> None:
    if isinstance(given, Mapping):
        for key, value in cast("Mapping[object, object]", given).items():
            check_type(field.name, key, str)
            check_type(f"{field.name}.{key}", value, *field.parts)
    elif isinstance(given, tuple):
        for one in cast("tuple[object, ...]", given):
            check_type(field.name, one, *field.parts)


def _number(field: _Field, kind: Any, given: object) -> object:
    try:
        return kind(given)
    except (ValueError, OverflowError) as error:
        raise FieldError(field.name, given, str(error)) from None


def _byte_size(given: str | int) -> ByteSize:
    return ByteSize(parse_size(given))


def _is(value: object, kind: type) -> bool:
    """`isinstance`, but that True is no number."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _word(kind: type) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    if issubclass(kind, enum.Enum):
        return " or ".join(f"{kind.__name__}.{name}" for name in kind.__members__)
    if issubclass(kind, tuple):
        return "a tuple" if kind is tuple else COMMAND
    if issubclass(kind, float):
        return "a number of seconds, such as 1.5"
    if kind is ByteSize:
        return 'a size, such as "512M"'
    return "a mapping" if kind is Mapping else f"{kind.__name__}(...)"
