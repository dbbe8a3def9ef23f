"""The kinds of check: one row each, with all that is known of a kind without asking anything.

Whoever treats one kind otherwise than another looks here. What waits or reads a command line stands
on its own floor in a table with the same names: `checks/run.py` has what asks, and
`cli/options/check_options.py` the option. `tests/test_check_kinds.py` says where a kind is missing.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import msgspec

from warren.model.check import Check, ExecCheck, Headers, HttpCheck, TcpCheck


class Cap(enum.Enum):
    """The places that attempts on a node share (S10)."""

    NETWORK = "network"
    EXEC = "exec"


class CheckKind(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is the field of a probe, of the service file and of the schema's union; `asks` the
    struct there. `example` is what a refusal shows. Of the struct's fields, `secrets` are mappings
    whose values only who may edit is told, and `commands` are run in the task's own context.
    `asks_port` where it is an `AsksPort`. `shown` gets a check, and whether to show secrets."""

    name: str
    asks: type[Check]
    cap: Cap
    example: str
    shown: Callable[[Any, bool], str]
    asks_port: bool = False
    secrets: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


class AsksPort(Protocol):
    """A check of a port: of the instance's own address, or of another host."""

    @property
    def port(self) -> int | str | None:
        """Its number, its name, or None: the only port of the service."""
        ...

    @property
    def host(self) -> str | None: ...


def _show_http(check: HttpCheck, shows_values: bool) -> str:
    lines = check.header_lines() if shows_values else [(name,) for name in check.headers]
    headers = "".join(f", header {': '.join(line)}" for line in lines)
    verified = ", certificate verified" if check.verify else ""
    asked = f"{check.scheme.value} GET {check.path} on {_show_port(check)}"
    return f"{asked}, {check.status}{headers}{verified}"


def _show_tcp(check: TcpCheck, _: bool) -> str:
    return f"tcp {_show_port(check)}"


def _show_exec(check: ExecCheck, _: bool) -> str:
    return f"exec {shlex.join(check.command)}"


def _show_port(check: AsksPort) -> str:
    port = "the only port" if check.port is None else f"port {check.port}"
    return port if check.host is None else f"{port} of {check.host}"


CHECK_KINDS = (
    CheckKind(
        name="http",
        asks=HttpCheck,
        cap=Cap.NETWORK,
        example="{path: /healthz, port: 8080}",
        shown=_show_http,
        asks_port=True,
        secrets=("headers",),
    ),
    CheckKind(
        name="tcp",
        asks=TcpCheck,
        cap=Cap.NETWORK,
        example="{port: 5432}",
        shown=_show_tcp,
        asks_port=True,
    ),
    CheckKind(
        name="exec",
        asks=ExecCheck,
        cap=Cap.EXEC,
        example="{command: pg_isready -U postgres}",
        shown=_show_exec,
        commands=("command",),
    ),
)
NAMES = tuple(kind.name for kind in CHECK_KINDS)
_BY_STRUCT = {kind.asks: kind for kind in CHECK_KINDS}


def kind_of(check: Check) -> CheckKind:
    """The row of a check's kind."""
    return _BY_STRUCT[type(check)]


def asked_port(check: Check) -> AsksPort | None:
    """The check, where it asks a port."""
    return cast("AsksPort", check) if kind_of(check).asks_port else None


def secrets_of(check: Check) -> Mapping[str, Headers]:
    """The fields of a check whose values may be secret, by their names."""
    return {name: getattr(check, name) for name in kind_of(check).secrets}
