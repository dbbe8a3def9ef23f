"""Files cut short or replaced by a link under an open database are noticed, and nothing else is."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from journalrows import record

from tests.store.staterows import event
from warren.model.errors import UnavailableError
from warren.store import wal as log_module
from warren.store.database import LOG, WAL_KEPT, beside
from warren.store.journal import SqliteJournal
from warren.store.presence import CUT, Presence
from warren.store.state import StateStore

Harm = Callable[[Path], None]
COMMITS = 4000
MANY = 40
PADDING = 2000  # bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sqlite"


@pytest.fixture
def journal(path: Path) -> Generator[SqliteJournal, None, None]:
    with closing(SqliteJournal(path)) as opened:
        yield opened


def presence(of: SqliteJournal | StateStore) -> Presence:
    found = of._presence  # pyright: ignore[reportPrivateUsage]
    assert found is not None
    return found


def cut_file(path: Path) -> None:
    os.truncate(path, 0)


def cut_log(path: Path) -> None:
    os.truncate(beside(path, LOG), 0)


def cut_both(path: Path) -> None:
    cut_file(path)
    cut_log(path)


def halve_file(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def halve_log(path: Path) -> None:
    os.truncate(beside(path, LOG), beside(path, LOG).stat().st_size // 2)


def link_file(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("moved")))


def link_log(path: Path) -> None:
    log = beside(path, LOG)
    log.symlink_to(log.rename(path.with_name("moved")))


def identity(path: Path) -> int:
    return path.stat().st_ino


CUTS: list[Harm] = [cut_file, cut_log, cut_both, halve_file, halve_log]
HARMS: list[Harm] = [*CUTS, link_file, link_log]


def empty_log(path: Path) -> None:
    """As another program may, in good order: a backup tool, say. Then all is in the file."""
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()"
    asked = "PRAGMA wal_checkpoint(TRUNCATE)"
    subprocess.run([sys.executable, "-c", code, path, asked], check=True)
    assert beside(path, LOG).stat().st_size == 0


def filled(path: Path, journal: SqliteJournal) -> None:
    """A file of many pages, and a log that has some others."""
    journal.node_id()
    journal.note_manager("m1")
    journal.save_all(record(number, padding=PADDING) for number in range(1, MANY + 1))
    empty_log(path)
    journal.save(record(MANY + 1))
    journal.look()


@pytest.mark.parametrize("is_written_after", [False, True])
@pytest.mark.parametrize("harm", HARMS)
def test_journal_that_is_cut_short_or_linked_is_written_anew(
    path: Path,
    journal: SqliteJournal,
    caplog: pytest.LogCaptureFixture,
    harm: Harm,
    is_written_after: bool,
) -> None:
    filled(path, journal)
    node, kept = journal.node_id(), MANY + 1
    assert not caplog.text
    harm(path)
    if is_written_after:
        kept += 1
        journal.save(record(kept))
        journal.forget(record(1).id)
    journal.look()
    said = "was cut short from outside" if harm in CUTS else "was removed or replaced"
    assert f"{path} {said}; it has been written anew" in caplog.text
    journal.save(record(kept + 1))
    assert journal.trouble is None
    # Another process, beside it: as after a kill -9.
    asked = "SELECT count(*) FROM tasks", "SELECT id, manager FROM node", "PRAGMA integrity_check"
    with closing(sqlite3.connect(path)) as other:
        found = [other.execute(query).fetchone() for query in asked]
    assert found == [(kept + 1 - is_written_after,), (node, "m1"), ("ok",)]
    assert not path.is_symlink()
    assert not path.with_name(f"{path.name}.{os.getpid()}.new").exists()
    caplog.clear()
    journal.look()
    assert not caplog.text


def test_journal_written_anew_has_the_rows_that_cannot_be_read(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.save_all([record(1), record(2), record(3)])
    with closing(sqlite3.connect(path)) as db, db:
        change = "UPDATE tasks SET id = CAST(? AS TEXT), record = x'7b' WHERE id = ?"
        db.execute(change, (b"w\xfe", str(record(1).id)))
        db.execute("UPDATE tasks SET record = x'7b' WHERE id = ?", (str(record(2).id),))
    for is_loaded in (True, False):
        with closing(SqliteJournal(path)) as journal:
            if is_loaded:
                journal.load()
            cut_both(path)
            journal.look()
        with closing(SqliteJournal(path)) as journal:
            assert journal.load() == [record(3)]
            assert set(journal.set_aside()) == {record(2).id}
        with closing(sqlite3.connect(path)) as db:
            keys = db.execute("SELECT CAST(id AS BLOB) FROM tasks").fetchall()
        assert (b"w\xfe",) in keys


@pytest.mark.parametrize("harm", HARMS)
def test_state_that_is_cut_short_or_linked_takes_no_commit(path: Path, harm: Harm) -> None:  # S22
    with closing(StateStore.open(path)) as store:
        for number in range(MANY):
            store.commit([event("x" * PADDING)], now=1.0)
            if number == MANY // 2:
                empty_log(path)
        harm(path)
        said = "it was cut short from outside" if harm in CUTS else "it was removed or replaced"
        store.recheck()
        assert said in (store.trouble or "")
        for _ in range(2):
            with pytest.raises(UnavailableError, match=said):
                store.commit([event()], now=1.0)
        assert store.generation == MANY
        if harm in CUTS:  # what SQLite knows of it stays wrong
            with path.open("ab") as file:
                file.truncate(2**22)
            assert presence(store).lost() == CUT


def test_log_that_was_cut_and_written_to_since_is_noticed(path: Path) -> None:
    with closing(StateStore.open(path)) as store:
        store.commit([event()], now=1.0)
        size = beside(path, LOG).stat().st_size
        cut_log(path)
        with beside(path, LOG).open("r+b") as log:
            log.seek(size)
            log.write(b"a frame")  # where the end was
        assert presence(store).lost() == CUT


def test_log_that_others_empty_in_good_order_is_no_loss(
    path: Path, journal: SqliteJournal, caplog: pytest.LogCaptureFixture
) -> None:
    filled(path, journal)
    for number in range(3):
        empty_log(path)
        journal.look()
        journal.save(record(MANY + 2 + number))
        journal.look()
    assert not caplog.text
    assert len(journal.load()) == MANY + 4


def unseen(self: Presence, *, is_quick: bool = False) -> None:
    pass


def test_log_that_others_empty_between_the_look_and_the_commit_is_no_loss(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(StateStore.open(path)) as store:
        for _ in range(MANY):
            store.commit([event("x" * PADDING)], now=1.0)
        assert presence(store).lost() is None
        with monkeypatch.context() as looked:  # before the log was emptied
            looked.setattr(Presence, "lost", unseen)
            empty_log(path)
            store.commit([event()], now=1.0)
        assert presence(store).lost() is None
        assert store.commit([event()], now=1.0) == MANY + 2


def test_log_that_another_programs_transaction_cuts_at_its_end_is_no_loss(path: Path) -> None:
    with (
        closing(StateStore.open(path)) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM events").fetchall()  # so the log grows
        for _ in range(MANY):
            store.commit([event("x" * 100_000)], now=1.0)
        other.execute("COMMIT")
        other.execute("PRAGMA journal_size_limit = 0")
        other.execute("PRAGMA cache_size = 5")
        other.execute("PRAGMA wal_checkpoint(RESTART)")
        long = beside(path, LOG).stat().st_size
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE events SET reason = 'other'")  # the log has its new head by now
        store.recheck()
        other.execute("COMMIT")
        assert beside(path, LOG).stat().st_size < long
        for number in range(3):
            assert store.commit([event()], now=1.0) == MANY + 1 + number
        size = beside(path, LOG).stat().st_size
        os.truncate(beside(path, LOG), size // 2)
        assert presence(store).lost() == CUT  # it is our own again


def test_remains_of_a_log_that_sqlite_passes_over_are_no_loss(path: Path) -> None:
    with closing(StateStore.open(path)) as store:
        store.commit([event()], now=1.0)
    beside(path, LOG).write_bytes(b"\0" * 5000)  # after a power cut, say
    with closing(StateStore.open(path)) as store:
        store.recheck()
        assert store.trouble is None
        assert store.commit([event()], now=1.0) == 2
        assert presence(store).lost() is None
        size = beside(path, LOG).stat().st_size
        cut_log(path)
        os.truncate(beside(path, LOG), size)
        assert presence(store).lost() == CUT


def test_vacuum_by_others_is_no_loss(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(StateStore.open(path)) as store:
        for _ in range(MANY):
            store.commit([event("x" * PADDING)], now=1.0)
        store.commit([event("new")], now=1e9)  # the old ones are too old
        empty_log(path)
        store.recheck()
        before = path.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("VACUUM")
        empty_log(path)
        assert path.stat().st_size < before
        assert store.commit([event()], now=1e9) == MANY + 2
        assert store.trouble is None


def test_log_that_sqlite_itself_cuts_again_is_no_loss(path: Path) -> None:
    with closing(StateStore.open(path)) as store:
        store.commit([event("x" * 2 * WAL_KEPT)], now=1.0)
        long = beside(path, LOG).stat().st_size
        for _ in range(3):
            store.commit([event()], now=1.0)
        assert beside(path, LOG).stat().st_size <= WAL_KEPT + 2**16 < long
        store.recheck()
        assert store.trouble is None


async def test_no_false_alarm_while_the_log_is_taken_in_under_load(
    path: Path,
    journal: SqliteJournal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(log_module, "LONG", 2**16)
    begun = 0
    began_anew = Presence.began_anew

    def counted(self: Presence) -> None:
        nonlocal begun
        begun += 1
        began_anew(self)

    monkeypatch.setattr(Presence, "began_anew", counted)
    first = identity(path)

    async def take_in() -> None:
        while True:
            await journal.log.take_in()
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_in)
        for number in range(1, COMMITS + 1):
            journal.save(record(number, padding=500))
            journal.forget(record(number - 50).id)
            journal.look()
            if number % 7 == 0:
                await journal.settle()
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await journal.settle()
    journal.look()
    assert begun > 10
    assert not caplog.text
    assert identity(path) == first
    assert journal.trouble is None
    assert len(journal.load()) == 50


def test_no_false_alarm_while_sqlite_takes_the_log_in(path: Path) -> None:
    with closing(StateStore.open(path, keep_events=100)) as store:
        for number in range(COMMITS // 4):
            store.commit([event("x" * (number % 97) * 300)], now=1.0)
            store.recheck()
            assert store.trouble is None
        assert presence(store).lost() is None
