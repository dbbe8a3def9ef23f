"""A task's life on its node: one literal table, state x event -> state and effects, total.

The shell waits for one event, looks it up here and performs the effects, in order. The diagram in
docs/architecture.md is generated from TABLE.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a task stands. WAITING is before its first start, and between two instances."""

    WAITING = "waiting"
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
    """The effects that the shell performs."""

    START = "start an instance"
    ABANDON_START = "abandon the start"
    BEGIN_PROBES = "begin probes"
    END_PROBES = "end probes"  # unready first, then every check is cancelled (S15)
    STOP_INSTANCE = "stop the instance"  # signal, grace, kill of the tree
    CLEAR_INSTANCE = "clear the instance"  # kill what is left of the tree
    DECIDE = "decide"  # the restart rule: yields AGAIN or GIVE_UP
    SET_ALARM = "set the alarm"  # yields DUE
    FINISH = "finish"


_S, _E, _F = State, Event, Effect
Step = tuple[State, tuple[Effect, ...]]

# An event not named for a state leaves it as it is: it is late, and already being handled.
_NAMED: dict[State, dict[Event, Step]] = {
    _S.WAITING: {
        _E.DUE: (_S.STARTING, (_F.START,)),
        _E.STOP: (_S.ENDED, (_F.FINISH,)),
    },
    _S.STARTING: {
        _E.STARTED: (_S.RUNNING, (_F.BEGIN_PROBES,)),
        _E.START_FAILED: (_S.DECIDING, (_F.DECIDE,)),
        _E.BLOCKED: (_S.WAITING, (_F.SET_ALARM,)),
        _E.STOP: (_S.STOPPING, (_F.ABANDON_START,)),
    },
    _S.RUNNING: {
        _E.EXITED: (_S.CLEARING, (_F.END_PROBES, _F.CLEAR_INSTANCE)),
        _E.PROBE_FAILED: (_S.FAILING, (_F.END_PROBES, _F.STOP_INSTANCE)),
        _E.STOP: (_S.STOPPING, (_F.END_PROBES, _F.STOP_INSTANCE)),
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
        _E.AGAIN: (_S.WAITING, (_F.SET_ALARM,)),
        _E.GIVE_UP: (_S.ENDED, (_F.FINISH,)),
        _E.STOP: (_S.ENDED, (_F.FINISH,)),
    },
    _S.STOPPING: {
        _E.STARTED: (_S.STOPPING, (_F.STOP_INSTANCE,)),
        _E.START_FAILED: (_S.ENDED, (_F.FINISH,)),
        _E.BLOCKED: (_S.ENDED, (_F.FINISH,)),
        _E.GONE: (_S.ENDED, (_F.FINISH,)),
    },
    _S.ENDED: {},
}

TABLE: dict[tuple[State, Event], Step] = {
    (state, event): _NAMED[state].get(event, (state, ())) for state in State for event in Event
}


def step(state: State, event: Event) -> Step:
    """The state after the event, and the effects to perform."""
    return TABLE[state, event]


def diagram() -> str:
    """The table as a Mermaid state diagram; what leaves a state as it is has no arrow."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    for (state, event), (after, effects) in TABLE.items():
        if (after, effects) != (state, ()):
            doing = ", ".join(effect.value for effect in effects) or "nothing more"
            lines.append(f"    {state.value} --> {after.value}: {event.value} / {doing}")
    lines.append("    ended --> [*]")
    return "\n".join(lines) + "\n"
