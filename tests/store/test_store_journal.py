"""The journal keeps what it was told through kill -9, and a failing disk stops nothing (S21)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from journalrows import record

from warren.model.decode import to_json
from warren.model.identity import TaskId
from warren.store import journal as journal_module
from warren.store.database import open_database
from warren.store.errors import StoreError
from warren.store.journal import JournalError, MemoryJournal, SqliteJournal, known_manager


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Generator[SqliteJournal, None, None]:
    with closing(SqliteJournal(path)) as opened:
        yield opened


def test_journal_gives_back_what_it_was_told(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.save(record(2))
        journal.save(record(1))
        journal.save(record(10))
        journal.forget(TaskId("web", 1, 2))
        journal.forget(TaskId("web", 1, 99))
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == [record(1), record(10)]


def test_memory_journal_keeps_the_same_promises() -> None:
    journal = MemoryJournal()
    journal.save(record(10))
    journal.save(record(1))
    journal.save(record(2))
    journal.forget(TaskId("web", 1, 2))
    journal.forget(TaskId("web", 1, 99))
    assert journal.load() == [record(1), record(10)]


def test_saved_record_survives_kill_9(path: Path) -> None:  # S21
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
from journalrows import record
from warren.store.journal import SqliteJournal
from pathlib import Path
journal = SqliteJournal(Path({str(path)!r}))
journal.save(record(5))
print("saved", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "saved\n"
        writer.send_signal(signal.SIGKILL)
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == [record(5)]


def test_full_disk_is_told_once_and_heals_by_itself(
    journal: SqliteJournal, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = journal._db  # pyright: ignore[reportPrivateUsage]
    database.execute("PRAGMA max_page_count = 9")  # SQLite's own "disk full", the real error
    for number in range(1, 6):
        journal.save(record(number, padding=20_000))
    assert len(caplog.records) == 1
    assert "cannot be written (database or disk is full); tasks go on" in caplog.text
    assert "4 unwritten" in repr(journal)
    database.execute("PRAGMA max_page_count = 100000")
    journal.save(record(6))
    assert "can be written again" in caplog.text
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM tasks").fetchone() == (6,)


def test_journal_that_is_none_is_refused_by_its_name(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be taken for one" * 20)
    with pytest.raises(JournalError, match=r"journal\.sqlite: file is not a database"):
        SqliteJournal(path)


def test_damaged_journal_is_refused_with_what_to_do(path: Path) -> None:
    def spoil(table: str) -> None:
        with closing(sqlite3.connect(path)) as db:
            asked = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
            (page,) = db.execute(asked, (table,)).fetchone()
            (size,) = db.execute("PRAGMA page_size").fetchone()
        with path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xa5" * size)

    with closing(SqliteJournal(path)) as journal:
        journal.node_id()
        journal.save(record())
    wanted = (
        f"{re.escape(str(path))}: it is damaged. Nothing was started, and what runs was left alone;"
        r" want the file moved away \(with -wal and -shm\): the node then begins anew, as one that"
    )
    spoil("tasks")
    with closing(SqliteJournal(path)) as journal, pytest.raises(JournalError, match=wanted):
        journal.load()
    spoil("node")
    with closing(SqliteJournal(path)) as journal, pytest.raises(JournalError, match=wanted):
        journal.refuse_copy()
    with pytest.raises(JournalError, match=wanted):
        known_manager(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(JournalError, match=wanted):
        SqliteJournal(path)
    path.write_bytes(b"this is no database, and long enough to be taken for one" * 20)
    for asked in (SqliteJournal, known_manager):
        with pytest.raises(JournalError, match=r"is not a database\. Nothing was started, and"):
            asked(path)


def test_journal_of_a_newer_warren_is_refused(path: Path) -> None:
    with closing(SqliteJournal(path)), closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="is of version 99; this Warren knows up to 3"):
        SqliteJournal(path)


def test_journal_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No such file or directory"):
        SqliteJournal(tmp_path / "nowhere" / "journal.sqlite")


def test_journal_is_for_its_owner_alone(journal: SqliteJournal, path: Path) -> None:
    journal.save(record())
    assert {stat.st_mode & 0o077 for stat in map(os.stat, path.parent.glob("journal*"))} == {0}


def test_many_records_are_one_transaction(path: Path, journal: SqliteJournal) -> None:
    database = journal._db  # pyright: ignore[reportPrivateUsage]
    statements: list[str] = []
    database.set_trace_callback(statements.append)
    journal.save_all(record(number) for number in range(1, 1001))
    database.set_trace_callback(None)
    assert statements.count("COMMIT") == 1
    with closing(SqliteJournal(path)) as other:
        assert other.load() == [record(number) for number in range(1, 1001)]


def test_memory_journal_keeps_many_records() -> None:
    journal = MemoryJournal()
    journal.save_all(record(number) for number in (2, 1))
    assert journal.load() == [record(1), record(2)]


def test_node_id_is_made_once_and_kept(path: Path, tmp_path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        made = journal.node_id()
        assert re.fullmatch("[0-9a-f]{32}", made)
        assert journal.node_id() == made
    with closing(SqliteJournal(path)) as journal:
        assert journal.node_id() == made
    with closing(SqliteJournal(tmp_path / "other.sqlite")) as journal:
        assert journal.node_id() != made
    memory = MemoryJournal()
    assert memory.node_id() == memory.node_id() != MemoryJournal().node_id()


def test_node_id_on_a_full_disk_is_kept_in_memory_and_written_later(
    path: Path, journal: SqliteJournal
) -> None:
    database = journal._db  # pyright: ignore[reportPrivateUsage]
    database.execute("PRAGMA query_only = ON")
    made = journal.node_id()
    assert journal.node_id() == made
    with closing(SqliteJournal(path)) as other:
        assert other._db.execute("SELECT * FROM node").fetchall() == []  # pyright: ignore[reportPrivateUsage]
    database.execute("PRAGMA query_only = OFF")
    journal.save(record())
    with closing(SqliteJournal(path)) as other:
        assert other.node_id() == made


def test_node_that_cannot_be_read_once_is_not_taken_for_a_new_one(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        made = journal.node_id()
        journal.note_manager("m1")
    with closing(SqliteJournal(path)) as journal:
        database = journal._db  # pyright: ignore[reportPrivateUsage]
        database.set_progress_handler(lambda: 1, 1)  # SQLite's own "interrupted", the real error
        for asked in (journal.node_id, journal.manager_id, journal.refuse_copy):
            with pytest.raises(JournalError, match=r"journal\.sqlite: interrupted"):
                asked()
        with pytest.raises(JournalError, match=r"journal\.sqlite: interrupted"):
            journal.note_manager("m2")
        database.set_progress_handler(None, 1)
        journal.save(record())
        assert (journal.node_id(), journal.manager_id()) == (made, "m1")
    with closing(SqliteJournal(path)) as journal:
        assert (journal.node_id(), journal.manager_id()) == (made, "m1")


def test_journal_of_the_first_version_is_migrated_with_its_records(path: Path) -> None:
    with closing(sqlite3.connect(path)) as first, first:
        first.execute("CREATE TABLE tasks (id TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT")
        first.execute("INSERT INTO tasks VALUES ('web.1#1', ?)", (to_json(record()),))
        first.execute("PRAGMA user_version = 1")
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == [record()]
        made = journal.node_id()
    with closing(SqliteJournal(path)) as journal:
        assert journal.node_id() == made


@pytest.mark.parametrize("how", ["removed", "replaced", "leaving its log"])
def test_journal_that_vanishes_under_its_program_is_written_anew(path: Path, how: str) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.save(record(1))
        node = journal.node_id()
        journal.note_manager("m1")
        journal.look()
        path.unlink()
        if how == "removed":
            path.with_name(f"{path.name}-wal").unlink()
        elif how == "replaced":
            path.write_text("mine")
        journal.save(record(2))
        journal.look()
        journal.save(record(3))
        assert path.stat().st_mode & 0o777 == 0o600
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == [record(1), record(2), record(3)]
        assert (journal.node_id(), journal.manager_id()) == (node, "m1")
    if how == "replaced":
        assert path.with_name(f"{path.name}.replaced").read_text() == "mine"


def test_journal_whose_writing_anew_fails_is_written_anew_later(path: Path) -> None:
    kept = path.with_name(f"{path.name}.replaced")
    with closing(SqliteJournal(path)) as journal:
        node = journal.node_id()
        journal.save(record(1))
        path.unlink()
        path.write_text("mine")
        (kept / "in the way").mkdir(parents=True)
        for number in (2, 3):
            with pytest.raises(JournalError, match="Is a directory"):
                journal.look()
            journal.save(record(number))
            assert journal.trouble is None  # the old file is still written
        shutil.rmtree(kept)
        journal.look()
        journal.save(record(4))
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == [record(number) for number in range(1, 5)]
        assert journal.node_id() == node
    assert kept.read_text() == "mine"


def test_journal_that_cannot_be_opened_after_it_was_written_anew_is_opened_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [StoreError("unable to open database file")] * 2

    def fails_at_first(*words: Any, **named: Any) -> sqlite3.Connection:
        if faults:
            raise faults.pop()
        return open_database(*words, **named)

    with closing(SqliteJournal(path)) as journal:
        node = journal.node_id()
        journal.save(record(1))
        path.unlink()
        monkeypatch.setattr(journal_module, "open_database", fails_at_first)
        for number in (2, 3):
            with pytest.raises(JournalError, match="unable to open database file"):
                journal.look()
            journal.save(record(number))
            assert journal.trouble is not None
        journal.look()
        assert journal.trouble is None
        journal.save(record(4))
        assert caplog.text.count("it has been written anew") == 1
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == [record(number) for number in range(1, 5)]
        assert journal.node_id() == node


def test_file_that_replaced_the_journal_is_kept_with_its_log(path: Path, tmp_path: Path) -> None:
    other, kept = tmp_path / "other.sqlite", path.with_name(f"{path.name}.replaced")

    def replace_it(by: int) -> None:
        with closing(SqliteJournal(other)) as written:
            written.save(record(by))
            for side in ("", "-wal"):
                shutil.copy(f"{other}{side}", f"{path}{side}.new")
        for side in ("", "-wal"):
            Path(f"{path}{side}.new").rename(f"{path}{side}")

    with closing(SqliteJournal(path)) as journal:
        journal.save(record(1))
        replace_it(8)
        journal.look()
        journal.save(record(2))
        shutil.copytree(tmp_path, tmp_path / "first")
        path.unlink()
        path.write_text("mine")  # with no log of its own: ours is not its
        journal.look()
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == [record(1), record(2)]
    with closing(SqliteJournal(tmp_path / "first" / kept.name)) as journal:
        assert journal.load() == [record(8)]
    assert kept.read_text() == "mine"
    assert not Path(f"{kept}-wal").exists()


def test_copy_of_a_journal_is_refused_and_a_move_is_not(tmp_path: Path) -> None:
    def opened(folder: str) -> str:
        with closing(SqliteJournal(tmp_path / folder / "journal.sqlite")) as journal:
            journal.refuse_copy()
            return journal.node_id()

    (tmp_path / "a").mkdir()
    own = opened("a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(JournalError, match=f"is a copy of {tmp_path}/a/journal.sqlite: they are"):
        opened("b")
    assert opened("a") == own
    (tmp_path / "a").rename(tmp_path / "c")  # moved
    assert opened("c") == own
    shutil.rmtree(tmp_path / "b")
    shutil.copytree(tmp_path / "c", tmp_path / "b")
    (tmp_path / "b" / "journal.sqlite").unlink()  # as is said
    assert opened("b") != own
    (tmp_path / "c").rename(tmp_path / "d")
    shutil.copytree(tmp_path / "d", tmp_path / "c")  # the copy takes the old place
    assert opened("c") == own
    with pytest.raises(JournalError, match=f"is a copy of {tmp_path}/c/journal.sqlite"):
        opened("d")


def test_row_that_cannot_be_read_is_told_by_task_and_field_and_kept(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.save_all([record(1), record(2), record(3)])
    bad = b"{"
    with closing(sqlite3.connect(path)) as db, db:
        text = db.execute("SELECT record FROM tasks WHERE id = ?", (str(record(2).id),))
        worse = text.fetchone()[0].replace(b'"phase":', b'"phase":"x","was":')
        change = "UPDATE tasks SET record = ? WHERE id = ?"
        db.execute(change, (bad, str(record(1).id)))
        db.execute(change, (worse, str(record(2).id)))
    with closing(SqliteJournal(path)) as journal:
        assert journal.load() == journal.load() == [record(3)]
        assert set(journal.set_aside()) == {record(1).id, record(2).id}
        assert journal.set_aside()[record(2).id].startswith("record.phase: 'x': want ")
        assert caplog.text.count(f"task {record(2).id}: its row cannot be read: record.phase") == 1
        journal.save(record(2))
        assert set(journal.set_aside()) == {record(1).id}
    with closing(SqliteJournal(path)) as journal:  # the file has it still
        assert journal.load() == [record(2), record(3)]
        assert set(journal.set_aside()) == {record(1).id}
        journal.forget(record(1).id)
    with closing(SqliteJournal(path)) as journal:
        assert (journal.load(), dict(journal.set_aside())) == ([record(2), record(3)], {})


def test_row_whose_key_is_no_text_goes_where_its_task_has_a_newer_one(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.save(record(1))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tasks SET id = CAST(x'77ff' AS TEXT)")
    newer = msgspec.structs.replace(record(1), starts=7)
    with closing(SqliteJournal(path)) as journal:
        journal.save(newer)
    for _ in range(2):
        with closing(SqliteJournal(path)) as journal:
            assert journal.load() == [newer]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT id FROM tasks").fetchall() == [(str(record(1).id),)]


def test_row_whose_key_is_no_text_is_read_by_its_record_and_written_anew(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.save_all([record(1), record(2), record(3)])
    with closing(sqlite3.connect(path)) as db, db:
        change = "UPDATE tasks SET id = CAST(? AS TEXT) WHERE id = ?"
        db.execute(change, (b"w\xff", str(record(1).id)))
        db.execute(change, (b"w\xfe", str(record(2).id)))
        db.execute("UPDATE tasks SET record = x'7b' WHERE id = CAST(x'77fe' AS TEXT)")
    for _ in range(2):
        with closing(SqliteJournal(path)) as journal:
            assert journal.load() == [record(1), record(3)]
            assert dict(journal.set_aside()) == {}
    with closing(sqlite3.connect(path)) as db:
        keys = db.execute("SELECT CAST(id AS BLOB) FROM tasks").fetchall()
    assert sorted(keys) == [*((str(record(n).id).encode(),) for n in (1, 3)), (b"w\xfe",)]
