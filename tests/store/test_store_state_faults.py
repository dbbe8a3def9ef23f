"""A disk that fails, a file that is none, and kill -9: nothing acknowledged is lost (S22)."""

from __future__ import annotations

import random
import re
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from tests.store.staterows import (
    SPEC,
    WRITER,
    assert_numbered,
    event,
    numbered,
    program,
    service_row,
    task_row,
)
from warren.model.cluster import AddEvent, NodeRow, PutNode, PutService, PutTask
from warren.model.errors import UnavailableError
from warren.model.event import EventFacts
from warren.store.backup import check
from warren.store.errors import StoreError
from warren.store.state import StateStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def store(path: Path) -> Generator[StateStore, None, None]:
    with closing(StateStore.open(path)) as opened:
        yield opened


def database(store: StateStore) -> sqlite3.Connection:
    return store._db  # pyright: ignore[reportPrivateUsage]


def tasks_of(store: StateStore) -> list[int]:
    return [task.id.slot for task in store.load().tasks]


def test_acknowledged_commit_survives_kill_9_at_any_instant(path: Path) -> None:  # S22
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged = 0
    for _ in range(20):
        with subprocess.Popen(program(WRITER, path), stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 60)):
                acknowledged = int(writer.stdout.readline())
            time.sleep(chance.uniform(0, 0.003))  # an instant of chance is what this is about
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        assert check(path) == [], seed
        with closing(StateStore.open(path)) as store:
            assert_numbered(store, at_least=acknowledged)
            acknowledged = store.generation


def test_commit_is_synced_so_that_a_power_cut_loses_none(store: StateStore) -> None:  # S22
    assert database(store).execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL
    assert database(store).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_full_disk_is_refused_whole_and_heals_by_itself(store: StateStore, path: Path) -> None:
    store.commit([PutTask(task_row(1)), event()], now=1.0)
    pages = database(store).execute("PRAGMA page_count").fetchone()[0]
    database(store).execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "disk full"
    many = [PutTask(task_row(slot)) for slot in range(2, 1000)]
    for _ in range(3):
        with pytest.raises(UnavailableError) as refusal:
            store.commit([event(), *many], now=1.0)
        assert str(refusal.value) == f"{path} cannot be written: the disk is full"
        assert store.trouble == store.statistics().trouble == str(refusal.value)
        assert (store.generation, store.last_seq, tasks_of(store)) == (1, 1, [1])
    database(store).execute("PRAGMA max_page_count = 100000")
    assert store.commit([event(), *many], now=1.0) == 2
    assert store.trouble is None
    assert [entry.seq for entry in store.events()] == [1, 2]
    assert len(tasks_of(store)) == 999


def test_read_only_disk_is_refused_and_heals_by_itself(store: StateStore, path: Path) -> None:
    database(store).execute("PRAGMA query_only = ON")
    with pytest.raises(UnavailableError, match=r"state\.sqlite cannot be written: it is read-only"):
        store.commit([event()], now=1.0)
    database(store).execute("PRAGMA query_only = OFF")
    assert store.commit([event()], now=1.0) == 1


def test_disk_that_fails_in_the_middle_of_writing_heals_by_itself(path: Path) -> None:
    body = """
import resource
from warren.model.errors import UnavailableError
store.commit(numbered(1), now=1.0)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
many = [PutTask(task_row(slot)) for slot in range(2, 3000)]
for room in (0, 100, 5000, 50_000):
    log = Path(sys.argv[1] + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (log + room, hard))
    try:
        store.commit(many, now=1.0)
    except UnavailableError as error:
        print(error, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.load() == numbered_state(store.generation), "not as it was"
    store.commit(numbered(store.generation + 1), now=1.0)
"""
    done = subprocess.run(
        [*program(body, path), str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    said = f"{path} cannot be written: the disk failed (SQLITE_IOERR_WRITE)"
    assert done.stdout.splitlines() == [said] * 4
    with closing(StateStore.open(path)) as store:
        assert_numbered(store, at_least=5)
    assert check(path) == []


@pytest.mark.needs_root
def test_file_system_without_room_is_refused_and_heals_by_itself(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path]).returncode:
        pytest.skip("may not mount here")
    try:
        filler = tmp_path / "filler"
        with closing(StateStore.open(tmp_path / "state.sqlite")) as store:
            store.commit(numbered(1), now=1.0)
            fill(filler)
            with pytest.raises(UnavailableError, match="the disk is full"):
                write_forever(store)
            assert_numbered(store, at_least=store.generation)
            filler.unlink()
            store.commit(numbered(store.generation + 1), now=1.0)
            assert_numbered(store, at_least=store.generation)
        assert check(tmp_path / "state.sqlite") == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def write_forever(store: StateStore) -> NoReturn:
    while True:
        store.commit(numbered(store.generation + 1), now=1.0)


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass


def test_file_that_was_removed_is_not_written_into(store: StateStore, path: Path) -> None:
    store.commit([event()], now=1.0)
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    with pytest.raises(UnavailableError, match="it was removed or replaced"):
        store.commit([event()], now=1.0)
    elsewhere.rename(path)
    assert store.commit([event()], now=1.0) == 2


def test_log_that_was_removed_is_not_written_into(store: StateStore, path: Path) -> None:
    store.commit([event()], now=1.0)
    path.with_name(path.name + "-wal").unlink()
    with pytest.raises(UnavailableError, match="it was removed or replaced"):
        store.commit([event()], now=1.0)


def test_file_in_use_by_another_program_is_told_of(store: StateStore, path: Path) -> None:
    said = "another program is writing to it"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match=said):
            store.commit([event()], now=1.0)
        with pytest.raises(StoreError, match=rf"state\.sqlite: {said}"):
            StateStore.open(path)
    assert store.commit([event()], now=1.0) == 1


