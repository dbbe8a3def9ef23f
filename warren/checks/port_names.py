"""Which port a check asks. An unknown name is refused at submit (S25), so here it is an error."""

from __future__ import annotations

from collections.abc import Mapping


class UnknownPortError(Exception):
    """The target has no such port; `str()` says what it has."""


def port_number(port: int | str | None, ports: Mapping[str, int]) -> int:
    """A port's number: as given, by name, or the only one. Raises UnknownPortError."""
    if isinstance(port, int):
        return port
    if port is None and len(ports) == 1:
        return next(iter(ports.values()))
    if port is not None and port in ports:
        return ports[port]
    names = ", ".join(sorted(ports)) or "none"
    asked = "no port is given" if port is None else f"port {port!r} is unknown"
    raise UnknownPortError(f"{asked}: the task's ports are {names}")
