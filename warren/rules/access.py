"""Who may have which capability: one literal table, principal kind x capability, total.

It is asked where the gate hands a capability out; whoever holds one may do all that it can do.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from warren.model.principal import Principal, PrincipalKind


class Capability(enum.Enum):
    """What the gate hands out, by the name of its method."""

    LOGIN = "login"  # everything
    VIEW = "view"  # to look
    ENROLL = "enroll"  # to be a node


_K, _C = PrincipalKind, Capability
ACCESS: Mapping[tuple[PrincipalKind, Capability], bool] = MappingProxyType(
    {
        (_K.LOCAL, _C.LOGIN): True,
        (_K.LOCAL, _C.VIEW): True,
        (_K.LOCAL, _C.ENROLL): True,
        (_K.LOOPBACK, _C.LOGIN): True,
        (_K.LOOPBACK, _C.VIEW): True,
        (_K.LOOPBACK, _C.ENROLL): True,
        (_K.EMBEDDED, _C.LOGIN): True,
        (_K.EMBEDDED, _C.VIEW): True,
        (_K.EMBEDDED, _C.ENROLL): True,
    }
)


def refusal(principal: Principal, capability: Capability) -> str | None:
    """Why they may not have it, and who may; None if they may."""
    if ACCESS[principal.kind, capability]:
        return None
    may = [kind.value for kind in PrincipalKind if ACCESS[kind, capability]]
    wanted = f"want a principal that is {' or '.join(may)}" if may else "no kind of principal may"
    return f"{capability.value}: {principal} may not have it; {wanted}"
