"""What happens to services, tasks and nodes: the kinds of event, and what each tells as data.

A message is for people alone: what a program needs of an event is its kind, its reason and its
facts, and no code reads a message.
"""

from __future__ import annotations

import enum

import msgspec

from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.task import MemoryKill, Phase, Reason


class EventKind(enum.Enum):
    """What happened. The value is its word: in JSON, in the store, and on the wire beside the
    enumerant. UNKNOWN is what only a later version knows: it is kept and shown with that version's
    word, and changes nothing."""

    # Of a task, from its node; `ready` also of a node that is back.
    PENDING = "pending"
    STARTED = "started"
    ADOPTED = "adopted"
    READY = "ready"
    UNREADY = "unready"
    PROBE_WARNING = "probe warning"
    PROBE_FAILED = "probe failed"
    STOPPING = "stopping"
    ENDED = "ended"
    RESTARTING = "restarting"
    FINISHED = "finished"
    PROBES_CHANGED = "probes changed"
    UNKNOWN = "unknown"
    # Of a task, from the manager.
    PLACED = "placed"
    REPLACED = "replaced"
    # Of a service, by an edit; `removed` also of a node.
    CREATED = "created"
    UPDATED = "updated"
    SCALED = "scaled"
    RESTARTED = "restarted"
    REMOVING = "removing"
    REMOVED = "removed"
    # Of a node.
    JOINED = "joined"
    LOST = "lost"
    STOPPED = "stopped"


class EventFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an event tells beside its subject. A field is absent where it does not apply, and where
    the event is of an earlier version.

    `node` is where it happened. `probes` are what failed, or what is still to be proved. `reason`,
    `exit_code` and `signal` say how an instance ended: the task's last one, or that of the task
    that is replaced; `phase` is the end of either task. `restarts` counts the task's, this one
    included; `restart_in` is in how many seconds it, or its successor, starts. `replaces` is the
    task that had the slot before. `changed` names the fields of the spec that an edit has changed;
    `replicas` are wanted, and `replicas_before` were, where an edit has changed that. `memory` is
    what the kernel has killed, where the instance ran out of memory.
    """

    node: str | None = None
    pid: int | None = None
    probes: tuple[ProbeKind, ...] = ()
    reason: Reason | None = None
    exit_code: int | None = None
    signal: str | None = None
    phase: Phase | None = None
    restarts: int | None = None
    restart_in: float | None = None
    replaces: TaskId | None = None
    changed: tuple[str, ...] = ()
    replicas: int | None = None
    replicas_before: int | None = None
    memory: MemoryKill | None = None


NO_FACTS = EventFacts()


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One transition of a task. `at` is wall time; `message` is one line for people, `reason` a
    short word for programs: why something ended or is about to, or is not ready; else empty.
    `word` is the kind's, where this version does not know it."""

    at: float
    task: TaskId
    kind: EventKind
    message: str
    reason: str = ""
    facts: EventFacts | None = None
    word: str = ""


def kind_named(word: str) -> tuple[EventKind, str]:
    """The kind of a word; and the word, where it is of none that is known here, or of one that is
    not to be taken for that (`unknown removed`)."""
    claimed = word.removeprefix(_NOT_TAKEN)
    if claimed != word and claimed in _BY_WORD:
        return EventKind.UNKNOWN, claimed
    kind = _BY_WORD.get(word, EventKind.UNKNOWN)
    return kind, word if kind is EventKind.UNKNOWN and word != kind.value else ""


def word_of(kind: EventKind, word: str) -> str:
    """The word of an event's kind, a later version's too."""
    return f"{_NOT_TAKEN}{word}" if word in _BY_WORD else word or kind.value


_NOT_TAKEN = f"{EventKind.UNKNOWN.value} "
_BY_WORD = {kind.value: kind for kind in EventKind}
