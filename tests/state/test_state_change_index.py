"""Whoever has watched from any generation on, asking now and then, has what there is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.planning_kit import node_row, service_row, spec, task_row, tid
from warren.model.cluster import (
    Change,
    DropNode,
    DropService,
    DropTask,
    PutNode,
    PutService,
    PutTask,
)
from warren.model.task import Phase
from warren.model.view import SlotName, WatchWanted
from warren.state.change_index import Changed, ChangeIndex
from warren.state.cluster_state import ClusterState

NAMES = ("web", "db")
ALL = WatchWanted(nodes=True)
Seen = dict[str, dict[object, object]]


class Cluster:
    """A cluster's state with its index."""

    def __init__(self, gone_kept: int = 1000) -> None:
        self.state = ClusterState()
        self.gone_kept = gone_kept
        self.index = ChangeIndex(self.state, gone_kept=gone_kept)

    def commit(self, *changes: Change) -> int:
        """The position after it."""
        self.index.note(self.state.apply(changes, self.state.generation + 1))
        return self.index.last

    def restart(self) -> None:
        self.index = ChangeIndex(self.state, gone_kept=self.gone_kept)

    def now(self, service: str = "") -> Seen:
        """Everything, as it is."""
        names = [service] if service else list(self.state.services)
        return {
            "services": {n: self.state.services[n] for n in names if n in self.state.services},
            "slots": {
                SlotName(service=name, slot=row.id.slot): row
                for name in names
                for row in self.state.current(name)
            },
            "nodes": {**self.state.nodes},
        }


class Reader:
    """A watcher: what it has seen, and up to where."""

    def __init__(self, cluster: Cluster, service: str, most: int | None) -> None:
        self.cluster = cluster
        self.wanted = WatchWanted(service=service, nodes=True)
        self.most = most
        self.seen: Seen = {"services": {}, "slots": {}, "nodes": {}}
        self.position, self.base = -1, -1
        self.has_all = False  # as of its last answer
        self.told = list[object]()  # since the last commit

    def ask(self) -> Changed:
        """Once."""
        index = self.cluster.index
        changed = index.since(self.position, self.wanted, base=self.base, most=self.most)
        if changed is None:
            self.base = index.last
            self.told.clear()
            self.seen = {what: {} for what in self.seen}
            changed = index.since(0, self.wanted, base=self.base, most=self.most)
        assert changed is not None
        self.position, self.has_all = changed.upto, not changed.has_more
        now = self.cluster.now(self.wanted.service)
        names = [*changed.services, *changed.slots, *changed.nodes]
        assert self.most is None or len(names) <= self.most
        self.told += names
        for what, names in (
            ("services", changed.services), ("slots", changed.slots), ("nodes", changed.nodes)
        ):  # fmt: skip
            for name in names:
                self.seen[what].pop(name, None)
                if name in now[what]:
                    self.seen[what][name] = now[what][name]
        return changed

    def ask_all(self) -> None:
        """Until there is no more."""
        while self.ask().has_more:
            pass
        assert len(self.told) == len(set(self.told)), "a thing was told twice, unchanged"


def task(name: str, slot: int, number: int, phase: Phase) -> Change:
    return PutTask(task_row(f"{name}.{slot}#{number}", spec(name), node="n1", phase=phase))


def drop_task(name: str, slot: int, number: int) -> Change:
    return DropTask(tid(f"{name}.{slot}#{number}"))


def service(name: str, replicas: int, revision: int = 1) -> Change:
    return PutService(service_row(spec(name, replicas), revision=revision))


def node(name: str) -> Change:
    return PutNode(node_row(name))


NAME, SLOT, NUMBER = st.sampled_from(NAMES), st.integers(1, 3), st.integers(1, 2)
PHASE = st.sampled_from([Phase.PENDING, Phase.RUNNING, Phase.STOPPED])
NODE = st.sampled_from(["n1", "n2"])
CHANGES: st.SearchStrategy[Change | None] = st.one_of(
    st.builds(service, NAME, st.integers(0, 3), st.integers(1, 3)),
    st.builds(DropService, NAME),
    st.builds(task, NAME, SLOT, NUMBER, PHASE),
    st.builds(drop_task, NAME, SLOT, NUMBER),
    st.builds(node, NODE),
    st.builds(DropNode, NODE),
    st.none(),  # the manager is started again
)


def is_possible(state: ClusterState, change: Change) -> bool:
    """Whether the manager would make it: tasks are of services, and what is dropped was there."""
    match change:
        case PutTask(row):
            return row.id.service in state.services
        case DropTask(task):
            return task in state.tasks
        case DropService(name):
            return name in state.services
        case _:
            return True


