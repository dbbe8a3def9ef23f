"""The manager's state comes back as it was, one whole generation at a time, and is kept small."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.specs import specs
from tests.store import staterows
from tests.store.staterows import SPEC, event, places, service_row, task_row
from warren.model.cluster import (
    AddEvent,
    Change,
    DropNode,
    DropService,
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
from warren.model.task import Phase
from warren.store.errors import StaleError
from warren.store.state import EVENT_BYTES, StateStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def store(path: Path) -> Generator[StateStore, None, None]:
    with closing(StateStore.open(path)) as opened:
        yield opened


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as other:
        return other.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


class Model:
    """What a store should hold, in dictionaries."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceRow] = {}
        self.tasks: dict[TaskId, TaskRow] = {}
        self.nodes: dict[str, NodeRow] = {}
        self.events: list[Entry] = []
        self.numbers: dict[str, int] = {}

    def apply(self, change: Change) -> None:
        match change:
            case PutService(row):
                self.services[row.name] = row
            case DropService(name):
                self.services.pop(name, None)
                self.tasks = {k: v for k, v in self.tasks.items() if k.service != name}
            case PutTask(row):
                self.tasks[row.id] = row
                last = self.numbers.get(row.id.service, 0)
                self.numbers[row.id.service] = max(last, row.id.number)
            case DropTask(task):
                self.tasks.pop(task, None)
            case PutNode(row):
                self.nodes[row.name] = row
            case DropNode(name):
                self.nodes.pop(name, None)
            case AddEvent(entry):
                self.events.append(entry)

    def snapshot(self, generation: int) -> Snapshot:
        return Snapshot(
            generation=generation,
            services=tuple(self.services[name] for name in sorted(self.services)),
            tasks=tuple(self.tasks[task] for task in sorted(self.tasks)),
            nodes=tuple(self.nodes[name] for name in sorted(self.nodes)),
        )


@st.composite
def commits(draw: st.DrawFn) -> list[list[Change]]:
    spec = draw(specs())
    change = st.one_of(
        st.builds(PutService, staterows.services | st.just(service_row())),
        st.builds(DropService, places),
        st.builds(PutTask, staterows.task_rows(spec)),
        st.builds(PutTask, staterows.task_rows(spec)),
        st.builds(DropTask, staterows.ids),
        st.builds(PutNode, staterows.nodes),
        st.builds(DropNode, places),
        st.builds(AddEvent, staterows.entries),
    )
    return draw(st.lists(st.lists(change, min_size=1, max_size=6), max_size=5))


@pytest.mark.untraced
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(commits())
def test_state_gives_back_exactly_what_any_changes_have_made(several: list[list[Change]]) -> None:
    model = Model()
    with closing(StateStore.open(None, keep_events_for=2.0**40)) as store:
        for generation, changes in enumerate(several, 1):
            assert store.commit(changes, now=1.0) == generation
            for change in changes:
                model.apply(change)
            assert store.load() == model.snapshot(generation)
            kept = [msgspec.structs.replace(entry, seq=0) for entry in store.events()]
            assert kept == model.events
        for name in ("a", "b", "web", "other"):
            assert store.last_number(name) == model.numbers.get(name, 0)


def test_state_survives_being_closed_and_opened(path: Path) -> None:
    with closing(StateStore.open(path)) as store:
        store.commit([PutService(service_row()), PutTask(task_row()), event()], now=1.0)
        before = store.load()
    with closing(StateStore.open(path)) as store:
        assert store.generation == 1
        assert store.last_seq == 1
        assert store.load() == before


def test_closing_twice_is_harmless(path: Path) -> None:
    store = StateStore.open(path)
    store.close()
    store.close()


def test_spec_is_kept_once_for_all_its_tasks_and_shared(store: StateStore, path: Path) -> None:
    scaled = msgspec.structs.replace(SPEC, replicas=7)
    tasks = [task_row(slot) for slot in range(1, 101)]
    store.commit([*map(PutTask, tasks), PutTask(task_row(101, spec=scaled))], now=1.0)
    assert count(path, "specs") == 1
    *loaded, last = store.load().tasks
    assert {id(task.spec) for task in loaded} == {id(loaded[0].spec)}
    assert last.spec == scaled


