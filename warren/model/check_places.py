"""How the places of a node for checks are taken, as it reports them (S10)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

KINDS_KEPT = 8  # of one node: further ones are dropped
LONGEST_KIND = 40  # characters


class CheckPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """The places for one kind of check, `network` or `exec`: how many there are, how many are
    taken, how many attempts wait for one, and the seconds of the longest wait so far."""

    kind: str
    cap: int
    in_flight: int = 0
    waiting: int = 0
    longest_wait: float = 0.0


def bounded(told: Iterable[CheckPlaces]) -> tuple[CheckPlaces, ...]:
    """A node's report, cut to what is kept of one: each kind once."""
    kept: dict[str, CheckPlaces] = {}
    for one in told:
        if len(kept) == KINDS_KEPT:
            break
        kind = one.kind[:LONGEST_KIND]
        kept[kind] = msgspec.structs.replace(one, kind=kind)
    return tuple(kept.values())
