"""A task's life: the table is total, ends, and stops no instance before its probes."""

from __future__ import annotations

import pytest

from warren.rules.lifecycle import TABLE, Effect, Event, State, diagram, step

# What each event means for a state; what is not here leaves the state as it is.
EXPECTED = """
waiting   due           starting  start an instance
waiting   stop          ended     finish
starting  started       running   begin probes
starting  start failed  deciding  decide
starting  blocked       waiting   set the alarm
starting  stop          stopping  abandon the start
running   exited        clearing  end probes, clear the instance
running   probe failed  failing   end probes, stop the instance
running   stop          stopping  end probes, stop the instance
clearing  gone          deciding  decide
clearing  stop          stopping
failing   gone          deciding  decide
failing   stop          stopping
deciding  again         waiting   set the alarm
deciding  give up       ended     finish
deciding  stop          ended     finish
stopping  started       stopping  stop the instance
stopping  start failed  ended     finish
stopping  blocked       ended     finish
stopping  gone          ended     finish
"""


def expected() -> dict[tuple[State, Event], tuple[State, tuple[Effect, ...]]]:
    table = {(state, event): (state, tuple[Effect, ...]()) for state in State for event in Event}
    for row in EXPECTED.strip().splitlines():
        state, event, after = row[:10].strip(), row[10:24].strip(), row[24:34].strip()
        effects = tuple(Effect(word) for word in row[34:].split(", ") if word)
        table[State(state), Event(event)] = (State(after), effects)
    return table


def reachable(start: State) -> set[State]:
    seen, new = {start}, [start]
    while new:
        state = new.pop()
        for event in Event:
            after, _ = step(state, event)
            if after not in seen:
                seen.add(after)
                new.append(after)
    return seen


def test_lifecycle_table_is_total_and_as_written_here() -> None:
    assert expected() == TABLE


@pytest.mark.parametrize("state", State)
def test_lifecycle_every_state_is_reached_and_can_end(state: State) -> None:
    assert state in reachable(State.WAITING)
    assert State.ENDED in reachable(state)


@pytest.mark.parametrize("event", Event)
def test_lifecycle_end_is_final(event: Event) -> None:
    assert step(State.ENDED, event) == (State.ENDED, ())


def test_lifecycle_uses_every_effect_and_every_event() -> None:
    assert {effect for _, effects in TABLE.values() for effect in effects} == set(Effect)
    told = {
        event for (state, event), (after, does) in TABLE.items() if (after, does) != (state, ())
    }
    assert told == set(Event)


def test_lifecycle_finishes_exactly_when_it_ends() -> None:
    for (before, _), (after, effects) in TABLE.items():
        ends = after is State.ENDED and before is not State.ENDED
        assert (Effect.FINISH in effects) is ends


def test_lifecycle_stop_is_heeded_in_every_state() -> None:
    for state in State:
        after, _ = step(state, Event.STOP)
        assert after in (State.STOPPING, State.ENDED)
        assert step(after, Event.STOP) == (after, ())  # S15: stopping twice is harmless


def test_lifecycle_stops_no_instance_that_still_has_probes() -> None:
    # S15: on every way through the table, probes end before the instance is stopped or cleared,
    # begin only where none run, and none are left at a decision or at the end.
    seen = {(State.WAITING, False)}
    new = list(seen)
    while new:
        state, probing = new.pop()
        for event in Event:
            after, effects = step(state, event)
            running = probing
            for effect in effects:
                if effect is Effect.BEGIN_PROBES:
                    assert not running
                    running = True
                elif effect is Effect.END_PROBES:
                    assert running
                    running = False
                else:
                    assert not running, (state, event, effect)
            if (after, running) not in seen:
                seen.add((after, running))
                new.append((after, running))
    assert {state for state, probing in seen if probing} == {State.RUNNING}


def test_lifecycle_is_never_without_a_next_event() -> None:
    # Whatever waits for news has asked for some: nothing but ENDED is a dead end.
    for state in State:
        heeded = [event for event in Event if step(state, event) != (state, ())]
        assert bool(heeded) is (state is not State.ENDED)


def test_lifecycle_diagram_has_an_arrow_for_every_change() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> waiting"]
    assert lines[-1] == "    ended --> [*]"
    assert "    running --> failing: probe failed / end probes, stop the instance" in lines
    assert "    failing --> stopping: stop / nothing more" in lines
    assert len(lines) == 3 + len(EXPECTED.strip().splitlines())
    assert diagram().endswith("\n")
