"""Who calls. Made where a connection is accepted, asked about where a capability is handed out
(`rules/access.py`), and kept in the events of what they edit.

A new way of knowing somebody, such as a certificate, is a new kind and its row in that table.
"""

from __future__ import annotations

import enum

import msgspec


class PrincipalKind(enum.Enum):
    """How it is known who somebody is."""

    LOCAL = "local"  # a peer of the Unix socket; the kernel says of which uid
    LOOPBACK = "loopback"  # TCP on this machine, with --insecure: it is not known at all
    EMBEDDED = "embedded"  # within the manager's own process


class Principal(msgspec.Struct, frozen=True):
    """Who is at the far side of a connection. `name` is empty and `uid` None where none is known.

    Its text is what events keep. It names the kind, but for a uid of the socket, so that no name
    can pass for another kind's: `uid 1000`, `loopback`, `uid 1000 (embedded)`.
    """

    kind: PrincipalKind
    name: str = ""
    uid: int | None = None

    def __str__(self) -> str:
        who = self.name or ("" if self.uid is None else f"uid {self.uid}")
        if not who:
            return self.kind.value
        is_uid = self.kind is PrincipalKind.LOCAL and not self.name
        return who if is_uid else f"{who} ({self.kind.value})"
