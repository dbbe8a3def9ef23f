"""Problems of a node or a manager itself, for as long as they last.

Unlike an event it is a state: set, shown by `warren status`, and cleared when it is over.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

CONDITIONS_KEPT = 32  # of one node: further ones are dropped
LONGEST_KIND = 40  # characters
LONGEST_MESSAGE = 300


class NodeCondition(msgspec.Struct, frozen=True):
    """`kind` is a short name for programs, such as `starts wait`; `message` one line for people;
    `since` the wall time it began at."""

    kind: str
    message: str
    since: float


def bounded(told: Iterable[NodeCondition], *, now: float) -> tuple[NodeCondition, ...]:
    """A node's report, cut to what is kept of one: each kind once, none from the future."""
    kept: dict[str, NodeCondition] = {}
    for one in told:
        if len(kept) == CONDITIONS_KEPT:
            break
        cut = NodeCondition(one.kind[:LONGEST_KIND], one.message[:LONGEST_MESSAGE], one.since)
        kept[cut.kind] = msgspec.structs.replace(cut, since=min(cut.since, now))
    return tuple(kept.values())
