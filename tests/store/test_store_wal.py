"""The journal's log is taken into its file in threads, and no record waits long or is lost."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from journalrows import record
from processes import wait_until

from warren.model.identity import TaskId
from warren.store import wal as log_module
from warren.store.database import INDEX, LOG, beside
from warren.store.journal import SqliteJournal
from warren.store.wal import LONG, WriteAheadLog

KILLS = 12
PADDING = 20_000  # bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Generator[SqliteJournal, None, None]:
    with closing(SqliteJournal(path)) as opened:
        yield opened


class Hold:
    """Stops a method of Log, in its thread, until `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._there, self._go = trio.Event(), threading.Event()
        self._token = trio.lowlevel.current_trio_token()
        method: Callable[[WriteAheadLog], Any] = getattr(WriteAheadLog, name)

        def held(log: WriteAheadLog) -> Any:
            self._token.run_sync_soon(self._there.set)
            assert self._go.wait(20)
            return method(log)

        monkeypatch.setattr(WriteAheadLog, name, held)

    async def reached(self) -> None:
        """Wait until it is there."""
        with trio.fail_after(20):
            await self._there.wait()

    def go(self) -> None:
        """Let it go on."""
        self._go.set()


def lengthen(journal: SqliteJournal, path: Path) -> None:
    """Write until the log is long."""
    number = 0
    while beside(path, LOG).stat().st_size <= LONG:
        number += 1
        journal.save(record(1000 + number % 20, padding=PADDING))


def own_files(path: Path) -> list[str]:
    """SQLite's, beside it."""
    return [beside(path, side).name for side in (INDEX, LOG)]


def content(path: Path) -> bytes:
    """The file without its log."""
    return path.read_bytes()


def written(path: Path) -> set[str]:
    """The tasks that another process would find in the file."""
    with closing(sqlite3.connect(path)) as other:
        return {row[0] for row in other.execute("SELECT id FROM tasks")}


async def test_long_log_is_emptied_and_nothing_is_lost(journal: SqliteJournal, path: Path) -> None:
    lengthen(journal, path)
    before = journal.load()
    await journal.log.take_in()
    assert beside(path, LOG).stat().st_size < LONG / 10
    assert journal.load() == before
    journal.save(record(5))
    with closing(SqliteJournal(path)) as again:
        assert {r.id for r in again.load()} == {r.id for r in [*before, record(5)]}


async def test_short_log_is_left_alone(journal: SqliteJournal, path: Path) -> None:
    journal.save(record())
    size = beside(path, LOG).stat().st_size
    await journal.log.take_in()
    assert beside(path, LOG).stat().st_size == size


async def test_from_then_on_no_write_takes_it_in(journal: SqliteJournal, path: Path) -> None:
    lengthen(journal, path)
    await journal.log.take_in()
    before = content(path)
    for number in range(20):  # SQLite by itself would do so at a thousand pages
        journal.save(record(number, padding=LONG))
    assert content(path) == before
    await journal.log.take_in()
    assert content(path) != before


async def test_sqlite_takes_it_in_where_nobody_else_does(
    journal: SqliteJournal, path: Path
) -> None:
    lengthen(journal, path)
    await journal.log.take_in()
    file = content(path)
    for number in range(80):
        journal.save(record(number, padding=LONG))
    assert content(path) != file
    assert beside(path, LOG).stat().st_size < 90 * LONG


async def test_it_is_written_to_while_it_is_copied(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengthen(journal, path)
    hold = Hold(monkeypatch, "copy")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.log.take_in)
        await hold.reached()
        journal.save(record(5))
        await journal.settle()
        assert str(record(5).id) in written(path)
        hold.go()
    assert beside(path, LOG).stat().st_size < LONG / 10
    assert str(record(5).id) in written(path)


async def test_what_is_saved_while_it_begins_anew_is_written_right_after(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengthen(journal, path)
    hold = Hold(monkeypatch, "_begin_anew")
    settled = list[set[str]]()

    async def settle() -> None:
        await journal.settle()
        settled.append(written(path))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.log.take_in)
        await hold.reached()
        journal.save(record(5))
        journal.forget(TaskId("web", 1, 1001))
        assert "held" in repr(journal.log)
        assert str(record(5).id) not in written(path)
        nursery.start_soon(settle)
        await trio.testing.wait_all_tasks_blocked()
        assert settled == []
        hold.go()
    (found,) = settled
    assert str(record(5).id) in found
    assert "web.1#1001" not in found


async def test_disk_that_hangs_is_told_and_stops_nothing(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "PATIENCE", 0.05)
    lengthen(journal, path)
    hold = Hold(monkeypatch, "_begin_anew")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.log.take_in)
        await hold.reached()
        assert journal.trouble is None
        journal.save(record(5))
        with trio.fail_after(20):
            await journal.settle()
        await wait_until(lambda: journal.trouble is not None)
        assert "the journal waits for the disk" in (journal.trouble or "")
        hold.go()
    assert journal.trouble is None
    assert str(record(5).id) in written(path)


@pytest.mark.parametrize("step", ["copy", "_begin_anew"])
async def test_disk_that_fails_loses_nothing(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    lengthen(journal, path)

    def fail(log: WriteAheadLog) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(WriteAheadLog, step, fail)
        with pytest.raises(sqlite3.OperationalError):
            await journal.log.take_in()
    journal.save(record(5))
    assert str(record(5).id) in written(path)
    await journal.log.take_in()
    assert beside(path, LOG).stat().st_size < LONG / 10


async def test_who_reads_it_puts_it_off(journal: SqliteJournal, path: Path) -> None:
    lengthen(journal, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM tasks").fetchone()
        journal.save(record(5))
        await journal.log.take_in()
        assert beside(path, LOG).stat().st_size > LONG
        assert str(record(5).id) in written(path)
    await journal.log.take_in()
    assert beside(path, LOG).stat().st_size < LONG / 10


async def test_log_that_was_removed_is_written_anew(journal: SqliteJournal, path: Path) -> None:
    journal.save(record(5))
    beside(path, LOG).unlink()
    journal.look()
    assert str(record(5).id) in written(path)
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, *own_files(path)]
    lengthen(journal, path)
    await journal.log.take_in()
    assert beside(path, LOG).stat().st_size < LONG / 10


WRITER = """
import sys
sys.path[:0] = {paths!r}
import trio
from pathlib import Path
from journalrows import record
from processes import wait_until
from warren.store import wal
from warren.store.journal import SqliteJournal

async def main():
    wal.LONG = 1 << 16
    journal = SqliteJournal(Path({path!r}))
    async def take_in():
        while True:
            await journal.log.take_in()
            await trio.sleep(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_in)
        for number in range(1, 1_000_000):
            journal.save(record(number, padding=500))
            journal.forget(record(number - 20).id)
            await journal.settle()
            print(number, flush=True)
            await trio.sleep(0)

trio.run(main)
"""


def test_what_was_settled_survives_kill_9_at_any_moment(tmp_path: Path) -> None:  # S21
    chance = random.Random(4)
    for kill in range(KILLS):
        path = tmp_path / f"{kill}.sqlite"
        script = WRITER.format(paths=sys.path, path=str(path))
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(chance.randrange(20, 400))]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        last = max(int(line) for line in lines if line.endswith(b"\n"))
        with closing(SqliteJournal(path)) as journal:
            found = {row.id.number for row in journal.load()}
        assert found >= set(range(max(1, last - 18), last + 1))
