"""The command line of `warren check`, as a check of the model.

Every refusal is a SpecError that names the option.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from warren.model.check import Argv, Headers, HttpCheck, Scheme, StatusRange, TcpCheck
from warren.model.errors import FieldError, SpecError

_URL = "want a URL such as http://localhost:8080/healthz"
_ADDRESS = "want HOST:PORT such as localhost:6379 or [::1]:80"
_PORTS = {Scheme.HTTP: 80, Scheme.HTTPS: 443}


def http_question(
    url: str, *, headers: Headers, status: str, verify: bool
) -> tuple[HttpCheck, str]:
    """The check, and the host to connect to."""
    parts, port = _split("URL", url, _URL)
    if parts.scheme not in ("http", "https"):
        raise SpecError("URL", _URL, value=url)
    if parts.username is not None:
        raise SpecError("URL", "want no user in it; use --header Authorization:...", value=url)
    scheme = Scheme(parts.scheme)
    try:
        passing = StatusRange.parse(status)
    except ValueError as error:
        raise SpecError("--status", str(error), value=status) from None
    try:
        check = HttpCheck(
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            port=_PORTS[scheme] if port is None else port,
            scheme=scheme,
            headers=headers,
            status=passing,
            verify=verify,
        )
    except FieldError as error:
        field = error.field.replace("headers", "--header").replace("path", "URL")
        raise SpecError(field, error.wanted, value=error.value) from None
    return check, parts.hostname or ""


def tcp_question(address: str) -> tuple[TcpCheck, str]:
    """The check, and the host to connect to."""
    parts, port = _split("ADDRESS", f"//{address}", _ADDRESS)
    if port is None or parts.path or parts.query or parts.username is not None:
        raise SpecError("ADDRESS", _ADDRESS, value=address)
    return TcpCheck(port=port), parts.hostname or ""


def headers(given: Sequence[str], host: str | None) -> Headers:
    """Headers of `NAME:VALUE`, each as often as given; space around a value is dropped."""
    found = dict[str, tuple[str, ...]]()
    for header in given:
        name, colon, value = header.partition(":")
        if not colon or not name:
            raise SpecError("--header", "want NAME:VALUE", value=header)
        found[name] = (*found.get(name, ()), value.strip())
    if host is not None:
        if "host" in (name.lower() for name in found):
            raise SpecError("--host", "want either this or --header Host:...", value=host)
        found["Host"] = (host,)
    return found


def variables(given: Sequence[str]) -> dict[str, str]:
    """Variables of `NAME=VALUE`."""
    found = dict[str, str]()
    for variable in given:
        name, equals, value = variable.partition("=")
        if not equals or not name:
            raise SpecError("--env", "want NAME=VALUE", value=variable)
        found[name] = value
    return found


def argv(command: Sequence[str]) -> Argv:
    """The command, which must be there."""
    if not command or not command[0]:
        raise SpecError("COMMAND", "want a command after --, such as: exec -- redis-cli ping")
    return Argv(command)


def _split(field: str, text: str, wanted: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise SpecError(field, wanted, value=text.removeprefix("//")) from None
    if not parts.hostname:
        raise SpecError(field, wanted, value=text.removeprefix("//"))
    if port == 0:
        raise SpecError(field, "want a port of 1 to 65535", value=text.removeprefix("//"))
    return parts, port
