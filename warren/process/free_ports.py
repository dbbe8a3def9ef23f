"""Whether a TCP port could be listened on, and which ports the kernel allocates by itself."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ADDRESSES = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))  # noqa: S104  # bound, not open


def is_port_free(port: int) -> bool:
    """Whether a program could listen on the port on any address, of IPv4 and of IPv6.

    Connections in TIME_WAIT do not count: servers bind with SO_REUSEADDR, and so does this test.
    Raises OSError where no socket can be opened for it.
    """
    return all(_can_bind(family, address, port) for family, address in _ADDRESSES)


def may_listen(port: int) -> bool:
    """Whether this process has the right to listen on the port, taken or not: the low ones need
    root or CAP_NET_BIND_SERVICE."""
    return _bind_error(socket.AF_INET, "0.0.0.0", port) != errno.EACCES  # noqa: S104


def lowest_for_all() -> int:
    """The lowest port that needs no privilege to listen on."""
    try:
        return int(_UNPRIVILEGED.read_text())
    except OSError:
        return 1024


def ephemeral_range() -> range:
    """The ports the kernel hands to outgoing connections."""
    try:
        low, high = _RANGE.read_text().split()
    except OSError:
        return range(32768, 61000)
    return range(int(low), int(high) + 1)


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    # The last two: a machine without IPv6.
    return _bind_error(family, address, port) in (0, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def _bind_error(family: socket.AddressFamily, address: str, port: int) -> int:
    """Why the port cannot be bound, as the kernel numbers it; 0: it can."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise
        return error.errno or errno.EINVAL
    return 0