@given(
    commits=st.lists(st.tuples(CHANGES, st.integers(0, 3)), min_size=3, max_size=40),
    about=st.sampled_from(["", "web"]),
    gone_kept=st.sampled_from([0, 1, 1000]),
    most=st.sampled_from([1, 2, 5, None]),
)
def test_index_brings_every_watcher_to_what_is(
    commits: Sequence[tuple[Change | None, int]], about: str, gone_kept: int, most: int | None
) -> None:
    """However seldom it asks, in pieces however small while changes go on, and whatever the index
    had to forget."""
    cluster = Cluster(gone_kept)
    for name in NAMES:
        cluster.commit(service(name, 2), task(name, 1, 1, Phase.RUNNING))
    reader = Reader(cluster, about, most)
    for change, asks in commits:
        reader.told.clear()
        if change is None:
            cluster.restart()
            reader.position = -1  # it knows by the run in its cursor
        elif is_possible(cluster.state, change):
            cluster.commit(change)
        for _ in range(asks):
            reader.ask()
            if reader.has_all:
                assert reader.seen == cluster.now(about)
    reader.ask_all()
    assert reader.seen == cluster.now(about)
    assert not reader.ask().any


def test_index_goes_on_in_the_middle_of_a_whole_whatever_it_forgot_before() -> None:
    cluster = Cluster(gone_kept=2)
    cluster.commit(service("old", 1))
    for number in range(9):
        cluster.commit(service(f"s{number}", 1))
        cluster.commit(DropService(f"s{number}"))
    cluster.commit(service("web", 1))
    assert cluster.index.floor > 1  # beyond the place of `old`
    reader = Reader(cluster, "", 1)
    assert reader.ask().services == ["old"]
    assert reader.ask().services == ["web"]  # of what had gone before nothing is told
    assert reader.has_all
    cluster.commit(DropService("old"))
    assert reader.ask().services == ["old"]
    assert set(reader.seen["services"]) == {"web"}


def test_index_names_each_thing_once_and_nothing_that_has_not_changed() -> None:
    cluster = Cluster()
    cluster.commit(service("web", 2), service("db", 1))
    since = cluster.commit(task("db", 1, 1, Phase.RUNNING))
    for number in (1, 2):
        cluster.commit(task("web", 1, number, Phase.RUNNING))
    changed = cluster.index.since(since, ALL)
    assert changed is not None
    assert changed.slots == [SlotName(service="web", slot=1)]
    assert changed.services == []
    only_db = cluster.index.since(since, WatchWanted(service="db", nodes=True))
    assert only_db is not None
    assert not only_db.slots
    said = f"<ChangeIndex from 0 to {cluster.index.last}: 2 services, 2 slots, 0 nodes>"
    assert repr(cluster.index) == said


def test_index_tells_of_the_slots_of_a_changed_spec_and_not_of_a_scaled_one() -> None:
    cluster = Cluster()
    cluster.commit(service("web", 2))
    since = cluster.commit(task("web", 1, 1, Phase.RUNNING), task("web", 2, 1, Phase.RUNNING))
    scaled = cluster.commit(service("web", 3))
    assert [c and c.slots for c in [cluster.index.since(since, ALL)]] == [[]]
    cluster.commit(service("web", 3, 2))
    changed = cluster.index.since(scaled, ALL)
    assert changed is not None
    assert {one.slot for one in changed.slots} == {1, 2}


@pytest.mark.parametrize("position", [-1, 2, 8, 2**62])
def test_index_knows_nothing_of_what_is_to_come(position: int) -> None:
    state = ClusterState()
    state.apply([PutNode(node_row("n1"))], 3)
    index = ChangeIndex(state)
    assert index.since(position, ALL) is None
    assert (index.began, index.started_at) == (1, 3)
    known = index.since(index.began, ALL)
    assert known is not None
    assert not known.any


def test_index_forgets_the_oldest_of_what_is_gone() -> None:
    cluster = Cluster(gone_kept=5)
    for number in range(40):
        name = f"s{number}"
        cluster.commit(service(name, 1))
        cluster.commit(DropService(name))
    assert cluster.index.floor > 50
    assert cluster.index.since(cluster.index.floor - 1, ALL) is None
    changed = cluster.index.since(cluster.index.floor, ALL)
    assert changed is not None
    assert 5 <= len(changed.services) <= 10


def test_index_tells_once_that_a_slot_is_gone() -> None:
    cluster = Cluster()
    cluster.commit(service("web", 2))
    cluster.commit(task("web", 1, 1, Phase.RUNNING), task("web", 2, 1, Phase.RUNNING))
    cluster.commit(service("web", 1))
    since = cluster.commit(task("web", 2, 1, Phase.STOPPED), drop_task("web", 2, 1))
    cluster.commit(service("web", 1, 2))  # concerns every slot there is
    changed = cluster.index.since(since, ALL)
    assert changed is not None
    assert changed.slots == [SlotName(service="web", slot=1)]


def test_index_looks_for_nothing_that_is_not_wanted() -> None:
    cluster = Cluster()
    cluster.commit(service("web", 2), node("n1"))
    changed = cluster.index.since(0, WatchWanted(services=False, tasks=False, nodes=True))
    assert changed is not None
    assert (changed.services, changed.slots, changed.nodes) == ([], [], ["n1"])
