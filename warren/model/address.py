"""Where a manager listens: `unix:PATH` or `tcp:HOST:PORT`, as values."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from warren.model.errors import SpecError

LONGEST_NAME = 75  # bytes of a socket's file: it must fit in 107 by way of a descriptor
_HOST_PORT = re.compile(
    r"(?:\[(?P<inner>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>\d{1,5})", re.ASCII
)


class UnixAddress(msgspec.Struct, frozen=True):
    """A Unix socket's file."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class TcpAddress(msgspec.Struct, frozen=True):
    """A TCP port; 0 to listen at any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"


Address = UnixAddress | TcpAddress


def parse_address(text: str, *, field: str = "addr") -> Address:
    """Read the written form. Raises SpecError, with `field` for its name."""
    kind, colon, rest = text.partition(":")
    if colon and kind == "unix":
        address = UnixAddress(rest)
    elif colon and kind == "tcp":
        address = _tcp(rest, text, field)
    else:
        raise SpecError(field, "want unix:PATH or tcp:HOST:PORT", value=text)
    check_address(address, field=field)
    return address


def check_address(address: Address, *, field: str = "addr") -> None:
    """Refuse an address at which one cannot, or should not, listen. Raises SpecError."""
    if isinstance(address, TcpAddress):
        if not 0 <= address.port <= 65535:
            raise SpecError(field, "want a port from 1 to 65535", value=str(address))
        if not is_loopback(address.host):
            wanted = "want a host of this machine, such as 127.0.0.1, [::1] or localhost"
            raise SpecError(field, f"{wanted}: nothing protects TCP", value=str(address))
        return
    path = address.path
    if not path or "\0" in path:
        raise SpecError(field, "want a path after unix:, without a NUL", value=str(address))
    if len(path.rpartition("/")[2].encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        wanted = f"want a file name of at most {LONGEST_NAME} bytes"
        raise SpecError(field, wanted, value=str(address))


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its name or number; nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tcp(rest: str, text: str, field: str) -> TcpAddress:
    match = _HOST_PORT.fullmatch(rest)
    if match is None:
        wanted = "want tcp:HOST:PORT such as tcp:127.0.0.1:7300 or tcp:[::1]:7300"
        raise SpecError(field, wanted, value=text)
    return TcpAddress(match["inner"] or match["host"], int(match["port"]))
