"""Strategies for every value that crosses the wire, by its type hint."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from tests.model.specs import ends, instances, specs, tasks, walls, words
from warren.model.check_places import CheckPlaces
from warren.model.cluster import Desired, Entry
from warren.model.condition import NodeCondition
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.probe import ProbeKind
from warren.model.report import Assignment, Assignments, NodeHello, Report, Told
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, Phase, TaskStatus
from warren.model.view import (
    Action,
    Applied,
    KeptLogs,
    LogChunk,
    LogPiece,
    LogWanted,
    ManagerStatus,
    NodeView,
    ServiceView,
    TaskDetail,
    TaskView,
)

KNOWN: dict[Any, st.SearchStrategy[Any]] = {
    ServiceSpec: specs(),
    TaskId: tasks,
    End: ends,
    Instance: instances,
    str: words,
    float: walls,
    int: st.integers(0, 10**9),
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
}
VALUES: tuple[type[msgspec.Struct], ...] = (
    ServiceSpec, TaskId, End, Instance, TaskStatus, TaskEvent, Told, Report, NodeHello, Assignments,
    TaskView, ServiceView, TaskDetail, NodeView, NodeCondition, CheckPlaces, Entry, Applied,
    LogChunk, LogWanted, LogPiece, KeptLogs, RuntimeInfo, NodeDescription,
    ManagerStatus,
)  # fmt: skip
_READ_OFF: Mapping[type, tuple[str, ...]] = {
    Report: ("dropped", "last_dropped"),  # said where it was read, and not on the wire
    TaskEvent: ("word",),  # of a kind that is not known alone
    Entry: ("word",),
}
ENUMS = (Desired, EventKind, Phase, Action, ProbeKind)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of this type; every field of a struct is drawn, or None where it may be missing."""
    if hint is type(None):
        return st.none()
    if hint in KNOWN:
        return KNOWN[hint]
    if hint is Assignments:
        return assignments()
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return values(args[0])
    if origin in (types.UnionType, Union):
        return st.one_of(st.none(), *(values(arg) for arg in args if arg is not type(None)))
    if origin is Mapping:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=3)
    if origin is tuple:
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin is not None:
        return st.lists(values(args[0]), max_size=3)
    if issubclass(hint, msgspec.Struct):
        fields = [f for f in msgspec.structs.fields(hint) if f.name not in _READ_OFF.get(hint, ())]
        return st.builds(hint, **{field.name: values(field.type) for field in fields})
    return st.sampled_from(hint)


@st.composite
def assignments(draw: st.DrawFn) -> Assignments:
    """With few specs for many tasks, as they are."""
    some = draw(st.lists(specs(), min_size=1, max_size=2))
    fields = {f.name: values(f.type) for f in msgspec.structs.fields(Assignment)}
    fields["spec"] = st.sampled_from(some)
    held = draw(st.lists(st.builds(Assignment, **fields), max_size=5))
    names = st.lists(words, max_size=3).map(tuple)
    return Assignments(
        generation=draw(st.integers(0, 2**62)),
        base=draw(st.integers(0, 2**62)),
        tasks=tuple(held),
        removed=tuple(draw(st.lists(tasks, max_size=3))),
        services=draw(names),
        purged=draw(names),
        kept=draw(names),
    )
