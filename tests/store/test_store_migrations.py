"""A file is of the old version or of the new one, whatever happens on the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.store.staterows import SPEC, numbered, numbered_state, task_row
from warren.model.cluster import AddEvent, Entry
from warren.model.event import EventKind
from warren.model.node_description import UNDESCRIBED
from warren.state.slot_index import is_as_wanted
from warren.store import state
from warren.store.database import Schema, open_database
from warren.store.errors import StoreError
from warren.store.journal import SqliteJournal, known_manager
from warren.store.journaltables import JOURNAL
from warren.store.rows import json_of
from warren.store.schema import STATE
from warren.store.state import StateStore

OWN = STATE.version
_SECOND = (
    "ALTER TABLE nodes ADD COLUMN zone TEXT NOT NULL DEFAULT 'here'",
    "CREATE INDEX nodes_by_zone ON nodes (zone)",
    "UPDATE nodes SET warren = 'migrated'",
)


SPEC_TEXT = json_of(SPEC)
OLD_MESSAGES = (
    (EventKind.PENDING, "n1: it is down"),
    (EventKind.PENDING, "pending: no port"),
    (EventKind.PROBES_CHANGED, "web.1#1 goes on by other probes: the spec has changed"),
    (EventKind.PROBES_CHANGED, "probes changed: proved"),
)


def newer(*migrations: tuple[str, ...]) -> Schema:
    return msgspec.structs.replace(STATE, migrations=(*STATE.migrations, *migrations))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file of this version, with rows."""
    path = tmp_path / "state.sqlite"
    with closing(StateStore.open(path)) as store:
        store.commit(numbered(1), now=1.0)
    return path


@contextmanager
def opened(path: Path, schema: Schema) -> Generator[sqlite3.Connection, None, None]:
    with closing(open_database(path, schema, synchronous="FULL")) as db:
        yield db


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def schema_of(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()


def test_next_version_is_one_entry_in_the_list(path: Path) -> None:
    with opened(path, newer(_SECOND)) as db:
        assert db.execute("SELECT zone, warren FROM nodes").fetchall() == [("here", "migrated")]
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert version(path) == OWN + 1


def test_all_that_are_missing_run_in_order(path: Path) -> None:
    third = ("UPDATE nodes SET zone = zone || ' and there'",)
    with opened(path, newer(_SECOND, third)) as db:
        assert db.execute("SELECT zone FROM nodes").fetchall() == [("here and there",)]
    assert version(path) == OWN + 2


def test_new_file_and_migrated_file_are_of_one_shape(path: Path, tmp_path: Path) -> None:
    with opened(path, newer(_SECOND)), opened(tmp_path / "new.sqlite", newer(_SECOND)):
        assert schema_of(path) == schema_of(tmp_path / "new.sqlite")


@pytest.mark.parametrize("done", range(4))
def test_migration_that_fails_leaves_the_old_version(path: Path, done: int) -> None:
    before = schema_of(path)
    broken = newer(("CREATE TABLE third (a)",), (*_SECOND[:done], "UPDATE nowhere SET a = 1"))
    with pytest.raises(StoreError, match="no such table: nowhere"), opened(path, broken):
        pass
    assert version(path) == OWN
    assert schema_of(path) == before
    with closing(StateStore.open(path)) as store:
        assert store.load() == numbered_state(1)


def test_migration_that_leaves_a_reference_to_nothing_is_undone(path: Path) -> None:
    careless = newer(("DELETE FROM specs",))
    with (
        pytest.raises(StoreError, match="a row of tasks refers to no row of specs"),
        opened(path, careless),
    ):
        pass
    with closing(StateStore.open(path)) as store:
        assert store.load() == numbered_state(1)


def test_migration_does_not_fire_on_a_table_made_anew(path: Path) -> None:
    # Foreign keys are off meanwhile: dropping a parent would else delete or refuse.
    rebuild = (
        "CREATE TABLE specs2 (service TEXT NOT NULL, revision INTEGER NOT NULL, spec TEXT NOT"
        " NULL, PRIMARY KEY (service, revision)) STRICT",
        "INSERT INTO specs2 SELECT * FROM specs",
        "DROP TABLE specs",
        "ALTER TABLE specs2 RENAME TO specs",
    )
    with opened(path, newer(rebuild)) as db:
        assert db.execute("SELECT count(*) FROM tasks, specs").fetchone() == (1,)


def test_newer_version_is_refused_and_left_alone(path: Path) -> None:
    with opened(path, newer(_SECOND)):
        pass
    said = f"is of version {OWN + 1}; this Warren knows up to {OWN}"
    with pytest.raises(StoreError, match=said):
        StateStore.open(path)
    assert version(path) == OWN + 1


def test_file_of_another_schema_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is another program's database"), opened(path, JOURNAL):
        pass
    journal = tmp_path / "journal.sqlite"
    with opened(journal, JOURNAL), pytest.raises(StoreError, match="is another program's"):
        StateStore.open(journal)


def test_store_opens_with_the_version_it_is_made_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "STATE", newer(_SECOND[:2]))
    with closing(StateStore.open(path)) as store:
        assert store.load() == numbered_state(1)
        store.commit(numbered(2), now=1.0)
    assert version(path) == OWN + 1


