"""Rows and changes for the tests of the manager's state: plain ones, drawn ones, and a writer whose
state is known at every generation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from hypothesis import strategies as st

from tests.model.specs import ends, instances, names, specs, tasks, walls, words
from warren.model.check import Argv, Outcome, Result, Sample
from warren.model.cluster import (
    AddEvent,
    Change,
    Desired,
    DropTask,
    Entry,
    NodeRow,
    PutNode,
    PutService,
    PutTask,
    ServiceRow,
    Snapshot,
    TaskRow,
)
from warren.model.event import EventFacts, EventKind
from warren.model.identity import TaskId
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.model.task import MOST_COUNTED, Phase, ProbeStatus, Reason, TaskStatus
from warren.store.state import StateStore

SPEC = ServiceSpec(name="web", command=Argv(["web"]), env={"A": "b"}, ports={"http": 0})
_KEPT = 5  # tasks of the numbered writer


def service_row(
    spec: ServiceSpec = SPEC, *, version: int = 1, is_removing: bool = False
) -> ServiceRow:
    return ServiceRow(
        spec=spec,
        version=version,
        revision=1,
        created_at=1.0,
        updated_at=2.0,
        is_removing=is_removing,
    )


def task_row(
    slot: int = 1,
    number: int = 1,
    *,
    service: str = "web",
    spec: ServiceSpec = SPEC,
    revision: int = 1,
    phase: Phase = Phase.RUNNING,
) -> TaskRow:
    task = TaskId(service, slot, number)
    status = TaskStatus(id=task, phase=phase)
    return TaskRow(id=task, revision=revision, spec=spec, status=status, created_at=1.0, node="n")


def event(message: str = "said", *, service: str = "web", at: float = 1.0) -> AddEvent:
    return AddEvent(
        Entry(at=at, kind=EventKind.CREATED, subject=service, message=message, service=service)
    )


# A writer that can be killed: what it has done by generation g is known from g alone.


def numbered(generation: int) -> Sequence[Change]:
    """What the writer commits as this generation."""
    gone = generation - _KEPT
    return [
        PutService(service_row(version=generation)),
        *([DropTask(TaskId("web", 1, gone))] if gone > 0 else []),
        PutTask(task_row(1, generation, revision=generation)),
        PutNode(NodeRow(name="n", id="i", epoch=generation, joined_at=1.0)),
        event(str(generation)),
    ]


def numbered_state(generation: int) -> Snapshot:
    """What there is after the writer has committed this generation."""
    if generation == 0:
        return Snapshot()
    first = max(1, generation - _KEPT + 1)
    return Snapshot(
        generation=generation,
        services=(service_row(version=generation),),
        tasks=tuple(task_row(1, n, revision=n) for n in range(first, generation + 1)),
        nodes=(NodeRow(name="n", id="i", epoch=generation, joined_at=1.0),),
    )


def assert_numbered(store: StateStore, *, at_least: int) -> None:
    """The store holds the whole of some generation, and that is not older than `at_least`."""
    snapshot = store.load()
    assert snapshot.generation in (at_least, at_least + 1)
    assert snapshot == numbered_state(snapshot.generation)
    told = [entry.message for entry in store.events(limit=10**9)]
    assert told == [str(n) for n in range(1, snapshot.generation + 1)]


def program(body: str, path: Path) -> list[str]:
    """A Python program with `store` open at `path`, and what this module has."""
    opening = f"import sys; sys.path[:0] = {sys.path!r}; from tests.store.staterows import *"
    return [
        sys.executable,
        "-c",
        f"{opening}\nstore = StateStore.open(Path({str(path)!r}))\n{body}",
    ]


WRITER = """
while True:
    print(store.commit(numbered(store.generation + 1), now=1.0), flush=True)
"""

# Anything there may be. Few names, so that rows meet.

places = st.sampled_from(["a", "b", "web"])
ids = st.builds(TaskId, places, st.integers(1, 3), st.integers(1, 3))
counts = st.integers(0, 2**53)
failures = st.integers(0, MOST_COUNTED)  # or restarts: what is added up
_maybe_wall = st.none() | walls
samples = st.builds(Sample, walls, st.builds(Outcome, st.sampled_from(Result), words, walls))
probe_statuses = st.builds(
    ProbeStatus,
    verdict=st.sampled_from(Verdict),
    consecutive_failures=counts,
    consecutive_successes=counts,
    warning=st.none() | words,
    last=st.none() | samples,
)
statuses = st.builds(
    TaskStatus,
    id=tasks,
    phase=st.sampled_from(Phase),
    sequence=counts,
    ready=st.booleans(),
    restarts=failures,
    failed_before=failures,
    instance=st.none() | instances,
    last_end=st.none() | ends,
    pending_reason=st.none() | words,
    restart_at=_maybe_wall,
    probes=st.dictionaries(st.sampled_from(ProbeKind), probe_statuses),
)
services = st.builds(
    ServiceRow,
    spec=specs(),
    version=counts,
    revision=counts,
    created_at=walls,
    updated_at=walls,
    is_removing=st.booleans(),
    first_number=counts,
    restarts_asked=counts,
)
nodes = st.builds(
    NodeRow,
    name=places | words,
    id=words,
    epoch=counts,
    joined_at=walls,
    lost_at=_maybe_wall,
    warren=words,
    has_stopped=st.booleans(),
    description=st.builds(
        NodeDescription,
        runtimes=st.lists(
            st.builds(RuntimeInfo, name=words, features=st.lists(words, max_size=2).map(tuple)),
            max_size=2,
        ).map(tuple),
        labels=st.dictionaries(words, words, max_size=2),
        address=words,
        memory=counts,
    ),
)
facts = st.builds(
    EventFacts,
    node=st.none() | words,
    pid=st.none() | st.integers(0, 2**31 - 1),
    probes=st.lists(st.sampled_from(ProbeKind), max_size=3).map(tuple),
    reason=st.none() | st.sampled_from(Reason),
    exit_code=st.none() | st.integers(-256, 256),
    signal=st.none() | words,
    phase=st.none() | st.sampled_from(Phase),
    restarts=st.none() | failures,
    restart_in=st.none() | st.floats(0, 1e10),
    replaces=st.none() | tasks,
    changed=st.lists(words, max_size=3).map(tuple),
    replicas=st.none() | failures,
    replicas_before=st.none() | failures,
)
entries = st.builds(
    Entry,
    at=walls,
    kind=st.sampled_from(EventKind),
    subject=words,
    message=words,
    reason=words,
    service=places,
    by=words,
    facts=st.none() | facts,
)


@st.composite
def task_rows(draw: st.DrawFn, of: ServiceSpec) -> TaskRow:
    """A task of this spec, or of it scaled; its revision is the spec's alone."""
    task = draw(ids)
    revision = sum(task.service.encode()) + task.number % 2  # a few of each service
    return TaskRow(
        id=task,
        revision=revision,
        spec=msgspec.structs.replace(of, replicas=draw(st.integers(0, 10_000))),
        status=draw(statuses),
        created_at=draw(walls),
        node=draw(st.none() | names),
        desired=draw(st.sampled_from(Desired)),
        stop_reason=draw(words),
        not_before=draw(_maybe_wall),
        failed_before=draw(counts),
        restarts_before=draw(counts),
        restarts_asked=draw(counts),
        epoch=draw(counts),
    )