def test_spec_goes_with_the_last_task_of_its_revision(store: StateStore, path: Path) -> None:
    other = msgspec.structs.replace(SPEC, user="me")
    store.commit(
        [
            PutTask(task_row(1)),
            PutTask(task_row(2)),
            PutTask(task_row(3, revision=2, spec=other)),
        ],
        now=1.0,
    )
    store.commit([DropTask(TaskId("web", 1, 1))], now=1.0)
    assert count(path, "specs") == 2
    store.commit([DropTask(TaskId("web", 2, 1))], now=1.0)
    assert count(path, "specs") == 1
    assert [task.spec for task in store.load().tasks] == [other]
    store.commit([PutTask(task_row(4))], now=1.0)
    assert [task.spec for task in store.load().tasks] == [other, SPEC]


def test_spec_of_a_commit_that_failed_is_written_with_the_next(store: StateStore) -> None:
    wrong = PutTask(task_row(2, spec=msgspec.structs.replace(SPEC, user="me")))
    with pytest.raises(ValueError, match="its spec is not that of revision 1"):
        store.commit([PutTask(task_row(1)), wrong], now=1.0)
    store.commit([PutTask(task_row(1))], now=1.0)
    assert [task.spec for task in store.load().tasks] == [SPEC]


def test_another_spec_for_the_same_revision_is_a_bug_and_changes_nothing(
    store: StateStore,
) -> None:
    store.commit([PutTask(task_row(1))], now=1.0)
    other = task_row(2, spec=msgspec.structs.replace(SPEC, user="me"))
    with pytest.raises(ValueError, match=r"web\.2#1: its spec is not that of revision 1"):
        store.commit([PutTask(task_row(3)), PutTask(other)], now=1.0)
    assert store.generation == 1
    assert [task.id.slot for task in store.load().tasks] == [1]
    store.commit([PutTask(task_row(3))], now=1.0)


def test_removed_service_leaves_its_events_and_its_last_number(
    store: StateStore, path: Path
) -> None:
    store.commit([PutService(service_row()), PutTask(task_row(1, 9)), event("made")], now=1.0)
    store.commit([event("other", service="db"), DropService("web"), event("removed")], now=1.0)
    assert store.load() == Snapshot(generation=2)
    assert [entry.message for entry in store.events()] == ["made", "other", "removed"]
    assert count(path, "specs") == 0
    assert store.last_number("web") == 9
    assert store.last_number("db") == 0


def test_service_removed_and_made_anew_in_one_commit_has_its_tasks(store: StateStore) -> None:
    new = task_row(2)
    store.commit([PutTask(task_row(1)), DropService("web"), PutTask(new)], now=1.0)
    assert store.load().tasks == (new,)


def test_plan_from_another_generation_is_refused_and_nothing_is_written(store: StateStore) -> None:
    store.commit([PutTask(task_row(1))], based_on=0, now=1.0)
    before = store.statistics()
    for wrong in (0, 2):
        with pytest.raises(StaleError, match=f"made from generation {wrong}; the last is 1"):
            store.commit([PutTask(task_row(2))], based_on=wrong, now=1.0)
    assert store.statistics() == before
    assert store.commit([PutTask(task_row(2))], based_on=1, now=1.0) == 2


def test_no_changes_write_nothing(store: StateStore, path: Path) -> None:  # S24
    store.commit([PutTask(task_row(slot)) for slot in range(1, 1001)], now=1.0)
    log = path.with_name(path.name + "-wal")
    before, bytes_before = store.statistics(), log.read_bytes()
    for _ in range(10):
        assert store.commit([], based_on=1, now=1e9) == 1
        store.load()
        store.events()
    assert store.statistics() == before
    assert log.read_bytes() == bytes_before


def test_one_changed_task_of_a_thousand_writes_two_rows(store: StateStore) -> None:
    store.commit([PutTask(task_row(slot)) for slot in range(1, 1001)], now=1.0)
    before = store.statistics()
    store.commit([PutTask(task_row(1, phase=Phase.STOPPED))], now=1.0)
    after = store.statistics()
    assert after.rows_written - before.rows_written == 2  # the task's, and the generation
    assert after.commits - before.commits == 1


def test_state_is_for_its_owner_alone(store: StateStore, path: Path) -> None:
    store.commit([event()], now=1.0)
    assert {file.stat().st_mode & 0o777 for file in path.parent.glob("state*")} == {0o600}
    assert store.statistics().size > 4096


# Events


def test_events_are_found_by_number_and_by_time(store: StateStore) -> None:
    store.commit([event(str(n), at=10.0 * n) for n in range(1, 8)], now=1.0)
    assert [entry.seq for entry in store.events()] == [1, 2, 3, 4, 5, 6, 7]
    assert [entry.seq for entry in store.events(after=3, since=50.0)] == [5, 6, 7]
    assert [entry.seq for entry in store.events(after=3, limit=2)] == [4, 5]
    assert store.events(after=7) == []