def test_state_that_another_program_has_changed_is_not_written_over(
    store: StateStore, path: Path
) -> None:
    with closing(StateStore.open(path)) as other:
        other.commit([event()], now=1.0)
    with pytest.raises(StoreError, match="was changed by another program"):
        store.commit([event("mine")], now=1.0)
    assert [entry.message for entry in store.events()] == ["said"]


@pytest.mark.parametrize(
    "facts",
    [
        "{",
        "[]",
        '{"pid": "x"}',
        '{"reason": "evicted"}',
        "\N{RABBIT}",
        '{"pid": 100000000000000}',
        '{"pid": -1}',
        '{"restarts": -5}',
        '{"restarts": 1000000001}',
        '{"exit_code": 4294967296}',
        '{"restart_in": 1e300}',
        '{"replicas": -1}',
        f'{{"signal": "{"y" * 1001}"}}',
        f'{{"node": "{"n" * 1001}"}}',
        f'{{"changed": ["{"E" * 1001}"]}}',
        f'{{"changed": [{", ".join(["1"] * 5)}]}}'.replace("1", '"env"' + ', "env"' * 2000),
        f'{{"probes": [{", ".join(["1"] * 17)}]}}'.replace("1", '"startup"'),
        '{"replaces": {"service": "web", "slot": 10000000000, "number": 1}}',
    ],
)
def test_event_whose_facts_cannot_be_read_is_read_without_them(
    store: StateStore, facts: str
) -> None:
    known = msgspec.structs.replace(event().entry, facts=EventFacts(pid=7))
    store.commit([AddEvent(known), event("other")], now=1.0)
    assert [entry.facts for entry in store.events()] == [EventFacts(pid=7), None]
    database(store).execute("UPDATE events SET facts = ? WHERE seq = 1", (facts,))
    assert [(entry.message, entry.facts) for entry in store.events()] == [
        ("said", None),
        ("other", None),
    ]


def test_bug_in_a_row_changes_nothing_and_leaves_the_store_usable(store: StateStore) -> None:
    bad = task_row(2, number=2**63)
    with pytest.raises(OverflowError):
        store.commit([PutTask(task_row(1)), PutTask(bad)], now=1.0)
    assert tasks_of(store) == []
    assert store.commit([PutTask(task_row(1))], now=1.0) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"no database, and long enough for one " * 40, "is not a database", id="text"),
        pytest.param(b"SQLite format 3\0" + b"\xff" * 5000, "is not a database", id="torn"),
    ],
)
def test_file_that_is_no_database_is_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"state\.sqlite: .*{said}"):
        StateStore.open(path)
    assert path.read_bytes() == content


