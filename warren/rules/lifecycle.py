"""A task's life on its node: one literal table, state x event -> state and effects, total.

The shell waits for one event, looks it up here and performs the effects, in order. An effect of
YIELDS may yield the next event, which is then taken before any other. The diagram in
docs/architecture.md is generated from TABLE.
"""

from __future__ import annotations

import enum

from warren.model.task import Phase, TaskRecord


class State(enum.Enum):
    """Where a task stands. WAITING is before its first start, and between two instances."""

    WAITING = "waiting"
    ADOPTING = "adopting"  # the instance that an earlier supervisor has left (S21)
    STARTING = "starting"
    RUNNING = "running"
    CLEARING = "clearing"  # the main process has ended; the rest of its tree goes
    FAILING = "failing"  # a probe has failed; the instance is being stopped
    DECIDING = "deciding"  # restart, or give up
    STOPPING = "stopping"  # the end of the task was asked for
    ENDED = "ended"


class Event(enum.Enum):
    """The events of a task."""

    DUE = "due"
    BLOCKED = "blocked"
    STARTED = "started"
    START_FAILED = "start failed"
    EXITED = "exited"
    PROBE_FAILED = "probe failed"
    GONE = "gone"  # nothing of the instance is left
    AGAIN = "again"
    GIVE_UP = "give up"
    STOP = "stop"


class Effect(enum.Enum):
    """The effects that the shell performs. To record is to publish too."""

    START = "start an instance"
    ABANDON_START = "abandon the start"
    RECORD_RUNNING = "record that it runs"
    BEGIN_PROBES = "begin probes"
    END_PROBES = "end probes"  # unready first, then every check is cancelled (S15)
    TELL_FAILURE = "publish the failure"
    TELL_STOP = "publish the stop"
    STOP_INSTANCE = "stop the instance"  # signal, grace, kill of the tree
    STOP_FAILED = "stop the failed instance"  # the same, with the grace of a failure (S16)
    CLEAR_INSTANCE = "clear the instance"  # kill what is left of the tree
    DECIDE = "decide"  # the restart rule
    RECORD_RESTART = "record the restart"
    AWAIT_RESTART = "wait for its time"
    AWAIT_RETRY = "wait a little"
    RECORD_END = "record the end"  # as the restart rule has decided
    RECORD_STOP = "record the stop"


_S, _E, _F = State, Event, Effect
Step = tuple[State, tuple[Effect, ...]]

YIELDS: dict[Effect, frozenset[Event]] = {
    _F.START: frozenset({_E.BLOCKED}),
    _F.BEGIN_PROBES: frozenset({_E.PROBE_FAILED}),  # before it was adopted
    _F.DECIDE: frozenset({_E.AGAIN, _E.GIVE_UP}),
    _F.AWAIT_RESTART: frozenset({_E.DUE}),
}  # each is the last effect of its row

# An event not named for a state leaves it as it is: it is late, and already being handled.
_NAMED: dict[State, dict[Event, Step]] = {
    _S.WAITING: {
        _E.DUE: (_S.STARTING, (_F.START,)),
        _E.STOP: (_S.ENDED, (_F.RECORD_STOP,)),
    },
    _S.ADOPTING: {
        _E.STARTED: (_S.RUNNING, (_F.RECORD_RUNNING, _F.BEGIN_PROBES)),
        _E.START_FAILED: (_S.DECIDING, (_F.DECIDE,)),
        _E.BLOCKED: (_S.WAITING, (_F.AWAIT_RETRY,)),
        _E.STOP: (_S.STOPPING, (_F.TELL_STOP,)),  # it is adopted, and then stopped
    },
    _S.STARTING: {
        _E.STARTED: (_S.RUNNING, (_F.RECORD_RUNNING, _F.BEGIN_PROBES)),
        _E.START_FAILED: (_S.DECIDING, (_F.DECIDE,)),
        _E.BLOCKED: (_S.WAITING, (_F.AWAIT_RETRY,)),
        _E.STOP: (_S.STOPPING, (_F.TELL_STOP, _F.ABANDON_START)),
    },
    _S.RUNNING: {
        _E.EXITED: (_S.CLEARING, (_F.END_PROBES, _F.CLEAR_INSTANCE)),
        _E.PROBE_FAILED: (_S.FAILING, (_F.END_PROBES, _F.TELL_FAILURE, _F.STOP_FAILED)),
        _E.STOP: (_S.STOPPING, (_F.END_PROBES, _F.TELL_STOP, _F.STOP_INSTANCE)),
    },
    _S.CLEARING: {
        _E.GONE: (_S.DECIDING, (_F.DECIDE,)),
        _E.STOP: (_S.STOPPING, ()),
    },
    _S.FAILING: {
        _E.GONE: (_S.DECIDING, (_F.DECIDE,)),
        _E.STOP: (_S.STOPPING, ()),
    },
    _S.DECIDING: {
        _E.AGAIN: (_S.WAITING, (_F.RECORD_RESTART, _F.AWAIT_RESTART)),
        _E.GIVE_UP: (_S.ENDED, (_F.RECORD_END,)),
        _E.STOP: (_S.ENDED, (_F.RECORD_STOP,)),
    },
    _S.STOPPING: {
        _E.STARTED: (_S.STOPPING, (_F.STOP_INSTANCE,)),  # the stop is published already
        _E.START_FAILED: (_S.ENDED, (_F.RECORD_STOP,)),
        _E.BLOCKED: (_S.ENDED, (_F.RECORD_STOP,)),
        _E.GONE: (_S.ENDED, (_F.RECORD_STOP,)),
    },
    _S.ENDED: {},
}

TABLE: dict[tuple[State, Event], Step] = {
    (state, event): _NAMED[state].get(event, (state, ())) for state in State for event in Event
}

INITIAL = (State.WAITING, State.ADOPTING)  # of a task that has not ended

PHASES: dict[State, Phase] = {
    _S.WAITING: Phase.PENDING,
    _S.ADOPTING: Phase.STARTING,
    _S.STARTING: Phase.PENDING,  # one that is blocked never begins
    _S.RUNNING: Phase.RUNNING,
    _S.CLEARING: Phase.RUNNING,
    _S.FAILING: Phase.RUNNING,
    _S.DECIDING: Phase.STARTING,
    _S.STOPPING: Phase.STOPPING,
    _S.ENDED: Phase.STOPPED,
}  # the earliest in which such a task can be

KEEPS_INSTANCE = frozenset({State.ADOPTING, State.RUNNING})  # where only its probes change


def initial(record: TaskRecord) -> State:
    """Where a task stands whose record is found, or made."""
    if record.phase.is_end:
        return State.ENDED
    return State.WAITING if record.instance is None else State.ADOPTING


def step(state: State, event: Event) -> Step:
    """The state after the event, and the effects to perform."""
    return TABLE[state, event]


def phase_of(state: State, recorded: Phase) -> Phase:
    """The phase to report: a phase only grows, and a recorded end stays."""
    return recorded if recorded.is_end else max(recorded, PHASES[state])


def diagram() -> str:
    """The table as a Mermaid state diagram; what leaves a state as it is has no arrow."""
    lines = ["stateDiagram-v2", *(f"    [*] --> {state.value}" for state in INITIAL)]
    for (state, event), (after, effects) in TABLE.items():
        if (after, effects) != (state, ()):
            doing = ", ".join(effect.value for effect in effects) or "nothing more"
            lines.append(f"    {state.value} --> {after.value}: {event.value} / {doing}")
    lines.append("    ended --> [*]")
    return "\n".join(lines) + "\n"
