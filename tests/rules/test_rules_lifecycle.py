"""A task's life: the table is total, ends, and stops no instance before its probes."""

from __future__ import annotations

import pytest

from warren.model.check import Argv
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.model.task import Instance, Phase, TaskRecord
from warren.rules.lifecycle import (
    INITIAL,
    KEEPS_INSTANCE,
    PHASES,
    TABLE,
    YIELDS,
    Effect,
    Event,
    State,
    diagram,
    initial,
    phase_of,
    step,
)

# What each event means for a state; what is not here leaves the state as it is.
EXPECTED = """
waiting   due           starting  start an instance
waiting   stop          ended     record the stop
adopting  started       running   record that it runs, begin probes
adopting  start failed  deciding  decide
adopting  blocked       waiting   wait a little
adopting  stop          stopping  publish the stop
starting  started       running   record that it runs, begin probes
starting  start failed  deciding  decide
starting  blocked       waiting   wait a little
starting  stop          stopping  publish the stop, abandon the start
running   exited        clearing  end probes, clear the instance
running   probe failed  failing   end probes, publish the failure, stop the failed instance
running   stop          stopping  end probes, publish the stop, stop the instance
clearing  gone          deciding  decide
clearing  stop          stopping
failing   gone          deciding  decide
failing   stop          stopping
deciding  again         waiting   record the restart, wait for its time
deciding  give up       ended     record the end
deciding  stop          ended     record the stop
stopping  started       stopping  stop the instance
stopping  start failed  ended     record the stop
stopping  blocked       ended     record the stop
stopping  gone          ended     record the stop
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
    assert any(state in reachable(start) for start in INITIAL)
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


def test_lifecycle_records_one_end_exactly_when_it_ends() -> None:
    for (before, event), (after, effects) in TABLE.items():
        ends = after is State.ENDED and before is not State.ENDED
        recorded = [each for each in effects if each in (Effect.RECORD_END, Effect.RECORD_STOP)]
        assert len(recorded) == ends
        if ends:  # the restart rule's end, or the one that was asked for
            assert recorded == [Effect.RECORD_END if event is Event.GIVE_UP else Effect.RECORD_STOP]


def test_lifecycle_effect_that_yields_an_event_is_the_last_and_its_event_is_heeded() -> None:
    # Else an event would be lost, or effects of two rows be performed in one another.
    for after, effects in TABLE.values():
        assert not [effect for effect in effects[:-1] if effect in YIELDS]
        for event in YIELDS.get(effects[-1], ()) if effects else ():
            assert step(after, event) != (after, ())


def test_lifecycle_events_that_effects_yield_come_to_an_end() -> None:
    def at_once(state: State, event: Event, *before: tuple[State, Event]) -> None:
        assert (state, event) not in before
        after, effects = step(state, event)
        for following in YIELDS.get(effects[-1], ()) if effects else ():
            at_once(after, following, *before, (state, event))

    for state, event in TABLE:
        at_once(state, event)


def test_lifecycle_stops_an_instance_by_one_effect_and_gives_up_no_adoption() -> None:
    for (before, event), (_, effects) in TABLE.items():
        stops = [e for e in effects if e in (Effect.STOP_INSTANCE, Effect.STOP_FAILED)]
        assert len(stops) <= 1
        assert (Effect.STOP_FAILED in effects) is (Effect.TELL_FAILURE in effects)  # S16
        assert Effect.ABANDON_START not in effects or (before, event) == (
            State.STARTING,
            Event.STOP,
        )


def test_lifecycle_publishes_a_stop_once_and_before_its_instance_is_stopped() -> None:
    seen = {(state, 0, False) for state in INITIAL}  # with how often it was told, and if it runs
    new = list(seen)
    while new:
        state, told, runs = new.pop()
        for event in set(Event) - ({Event.STARTED} if runs else {Event.EXITED, Event.GONE}):
            after, effects = step(state, event)
            if (after, effects) == (state, ()):
                continue
            now = told + effects.count(Effect.TELL_STOP)
            assert now <= 1
            assert now == 1 or Effect.STOP_INSTANCE not in effects
            found = after, now, event is Event.STARTED or (runs and event is not Event.GONE)
            if found not in seen:
                seen.add(found)
                new.append(found)


def test_lifecycle_stop_is_heeded_in_every_state() -> None:
    for state in State:
        after, _ = step(state, Event.STOP)
        assert after in (State.STOPPING, State.ENDED)
        assert step(after, Event.STOP) == (after, ())  # S15: stopping twice is harmless


def test_lifecycle_stops_no_instance_that_still_has_probes() -> None:
    # S15: on every way through the table, probes end before the instance is stopped or cleared,
    # begin only where none run, and none are left at a decision or at the end.
    seen = {(state, False) for state in INITIAL}
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
    assert lines[:3] == ["stateDiagram-v2", "    [*] --> waiting", "    [*] --> adopting"]
    assert lines[-1] == "    ended --> [*]"
    stop = "end probes, publish the stop, stop the instance"
    assert f"    running --> stopping: stop / {stop}" in lines
    assert "    failing --> stopping: stop / nothing more" in lines
    assert len(lines) == 4 + len(EXPECTED.strip().splitlines())
    assert diagram().endswith("\n")


# What is reported, and kept


def recorded(phase: Phase, *, has_instance: bool = False) -> TaskRecord:
    task = TaskId("web", 1, 1)
    instance = Instance(id="web.1-1.1-x", task=task, started_at=0.0) if has_instance else None
    return TaskRecord(
        id=task, spec=ServiceSpec(name="web", command=Argv(["x"])), phase=phase, instance=instance
    )


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.UNKNOWN])
@pytest.mark.parametrize("has_instance", [True, False])
def test_task_that_is_found_stands_where_its_record_says(phase: Phase, has_instance: bool) -> None:
    state = initial(recorded(phase, has_instance=has_instance))
    if phase.is_end:
        assert state is State.ENDED
    else:
        assert state is (State.ADOPTING if has_instance else State.WAITING)
        assert state in INITIAL


def test_phase_is_known_of_every_state() -> None:
    assert set(PHASES) == set(State)


@pytest.mark.parametrize(
    ("state", "phase", "told"),
    [
        (State.WAITING, Phase.ASSIGNED, Phase.ASSIGNED),
        (State.WAITING, Phase.RUNNING, Phase.RUNNING),  # between two instances
        (State.STARTING, Phase.ASSIGNED, Phase.ASSIGNED),  # its port may be taken
        (State.STARTING, Phase.STARTING, Phase.STARTING),
        (State.ADOPTING, Phase.STARTING, Phase.STARTING),
        (State.RUNNING, Phase.RUNNING, Phase.RUNNING),
        (State.STOPPING, Phase.PENDING, Phase.STOPPING),
        (State.STOPPING, Phase.RUNNING, Phase.STOPPING),
        (State.ENDED, Phase.RUNNING, Phase.STOPPED),
        (State.ENDED, Phase.COMPLETE, Phase.COMPLETE),
        (State.ENDED, Phase.FAILED, Phase.FAILED),
        (State.ENDED, Phase.CRASHED, Phase.CRASHED),
    ],
)
def test_phase_that_is_told_follows_from_state_and_record(
    state: State, phase: Phase, told: Phase
) -> None:
    assert phase_of(state, phase) is told


def following(state: State, phase: Phase, event: Event) -> set[tuple[State, Phase]]:
    """The states after an event, with the phases that are recorded by then."""
    after, effects = step(state, event)
    if Effect.START in effects:  # one that is blocked records nothing
        return {(after, max(phase, Phase.STARTING)), *following(after, phase, Event.BLOCKED)}
    if Effect.RECORD_RUNNING in effects:
        return {(after, Phase.RUNNING)}
    if Effect.RECORD_END in effects:
        return {(after, Phase.COMPLETE), (after, Phase.FAILED)}
    return {(after, phase)}


def test_phase_that_is_told_grows_on_every_way_through_the_table() -> None:
    seen = {(State.WAITING, Phase.PENDING), (State.ADOPTING, Phase.STARTING)}
    new = list(seen)
    while new:
        one = new.pop()
        for event in Event:
            for other in following(*one, event):
                assert phase_of(*other) >= phase_of(*one), (one, event)
                if other not in seen:
                    seen.add(other)
                    new.append(other)
    ends = {phase_of(*each) for each in seen if each[0] is State.ENDED}
    assert ends == {Phase.COMPLETE, Phase.FAILED, Phase.STOPPED}


def test_instance_is_kept_where_one_runs_or_is_found_and_not_where_one_is_launched() -> None:
    assert {State.ADOPTING, State.RUNNING} == KEEPS_INSTANCE