def test_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE tasks (mine)")
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is another program's database"):
        StateStore.open(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644


def test_damaged_page_is_told_of(path: Path) -> None:
    with closing(StateStore.open(path)) as store:
        store.commit([PutTask(task_row(slot)) for slot in range(1, 300)], now=1.0)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with (
        pytest.raises(StoreError, match=r"state\.sqlite: it is damaged"),
        closing(StateStore.open(path)) as store,
    ):
        store.load()
    assert "is damaged" in check(path)[0]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE tasks SET status = '{'", r"tasks: web\.1#1: .*want JSON"),
        ("UPDATE tasks SET desired = 'maybe'", r"tasks: web\.1#1: 'maybe' is not a valid Desired"),
        ("UPDATE specs SET spec = '{}'", r"specs: web at revision 1: name: is missing"),
        ("DELETE FROM specs", r"tasks: web\.1#1: its spec, revision 1, is not there"),
        (f"UPDATE tasks SET failed_before = {2**63 - 1}", r"tasks: web\.1#1: failed_before: 9223"),
        ("UPDATE tasks SET not_before = 9e999", r"tasks: web\.1#1: not_before: inf: want a number"),
        (
            "UPDATE tasks SET status = json_set(status, '$.failed_before', 9223372036854775807)",
            r"tasks: web\.1#1: status\.failed_before: 9223372036854775807: want a number",
        ),
        (
            "UPDATE tasks SET stop_reason = CAST(x'61ff' AS TEXT)",
            r"tasks: web\.1#1: stop_reason: byte 0xff at 1: want UTF-8 text",
        ),
        (
            "UPDATE specs SET spec = CAST(x'7bc3' AS TEXT)",
            r"specs: web at revision 1: spec: byte 0xc3 at 1: want UTF-8 text",
        ),
        (
            "PRAGMA foreign_keys = OFF; UPDATE tasks SET service = CAST(x'77ff' AS TEXT)",
            r"tasks: w\\xff\.1#1: service: byte 0xff at 1: want UTF-8 text",
        ),
    ],
)
def test_row_that_cannot_be_read_is_named(path: Path, statement: str, said: str) -> None:
    with closing(StateStore.open(path)) as store, closing(sqlite3.connect(path)) as other:
        store.commit([PutTask(task_row())], now=1.0)
        other.executescript(statement)
        found = store.load()
    assert re.match(said, str(found.faults[0]))
    assert found.tasks == ()
    assert any(re.search(said, fault) for fault in check(path))


def test_event_that_is_no_text_is_shown_and_hides_no_other(path: Path) -> None:
    with closing(StateStore.open(path)) as store, closing(sqlite3.connect(path)) as other:
        store.commit([event("one"), event("two"), event("three")], now=1.0)
        with other:
            other.execute("UPDATE events SET message = CAST(x'74ff6f' AS TEXT) WHERE seq = 2")
        assert [entry.message for entry in store.events()] == ["one", "t\\xffo", "three"]


def test_service_whose_name_cannot_be_read_leaves_its_tasks_alone(path: Path) -> None:
    other_spec = msgspec.structs.replace(SPEC, name="other")
    with closing(StateStore.open(path)) as store, closing(sqlite3.connect(path)) as other:
        rows = [PutService(service_row()), PutService(service_row(other_spec))]
        tasks = [PutTask(task_row()), PutTask(task_row(service="other", spec=other_spec))]
        store.commit([*rows, *tasks], now=1.0)
        with other:
            other.execute("UPDATE services SET name = CAST(x'77ff' AS TEXT) WHERE name = 'web'")
        found = store.load()
    assert [row.name for row in found.services] == ["other"]
    assert [row.id.service for row in found.tasks] == ["other"]
    assert [fault.owner for fault in found.faults] == ["w\\xff", "web"]
    assert found.faults[0].columns == (b"w\xff",)


def test_node_whose_name_cannot_be_read_is_lost_with_its_tasks_where_they_are(path: Path) -> None:
    with closing(StateStore.open(path)) as store, closing(sqlite3.connect(path)) as other:
        nodes = [NodeRow(name=name, id="i", epoch=3, joined_at=1.0) for name in ("n", "m")]
        store.commit([*(PutNode(row) for row in nodes), PutTask(task_row())], now=1.0)
        with other:
            other.execute("UPDATE nodes SET name = CAST(x'6eff' AS TEXT) WHERE name = 'n'")
        found = store.load()
    assert [(row.name, row.id) for row in found.nodes] == [("m", "i"), ("n", "")]
    assert [fault.owner for fault in found.faults] == ["n\\xff"]
    assert len(found.tasks) == 1


def test_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/state\.sqlite: No such file or directory"):
        StateStore.open(tmp_path / "nowhere" / "state.sqlite")


# An owner gives himself the right to write; root can be somebody else.
@pytest.mark.parametrize("what", [pytest.param("file", marks=pytest.mark.needs_root), "directory"])
def test_state_that_may_not_be_written_is_refused_at_once(what: str) -> None:
    body = """
import os
from warren.store.errors import StoreError
store.commit([event()], now=1.0)
store.close()
path, what = Path(sys.argv[1]), sys.argv[2]
path.chmod(0o444 if what == "file" else 0o666)
path.parent.chmod(0o777 if what == "file" else 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    StateStore.open(path)
except StoreError as error:
    print(error)
if os.getuid() == 0:
    os.seteuid(0)  # what measures coverage writes at the end
"""
    with tempfile.TemporaryDirectory() as directory:  # tmp_path is closed to others than root
        path = Path(directory) / "state.sqlite"
        done = subprocess.run(
            [*program(body, path), str(path), what],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        path.parent.chmod(0o700)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{path}: ")