def test_events_end_where_a_message_would_be_full_and_go_on_from_there(store: StateStore) -> None:
    long = EventFacts(changed=("\N{RABBIT}" * 200,) * 100)
    entry = msgspec.structs.replace(event().entry, facts=long)
    store.commit([AddEvent(entry)] * 300, now=1.0)
    seen, answers = list[int](), 0
    while found := store.events(after=seen[-1] if seen else 0):
        seen += [one.seq for one in found]
        answers += 1
        size = sum(len(name.encode()) for one in found if one.facts for name in one.facts.changed)
        assert size <= EVENT_BYTES
    assert seen == [*range(1, 301)]
    assert answers > 1


def test_an_event_that_is_large_alone_is_answered_with_alone(store: StateStore) -> None:
    large = msgspec.structs.replace(event().entry, message="x" * (EVENT_BYTES + 1))
    store.commit([event("1"), AddEvent(large), event("3")], now=1.0)
    assert [entry.seq for entry in store.events()] == [1]
    assert [entry.seq for entry in store.events(after=1)] == [2]
    assert [entry.seq for entry in store.events(after=2)] == [3]


def test_a_kind_that_is_not_to_be_taken_for_one_of_ours_stays_unknown(store: StateStore) -> None:
    entry = msgspec.structs.replace(event().entry, kind=EventKind.UNKNOWN, word="removed")
    store.commit([AddEvent(entry)], now=1.0)
    (found,) = store.events()
    assert (found.kind, found.word) == (EventKind.UNKNOWN, "removed")


def test_events_are_found_by_what_they_are_about(store: StateStore) -> None:
    subjects = [
        ("web", "web"),
        ("web.1#2", "web"),
        ("web-2", "web-2"),
        ("n1", ""),
        ("web.1#3", "web"),
    ]
    entries = [
        Entry(at=1.0, kind=EventKind.CREATED, subject=s, message="", service=of)
        for s, of in subjects
    ]
    store.commit([AddEvent(entry) for entry in entries], now=1.0)
    assert [entry.seq for entry in store.events(about="web")] == [1, 2, 5]
    assert [entry.seq for entry in store.events(about="web.1#2")] == [2]
    assert [entry.seq for entry in store.events(about="n1")] == [4]
    assert store.events(about="we") == []
    assert [entry.seq for entry in store.events(about="web", after=1, limit=1)] == [2]


def test_events_are_kept_up_to_their_number(path: Path) -> None:
    with closing(StateStore.open(path, keep_events=10)) as store:
        for n in range(25):
            store.commit([event(str(n))], now=1.0)
            assert len(store.events()) <= 10
        store.commit([event("many") for _ in range(50)], now=1.0)
        assert [entry.seq for entry in store.events()] == list(range(66, 76))
        assert store.last_seq == 75


def test_events_are_kept_up_to_their_age_whatever_their_order(path: Path) -> None:
    with closing(StateStore.open(path, keep_events_for=100.0)) as store:
        # The first is from a clock that was ahead, and does not keep the others.
        store.commit([event("ahead", at=5000.0), event("old", at=1000.0)], now=1000.0)
        store.commit([event("new", at=1101.0)], now=1101.0)
        assert [entry.message for entry in store.events()] == ["ahead", "new"]


def test_number_of_an_event_is_not_used_again_when_all_are_gone(path: Path) -> None:
    with closing(StateStore.open(path)) as store:
        store.commit([event(), event()], now=1.0)
    with closing(StateStore.open(path, keep_events=0)) as store:
        assert store.last_seq == 2
        store.commit([event()], now=1.0)
        assert store.events() == []
    with closing(StateStore.open(path)) as store:
        store.commit([event()], now=1.0)
        assert [entry.seq for entry in store.events()] == [4]


def test_flapping_service_does_not_fill_the_disk(path: Path) -> None:
    with closing(StateStore.open(path, keep_events=200)) as store:

        def flap(times: int) -> int:
            for n in range(times):
                phase = Phase.RUNNING if n % 2 else Phase.CRASHED
                changes = [PutTask(task_row(phase=phase)), event("x" * 200, at=float(n))]
                store.commit(changes, now=float(n))
            return count_pages(path)

        settled = flap(400)
        assert flap(2000) <= settled + 2  # 2000 events would be a hundred pages and more
        assert store.statistics().size < 6 * 2**20


def count_pages(path: Path) -> int:
    with closing(sqlite3.connect(path)) as other:
        return other.execute("PRAGMA page_count").fetchone()[0]
