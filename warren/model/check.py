"""Checks, and the answer to one attempt of one (S1)."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from warren.model.errors import FieldError
from warren.model.field_types import COMMAND, check_type, settle_types

HIDDEN = "\0hidden"  # stands for a value that is not shown; no program or server can receive it
DETAIL_LIMIT = 4096  # bytes of an outcome's detail (S13)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_RANGE = re.compile(r"(\d{3})(?:-(\d{3}))?\Z")


_RANGE_WANTED = "want a status such as 204, or a range such as 200-399, within 100-599"


def _is_status(code: object) -> bool:
    return isinstance(code, int) and not isinstance(code, bool) and 100 <= code <= 599


class StatusRange:
    """HTTP status codes that pass, both ends included. Written `200-399` or `204`. Immutable.

    `StatusRange()` is 200-399, `StatusRange(204)` is that one.
    """

    __slots__ = ("_ends",)

    def __init__(self, low: int | None = None, high: int | None = None) -> None:
        """Raises ValueError saying what would be right."""
        if low is None:
            low, high = 200, 399 if high is None else high
        high = low if high is None else high
        if not (_is_status(low) and _is_status(high) and low <= high):
            raise ValueError(_RANGE_WANTED)
        self._ends = (low, high)

    def __contains__(self, status: int) -> bool:
        return self._ends[0] <= status <= self._ends[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StatusRange) and self._ends == other._ends

    def __hash__(self) -> int:
        return hash(self._ends)

    def __str__(self) -> str:
        low, high = self._ends
        return f"{low}-{high}" if low != high else f"{low}"

    __repr__ = __str__

    @classmethod
    def parse(cls, written: str | int) -> StatusRange:
        """Read the written form. Raises ValueError saying what would be right."""
        match = None if isinstance(written, bool) else _RANGE.match(str(written))
        if match:
            return cls(int(match[1]), int(match[2] or match[1]))
        raise ValueError(_RANGE_WANTED)


Headers = Mapping[str, str | tuple[str, ...]]


class Scheme(enum.Enum):
    HTTP = "http"
    HTTPS = "https"


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every kind of check is: a question. Its kinds are rows in `check_kinds.py`."""


class HttpCheck(Check, frozen=True):
    """GET `path` and judge the status (S11). `port` is a number, a name, or None: the only port.

    `host` is a name or an address to ask in place of the instance's own (S14). `headers` are sent
    as given, one with several values several times; `Host` overrides, an empty value removes a
    default header. `verify` checks the certificate of an https server against the system's
    authorities.
    """

    path: str = "/"
    port: int | str | None = None
    scheme: Scheme = Scheme.HTTP
    headers: Headers = MappingProxyType({})
    status: StatusRange = StatusRange()
    verify: bool = False
    host: str | None = None

    def __post_init__(self) -> None:
        settle_types(self)
        if not self.path.startswith("/") or not _is_printable(self.path) or " " in self.path:
            raise FieldError("path", self.path, "want a path such as /healthz, without spaces")
        if not self.path.isascii():
            raise FieldError("path", self.path, "want ASCII; percent-encode the rest")
        check_port(self.port)
        check_host(self.host)
        self._check_headers()

    def _check_headers(self) -> None:
        for name, given in self.headers.items():
            for one in _values(given):
                check_type(f"headers.{name}", one, str)
        for name, value in self.header_lines():
            if not _TOKEN.match(name):
                raise FieldError("headers", name, "want a header name such as X-Probe")
            if value != HIDDEN and (not _is_printable(value) or not value.isascii()):
                raise FieldError(f"headers.{name}", value, "want printable ASCII on one line")
        hosts = [value for name, value in self.header_lines() if name.lower() == "host"]
        if len(hosts) > 1:
            raise FieldError("headers.Host", hosts[1], "want it once: no server takes two")
        values = {name: _values(value) for name, value in self.headers.items()}
        for name, given in values.items():
            if not given:
                raise FieldError(f"headers.{name}", [], "want a value, or a list of them")
        if any(
            not isinstance(self.headers[name], str) for name, v in values.items() if len(v) == 1
        ):
            plain = {name: v[0] if len(v) == 1 else v for name, v in values.items()}
            msgspec.structs.force_setattr(self, "headers", plain)  # one value has one form

    def header_lines(self) -> Iterator[tuple[str, str]]:
        """Every header as often as it is sent."""
        for name, value in self.headers.items():
            for one in _values(value):
                yield name, one


class TcpCheck(Check, frozen=True):
    """Connect and close; nothing is sent (S12). `port` and `host` as in HttpCheck."""

    port: int | str | None = None
    host: str | None = None

    def __post_init__(self) -> None:
        settle_types(self)
        check_port(self.port)
        check_host(self.host)


def _are_words(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)  # its letters are none


class Argv(tuple[str, ...]):
    """A command without a shell. In a file: a list, or a string split as a shell would."""

    __slots__ = ()

    def __new__(cls, words: Iterable[str] = ()) -> Argv:
        if not _are_words(words):
            raise FieldError("command", words, f"want {COMMAND}")
        return super().__new__(cls, words)


class Args(tuple[str, ...]):
    """What a program is given, written as a command is; it may be empty."""

    __slots__ = ()


class ExecCheck(Check, frozen=True):
    """Run `command` in the task's own context; exit 0 passes (S13)."""

    command: Argv

    def __post_init__(self) -> None:
        settle_types(self)
        for word in self.command:
            check_text("command", word)


class Result(enum.Enum):
    """UNKNOWN is one that only a later version knows: it is shown, and counts for nothing."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"
    UNKNOWN = "unknown"


class Outcome(msgspec.Struct, frozen=True):
    """The answer to one attempt. `duration` is seconds, and `waited` those before it for a place
    (S10); `detail` is one bounded text for people."""

    result: Result
    detail: str
    duration: float = 0.0
    waited: float = 0.0


class Sample(msgspec.Struct, frozen=True):
    """One kept outcome of a probe's history (S24). `at` is wall time, seconds since the epoch."""

    at: float
    outcome: Outcome


def check_port(port: int | str | None) -> None:
    """Refuse a port number out of range or an empty name. Raises FieldError."""
    if port == "" or (isinstance(port, int) and not 1 <= port <= 65535):
        raise FieldError("port", port, "want 1 to 65535 or the name of a port")


def check_host(host: str | None) -> None:
    """Refuse what is neither an address nor a name. Raises FieldError."""
    if host is not None and not is_address(host) and not _HOST.match(host):
        wanted = "want an address such as 127.0.0.1 or ::1, or a host's name"
        raise FieldError("host", host, wanted)


def is_address(text: str) -> bool:
    """Whether this is a numeric address of IPv4 or IPv6, without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def check_text(field: str, text: str) -> None:
    """Refuse what can neither be passed to a program nor be stored. Raises FieldError."""
    check_type(field, text, str)
    if "\0" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)):
        raise FieldError(field, text, "want UTF-8 text without a NUL character")


def _values(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _is_printable(text: str) -> bool:
    return all(" " <= character != "\x7f" for character in text)
