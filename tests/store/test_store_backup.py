"""A state file is checked and copied while it is written, and a copy is put back whole."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.store.staterows import WRITER, assert_numbered, numbered, numbered_state, program
from warren.store.backup import backup, check, restore
from warren.store.database import open_database
from warren.store.errors import StoreError
from warren.store.journal import SqliteJournal
from warren.store.lock import DataDirectoryError, locked
from warren.store.schema import STATE
from warren.store.state import StateStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file at generation 3."""
    path = tmp_path / "state.sqlite"
    write(path, 3)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "away").mkdir()
    return tmp_path / "away" / "copy.sqlite"


@pytest.fixture
def writer(path: Path) -> Generator[subprocess.Popen[str], None, None]:
    """Another process that commits as fast as it can."""
    with subprocess.Popen(program(WRITER, path), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def write(path: Path, generation: int) -> None:
    with closing(StateStore.open(path)) as store:
        while store.generation < generation:
            store.commit(numbered(store.generation + 1), now=1.0)


def generation_of(path: Path | None) -> int:
    """Of a file that is there and whole."""
    assert path is not None
    with closing(StateStore.open(path)) as store:
        assert_numbered(store, at_least=store.generation)
        return store.generation


def names(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()}


# check


def test_check_of_a_good_file_says_nothing_and_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    assert check(path) == []
    assert path.read_bytes() == before
    assert names(path.parent) == {"state.sqlite"}


def test_check_tells_every_row_that_cannot_be_read(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tasks SET status = '{}' WHERE number < 3")
        db.execute('UPDATE services SET spec = \'{"name": "web"}\'')
        db.execute("DELETE FROM specs WHERE revision = 3")
    assert check(path) == [
        f"{path}: a row of tasks (None) refers to no row of specs",
        f"{path}: services: web: command: want the command to run, such as [redis-server]",
        f"{path}: tasks: web.1#1: id: is missing",
        f"{path}: tasks: web.1#2: id: is missing",
        f"{path}: tasks: web.1#3: its spec, revision 3, is not there or not readable",
    ]


def test_check_tells_of_what_is_no_state(path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no database " * 100)
    empty = tmp_path / "empty"
    empty.touch()
    journal = tmp_path / "journal"
    SqliteJournal(journal).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    assert check(text) == [f"{text}: file is not a database"]
    assert check(empty) == [f"{empty}: is empty"]
    assert check(journal) == [f"{journal}: is another program's database"]
    assert check(path) == [f"{path}: is of version 99; this Warren knows up to {STATE.version}"]
    assert check(tmp_path / "none") == [f"{tmp_path / 'none'}: there is no such file"]
    assert not (tmp_path / "none").exists()


# backup


def test_backup_is_the_same_state_in_one_private_file(path: Path, target: Path) -> None:
    with closing(StateStore.open(path)) as store:
        store.commit(numbered(4), now=1.0)  # stands in the log, and not yet in the file
        backup(path, target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert names(target.parent) == {"copy.sqlite"}
    assert check(target) == []
    assert generation_of(target) == 4


def test_backup_while_another_process_writes_is_of_one_moment(
    path: Path, target: Path, writer: subprocess.Popen[str]
) -> None:
    taken: list[int] = []
    for number in range(10):
        copy = target.with_name(f"copy-{number}")
        backup(path, copy)
        assert check(copy) == check(path) == []
        taken.append(generation_of(copy))
    assert writer.poll() is None
    assert taken == sorted(set(taken)), "the writer was held up"


def test_backup_writes_over_nothing(path: Path, target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(StoreError, match=r"copy\.sqlite: exists already; want a new file"):
        backup(path, target)
    assert target.read_text() == "mine"
    target.unlink()
    target.symlink_to("nowhere")
    with pytest.raises(StoreError, match="exists already"):
        backup(path, target)
    assert names(target.parent) == {"copy.sqlite"}


def test_backup_of_a_damaged_file_is_refused_and_leaves_nothing(path: Path, target: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tasks SET status = '{'")
    with pytest.raises(StoreError, match=r"state\.sqlite: tasks: web\.1#1"):
        backup(path, target)
    with pytest.raises(StoreError, match="there is no such file"):
        backup(path.with_name("none"), target)
    with pytest.raises(StoreError, match="No such file or directory"):
        backup(path, target.parent / "nowhere" / "copy.sqlite")
    assert names(target.parent) == set()


# restore


def test_restore_puts_a_backup_back_and_keeps_the_old_file(path: Path, target: Path) -> None:
    backup(path, target)
    write(path, 7)
    kept = restore(path, target)
    assert kept == path.with_name("state.sqlite.before-restore")
    assert generation_of(path) == 3
    assert generation_of(kept) == 7
    assert generation_of(target) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    write(path, 5)
    second = restore(path, target)
    assert second == path.with_name("state.sqlite.before-restore-2")
    assert generation_of(second) == 5
    assert generation_of(kept) == 7


def test_restored_state_is_of_the_same_manager_also_from_before_managers_had_ids(
    path: Path, target: Path
) -> None:
    def manager() -> str:
        with closing(StateStore.open(path)) as store:
            return store.manager_id

    own = manager()
    backup(path, target)
    restore(path, target)
    assert manager() == own
    first = msgspec.structs.replace(STATE, migrations=STATE.migrations[:1])
    old = target.with_name("old.sqlite")
    with closing(open_database(old, first, synchronous="FULL")) as db:
        db.execute("UPDATE meta SET generation = 2")
    restore(path, old)
    assert manager() == own


def test_restore_into_an_empty_directory_makes_the_file(path: Path, target: Path) -> None:
    new = path.parent / "new" / "state.sqlite"
    backup(path, target)
    assert restore(new, target) is None
    assert generation_of(new) == 3
    assert names(new.parent) == {"state.sqlite", "manager.lock"}


def test_restore_after_kill_9_keeps_what_was_in_the_log_and_plays_none_of_it(
    path: Path, target: Path, writer: subprocess.Popen[str]
) -> None:
    backup(path, target)
    assert writer.stdout is not None
    acknowledged = max([int(writer.stdout.readline()) for _ in range(20)])
    writer.kill()
    writer.wait()
    assert path.with_name("state.sqlite-wal").stat().st_size
    copied = generation_of(target)
    kept = restore(path, target)
    assert not {name for name in names(path.parent) if name.endswith(("-wal", "-shm"))}
    assert generation_of(path) == copied
    assert generation_of(kept) >= acknowledged


def test_restore_in_the_place_of_a_damaged_file_keeps_it_as_it_was(
    path: Path, target: Path
) -> None:
    backup(path, target)
    log = path.with_name("state.sqlite-wal")
    path.write_bytes(b"damaged" * 1000)
    log.write_bytes(b"its log")
    path.with_name("state.sqlite-shm").write_bytes(b"its index")
    kept = restore(path, target)
    assert kept is not None
    assert kept.read_bytes() == b"damaged" * 1000
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"its log"
    assert not log.exists()
    assert generation_of(path) == 3


def test_restore_while_a_manager_runs_is_refused(path: Path, target: Path) -> None:
    backup(path, target)
    write(path, 4)
    with (
        locked(path.parent, role="manager"),
        pytest.raises(
            DataDirectoryError, match=r"in use by another warren manager, pid \d+; stop it first"
        ),
    ):
        restore(path, target)
    assert generation_of(path) == 4
    with locked(path.parent, role="node"):  # a node minds not
        restore(path, target)
    assert generation_of(path) == 3


def test_restore_of_what_is_not_well_changes_nothing(path: Path, target: Path) -> None:
    backup(path, target)
    with closing(sqlite3.connect(target)) as db, db:
        db.execute("UPDATE specs SET spec = '{}'")
    with pytest.raises(StoreError, match=r"copy\.sqlite: specs: web at revision 1: name"):
        restore(path, target)
    with pytest.raises(StoreError, match="there is no such file"):
        restore(path, target.with_name("none"))
    assert names(path.parent) == {"state.sqlite", "manager.lock", "away"}
    with closing(StateStore.open(path)) as store:
        assert store.load() == numbered_state(3)
