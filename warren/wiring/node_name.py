"""This machine's name as a node."""

from __future__ import annotations

import re
import socket

from warren.model.errors import SpecError
from warren.model.identity import NAME_WANTED, is_name

_OTHERS = re.compile(r"[^a-z0-9-]+")


def node_name(given: str | None) -> str:
    """The given name, or the machine's own where it is valid. Raises SpecError."""
    if given is None:
        return _fit(socket.gethostname().partition(".")[0])
    if not is_name(given):
        raise SpecError("--name", NAME_WANTED, value=given)
    return given


def _fit(hostname: str) -> str:
    name = _OTHERS.sub("-", hostname.lower()).strip("-")[:63].rstrip("-")
    return name if is_name(name) else f"node-{name}"[:63].rstrip("-")
