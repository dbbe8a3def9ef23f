"""The option of every kind of check, and what its text means; one row a kind. Pure.

The short form is `PATH:PORT`, and of a TCP check `PORT`; the long one is `path=/,port=80`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from warren.cli.options.pairs import pieces, unescaped
from warren.model.check import (
    Argv,
    Check,
    ExecCheck,
    HttpCheck,
    Scheme,
    StatusRange,
    TcpCheck,
)
from warren.model.errors import FieldError, SpecError
from warren.model.identity import is_name

_KEYS = ("path", "port", "scheme", "host", "status", "header", "verify")
_KEYS_WANTED = f"want one of {', '.join(_KEYS)} (a comma inside a value is written \\,)"
_HTTP = "want path=/,port=80 or PATH:PORT such as /healthz:8080"
_PORT = "want 1 to 65535, or the name of a port"


class CheckOption(NamedTuple):
    """`--health-` and `word`: its `metavar` and `help`, and `read`, which gets the option as it
    was written, for refusals, and its text. A command may begin with a hyphen."""

    word: str
    metavar: str
    help: str
    read: Callable[[str, str], Check]
    may_begin_with_hyphen: bool = False


def read_check(kind: str, option: str, text: str) -> Check:
    """The check that an option's text says. Raises SpecError naming the option."""
    try:
        return CHECK_OPTIONS[kind].read(option, text)
    except FieldError as error:
        raise SpecError(f"{option} {error.field}", error.wanted, value=error.value) from None


def _http(option: str, text: str) -> HttpCheck:
    fields: dict[str, Any] = {}
    headers: dict[str, tuple[str, ...]] = {}
    for key, value in _pairs(option, text):
        if key == "header":
            _add_header(option, headers, value)
        elif key in fields:
            raise SpecError(f"{option} {key}", "is given twice", value=value)
        else:
            fields[key] = _http_field(option, key, value)
    return HttpCheck(**fields, headers=headers)


def _tcp(option: str, text: str) -> TcpCheck:
    if "=" not in text:
        return TcpCheck(port=_port(option, text))
    fields: dict[str, Any] = {}
    for piece in text.split(","):
        key, _, value = piece.partition("=")
        if key not in ("host", "port"):
            raise SpecError(f"{option} {key}", "no such key; want host or port", value=value)
        if key in fields:
            raise SpecError(f"{option} {key}", "is given twice", value=value)
        fields[key] = value if key == "host" else _port(option, value)
    return TcpCheck(**fields)


def _pairs(option: str, text: str) -> Iterator[tuple[str, str]]:
    """The keys and values of the long form; a short form in front is a path and a port."""
    for index, piece in enumerate(pieces(text)):
        if index == 0 and piece.startswith("/"):
            yield from _short(option, unescaped(piece))
            continue
        key, equals, value = piece.partition("=")
        if not equals:
            raise SpecError(option, _HTTP, value=text)
        if key not in _KEYS:
            raise SpecError(f"{option} {key}", f"no such key; {_KEYS_WANTED}", value=value)
        yield key, unescaped(value)


def _short(option: str, text: str) -> Iterator[tuple[str, str]]:
    path, colon, port = text.rpartition(":")
    if not colon:
        yield "path", text
        return
    if not (port.isascii() and port.isdecimal()) and not is_name(port):
        wanted = "want PATH:PORT such as /healthz:8080; a path with a colon is path=..."
        raise SpecError(option, wanted, value=text)
    yield "path", path
    yield "port", port


def _add_header(option: str, headers: dict[str, tuple[str, ...]], text: str) -> None:
    name, colon, value = text.partition(":")
    if not colon:
        raise SpecError(f"{option} header", "want NAME:VALUE", value=text)
    headers[name] = (*headers.get(name, ()), value)


def _http_field(option: str, key: str, value: str) -> object:
    place = f"{option} {key}"
    if key == "port":
        return _port(place, value)
    if key == "scheme":
        if value not in (scheme.value for scheme in Scheme):
            raise SpecError(place, "want http or https", value=value)
        return Scheme(value)
    if key == "verify":
        if value not in ("true", "false"):
            raise SpecError(place, "want true or false", value=value)
        return value == "true"
    if key == "status":
        try:
            return StatusRange.parse(value)
        except ValueError as error:
            raise SpecError(place, str(error), value=value) from None
    return value


def _port(option: str, text: str) -> int | str:
    if text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    if is_name(text):
        return text
    raise SpecError(option, _PORT, value=text)


def read_argv(option: str, text: str) -> Argv:
    """The command of an option, split as a shell would. Raises SpecError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        wanted = f"want a command whose quotes are closed ({error})"
        raise SpecError(option, wanted, value=text) from None
    if not words or not words[0]:
        wanted = 'want a command such as "pg_isready -U postgres"'
        raise SpecError(option, wanted, value=text)
    return Argv(words)


def _exec(option: str, text: str) -> ExecCheck:
    return ExecCheck(read_argv(option, text))


CHECK_OPTIONS: Mapping[str, CheckOption] = MappingProxyType(
    {
        "http": CheckOption(
            "http",
            "CHECK",
            "PATH:PORT, or path=/,port=80 with scheme, status, header=K:V, verify, and host to "
            "ask.",
            _http,
        ),
        "tcp": CheckOption("tcp", "PORT", "A port's number or name, or port=80,host=::1.", _tcp),
        "exec": CheckOption(
            "cmd",
            "COMMAND",
            "Split as a shell would, run without one; exit code 0 passes.",
            _exec,
            may_begin_with_hyphen=True,
        ),
    }
)
