"""A probe from the options of its group, and back to the words of one. Pure.

The short form is `PATH:PORT`, and of a TCP check `PORT`. In the long one, `path=/,port=80`, a comma
ends a value only where a word and `=` follow; `\\,` is a comma that ends nothing, and `\\\\` a
backslash.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

from warren.cli.options.service_flags import ProbeFlags, flag
from warren.model.check import (
    Argv,
    Check,
    ExecCheck,
    HttpCheck,
    Scheme,
    StatusRange,
    TcpCheck,
)
from warren.model.duration import Duration, parse_duration
from warren.model.errors import FieldError, SpecError
from warren.model.identity import is_name
from warren.model.probe import Probe

CHECKS = ("http", "tcp", "cmd")
COUNTS = ("retries", "successes")
DURATIONS = ("interval", "timeout", "start_period", "initial_delay", "fast_interval")
MOST = 1_000_000
_KEYS = ("path", "port", "scheme", "host", "status", "header", "verify")
_KEYS_WANTED = f"want one of {', '.join(_KEYS)} (a comma inside a value is written \\,)"
_HTTP = "want path=/,port=80 or PATH:PORT such as /healthz:8080"
_PORT = "want 1 to 65535, or the name of a port"
_PIECE = re.compile(r"(?<!\\)((?:\\\\)*),(?=[A-Za-z_-]+=)")
_FIELDS = {"http": "http", "tcp": "tcp", "cmd": "exec"}  # an option and its field of a probe


def probe(group: str, given: ProbeFlags, old: Probe | None) -> Probe | None:
    """The probe of a group: a new one, or the old one with what was given changed.

    Numbers alone change the numbers, a check alone the check. Raises SpecError naming the option.
    """
    asked = [name for name in CHECKS if getattr(given, name) is not None]
    numbers: dict[str, Any] = dict(_numbers(group, given))
    if len(asked) > 1:
        options = " and ".join(flag(group, name) for name in asked)
        raise SpecError(options, "want one check in a group")
    if not asked and not numbers:
        return old
    if not asked and old is None:
        wanted = " or ".join(flag(group, name) for name in CHECKS)
        option, value = next((name, value) for name, value in numbers.items())
        raise SpecError(flag(group, option), f"there is no check: want {wanted} too", value=value)
    checks: dict[str, Any] = {}
    if asked:
        text: str = getattr(given, asked[0])
        checks = dict.fromkeys(_FIELDS.values())
        checks[_FIELDS[asked[0]]] = read_check(asked[0], flag(group, asked[0]), text)
    try:
        made = Probe(**checks, **numbers) if old is None else _changed(old, checks, numbers)
    except FieldError as error:
        raise SpecError(flag(group, error.field), error.wanted, value=error.value) from None
    if made.successes != 1 and group != "readiness":
        wanted = "want 1, or --readiness-successes"
        raise SpecError(flag(group, "successes"), wanted, value=made.successes)
    return made


def read_check(kind: str, option: str, text: str) -> Check:
    """The check that an option's text says. Raises SpecError naming the option."""
    try:
        if kind == "cmd":
            return ExecCheck(_argv(option, text))
        if kind == "tcp":
            return _tcp(option, text)
        return _http(option, text)
    except FieldError as error:
        raise SpecError(f"{option} {error.field}", error.wanted, value=error.value) from None


def _changed(old: Probe, checks: dict[str, Any], numbers: dict[str, Any]) -> Probe:
    return msgspec.structs.replace(old, **checks, **numbers)


def _numbers(group: str, given: ProbeFlags) -> Iterator[tuple[str, object]]:
    for name in DURATIONS:
        text: str | None = getattr(given, name)
        if text is not None:
            yield name, duration(flag(group, name), text)
    for name in COUNTS:
        text = getattr(given, name)
        if text is not None:
            yield name, count(flag(group, name), text, 1, MOST)


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
    # The pattern keeps the backslashes before a comma as a group of its own: put them back.
    parts = _PIECE.split(text)
    pieces = [*(parts[i] + parts[i + 1] for i in range(0, len(parts) - 1, 2)), parts[-1]]
    for index, piece in enumerate(pieces):
        if index == 0 and piece.startswith("/"):
            yield from _short(option, _unescaped(piece))
            continue
        key, equals, value = piece.partition("=")
        if not equals:
            raise SpecError(option, _HTTP, value=text)
        if key not in _KEYS:
            raise SpecError(f"{option} {key}", f"no such key; {_KEYS_WANTED}", value=value)
        yield key, _unescaped(value)


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


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\,])", r"\1", text)


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


def _argv(option: str, text: str) -> Argv:
    try:
        words = shlex.split(text)
    except ValueError as error:
        wanted = f"want a command whose quotes are closed ({error})"
        raise SpecError(option, wanted, value=text) from None
    if not words or not words[0]:
        wanted = 'want a command such as "pg_isready -U postgres"'
        raise SpecError(option, wanted, value=text)
    return Argv(words)


def duration(option: str, text: str) -> Duration:
    """A duration that an option was given. Raises SpecError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SpecError(option, str(error), value=text) from None


def count(option: str, text: str, least: int, most: int) -> int:
    """A whole number that an option was given. Raises SpecError."""
    digits = text.removeprefix("-").removeprefix("+")
    if digits.isascii() and digits.isdecimal() and len(digits) <= 12 and least <= int(text) <= most:
        return int(text)
    raise SpecError(option, f"want a whole number from {least} to {most:,}", value=text)