def test_store_of_before_managers_had_ids_gets_one_and_keeps_it(tmp_path: Path) -> None:
    path, other = tmp_path / "old.sqlite", tmp_path / "other.sqlite"
    for each in (path, other):
        first = msgspec.structs.replace(STATE, migrations=STATE.migrations[:1])
        with opened(each, first) as db:
            db.execute("UPDATE meta SET generation = 7")
    found = list[str]()
    for each in (path, path, other):
        with closing(StateStore.open(each)) as store:
            assert store.generation == 7
            found.append(store.manager_id)
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 32


def test_journal_of_before_is_of_no_manager_yet_and_keeps_its_node(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with opened(path, msgspec.structs.replace(JOURNAL, migrations=JOURNAL.migrations[:2])) as db:
        db.execute("INSERT INTO node VALUES (1, 'abc')")
    assert known_manager(path) == ""
    with closing(SqliteJournal(path)) as journal:
        assert (journal.node_id(), journal.manager_id()) == ("abc", "")
        journal.note_manager("m1")
    assert known_manager(path) == "m1"
    with closing(SqliteJournal(path)) as journal:
        assert (journal.node_id(), journal.manager_id()) == ("abc", "m1")


WITH_FACTS = 7  # from this version on messages are as they are now


@pytest.mark.parametrize("version_before", range(1, OWN))
def test_rows_of_an_older_version_are_read_and_what_was_outdated_is_still(
    tmp_path: Path, version_before: int
) -> None:
    path = tmp_path / "old.sqlite"
    old = msgspec.structs.replace(STATE, migrations=STATE.migrations[:version_before])
    with opened(path, old) as db:
        names = "name, version, revision, created_at, updated_at, is_removing, first_number, spec"
        service = ("web", 2, 2, 1.0, 2.0, 0, 1, SPEC_TEXT)
        insert(db, "services", names, service)
        for revision in (1, 2):
            insert(db, "specs", "service, revision, spec", ("web", revision, SPEC_TEXT))
            row = task_row(revision, revision=revision)
            task = ("web", 1, revision, 1, revision, "n", "run", "", 1.0, 0, 0, json_of(row.status))
            names = "service, replicas, slot, number, revision, node, desired, stop_reason"
            insert(db, "tasks", f"{names}, created_at, failed_before, epoch, status", task)
        names = "at, kind, subject, service, reason, message"
        insert(db, "events", names, (1.0, "created", "web", "web", "", "1 replica wanted"))
        insert(db, "events", names, (1.0, "moved", "web.1#1", "web", "", "a later version's"))
        for kind, message in OLD_MESSAGES:
            insert(db, "events", names, (1.0, kind.value, "web.1#1", "web", "", message))
        node = ("n", "id", 1, 1.0, "0.1.0")
        insert(db, "nodes", "name, id, epoch, joined_at, warren", node)
    with closing(StateStore.open(path)) as store:
        found = store.load()
        assert [row.description for row in found.nodes] == [UNDESCRIBED]
        added = Entry(at=2.0, kind=EventKind.SCALED, subject="web", message="m", by="uid 1000")
        store.commit([AddEvent(added)], now=2.0)
        first, moved, *others, last = store.events()
        assert (first.kind, first.by, first.facts) == (EventKind.CREATED, "", None)
        assert (moved.kind, moved.word) == (EventKind.UNKNOWN, "moved")
        assert (last.kind, last.by) == (EventKind.SCALED, "uid 1000")
        assert version_before >= WITH_FACTS or [(one.kind, one.message) for one in others] == [
            (EventKind.PENDING, "pending: n1: it is down"),
            (EventKind.PENDING, "pending: no port"),
            (EventKind.PROBES_CHANGED, "probes changed: the spec has changed"),
            (EventKind.PROBES_CHANGED, "probes changed: proved"),
        ]
    (service_now,) = found.services
    assert (service_now.spec, service_now.version, service_now.revision) == (SPEC, 2, 2)
    assert [row.spec for row in found.tasks] == [SPEC, SPEC]
    if version_before < 4:
        assert [is_as_wanted(row, service_now) for row in found.tasks] == [False, True]


def insert(db: sqlite3.Connection, table: str, names: str, row: tuple[object, ...]) -> None:
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)
