"""What is kept of an event's facts, and of what a node tells: no more than every reader takes.

`bounds.py` refuses a message with more, and with one event its whole answer would fail.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from warren.model.event import NO_FACTS, EventFacts, EventKind, TaskEvent, word_of
from warren.model.identity import TaskId
from warren.model.node_description import MOST_MEMORY
from warren.model.task import MOST_COUNTED, MemoryKill

N = TypeVar("N", int, float)

LONGEST_MESSAGE = 4000  # characters, of an event that a node tells
LONGEST_REASON = 255
LONGEST_WORD = 63  # or signal
LONGEST_VALUE = 1000  # characters of a fact that is a text: what a peer receives
LONGEST_NAME = 200  # of what an edit has changed: one that is longer is told by its field
NAMES_KEPT = 100  # of those; an edit tells fewer
PROBES_KEPT = 16
MOST_PID = 2**31 - 1
MOST_SECONDS = 1e10

OF_NODES = frozenset(
    {
        EventKind.PENDING,
        EventKind.STARTED,
        EventKind.ADOPTED,
        EventKind.READY,
        EventKind.UNREADY,
        EventKind.PROBE_WARNING,
        EventKind.PROBE_FAILED,
        EventKind.STOPPING,
        EventKind.ENDED,
        EventKind.RESTARTING,
        EventKind.FINISHED,
        EventKind.PROBES_CHANGED,
        EventKind.UNKNOWN,
    }
)
"""The kinds that a node may tell. All others are the manager's own."""


def told_by_node(event: TaskEvent) -> TaskEvent:
    """A node's event, cut to what is kept of one. A kind of the manager's is none from a node, and
    so are the facts of an edit and of a replacement."""
    kind, word = event.kind, event.word[:LONGEST_WORD]
    if kind not in OF_NODES:
        kind, word = EventKind.UNKNOWN, word_of(kind, "")
    told = event.facts or NO_FACTS
    facts = msgspec.structs.replace(
        told,
        signal=None if told.signal is None else told.signal[:LONGEST_WORD],
        replaces=None,
        changed=(),
        replicas=None,
        replicas_before=None,
    )
    return msgspec.structs.replace(
        event,
        kind=kind,
        word=word,
        message=event.message[:LONGEST_MESSAGE],
        reason=event.reason[:LONGEST_REASON],
        facts=bounded(facts),
    )


def bounded(facts: EventFacts) -> EventFacts:
    """Facts, cut to what is kept of them: a number that cannot be is left out."""
    return EventFacts(
        node=_text(facts.node),
        pid=_within(facts.pid, 0, MOST_PID),
        probes=facts.probes[:PROBES_KEPT],
        reason=facts.reason,
        exit_code=_within(facts.exit_code, -(2**31), 2**31 - 1),
        signal=_text(facts.signal),
        phase=facts.phase,
        restarts=_within(facts.restarts, 0, MOST_COUNTED),
        restart_in=_within(facts.restart_in, 0.0, MOST_SECONDS),
        replaces=facts.replaces if facts.replaces and _is_task(facts.replaces) else None,
        changed=tuple(name[:LONGEST_VALUE] for name in facts.changed[:NAMES_KEPT]),
        replicas=_within(facts.replicas, 0, MOST_COUNTED),
        replicas_before=_within(facts.replicas_before, 0, MOST_COUNTED),
        memory=facts.memory and _memory(facts.memory),
    )


def _memory(kill: MemoryKill) -> MemoryKill | None:
    killed = _within(kill.killed, 0, MOST_COUNTED)
    if killed is None:
        return None
    limit, peak = (_within(size, 0, MOST_MEMORY) for size in (kill.limit_bytes, kill.peak_bytes))
    return MemoryKill(killed=killed, limit_bytes=limit, peak_bytes=peak)


def _text(text: str | None) -> str | None:
    return None if text is None else text[:LONGEST_VALUE]


def _within(value: N | None, low: N, high: N) -> N | None:
    return value if value is not None and low <= value <= high else None  # no NaN either


def _is_task(task: TaskId) -> bool:
    try:
        return TaskId.parse(str(task)) == task
    except ValueError:
        return False
