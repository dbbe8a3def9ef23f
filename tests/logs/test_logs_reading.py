"""Reading a slot's output by cursors: every byte once, in order, across rotations."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import log_kit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_kit import read, rotate

from warren.logs import time_index
from warren.logs.files import LogFiles
from warren.model.errors import InvalidError
from warren.model.identity import TaskId
from warren.model.view import LogWanted

WEB = TaskId("web", 1, 1)
# Numbers that no position or time can be.
BEYOND = b"base 1000000000000000000\ns 3 nan web.1#1 i\ns 3 1e300 web.1#1 i\ns -3 1.0 web.1#1 i\n"


def logs(directory: Path, **options: int) -> LogFiles:
    found = LogFiles(directory, **options)
    directory.mkdir(exist_ok=True)
    return found


def write(kept: LogFiles, data: bytes) -> None:
    with kept.path(WEB).open("ab") as file:
        file.write(data)


def read_all(kept: LogFiles, cursor: str = "") -> tuple[bytes, str]:
    """Everything after the cursor."""
    return log_kit.read_all(kept, WEB, cursor)


def test_logread_gives_all_that_is_kept_oldest_first(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10)
    for piece in (b"first piece\n", b"second piece\n", b"third\n"):
        write(kept, piece)
        rotate(kept)
    assert read_all(kept)[0] == b"first piece\nsecond piece\nthird\n"


def test_logread_goes_on_where_it_was_across_a_rotation(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10)
    write(kept, b"one\n")
    found, cursor = read_all(kept)
    write(kept, b"two\nthree\nfour\n")
    rotate(kept)
    write(kept, b"five\n")
    assert found == b"one\n"
    assert read_all(kept, cursor)[0] == b"two\nthree\nfour\nfive\n"


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_logread_loses_and_doubles_nothing_however_writes_and_rotations_fall(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    kept = logs(tmp_path_factory.mktemp("logs"), limit=60, keep=3)
    write(kept, b"")
    written, found, cursor = b"", b"", ""
    since_rotation = 0
    for number in range(30):
        line = b"line %d %s\n" % (number, b"x" * chance.randrange(20))
        write(kept, line)
        written += line
        size = kept.path(WEB).stat().st_size
        if size > 90 or (size > 60 and chance.random() < 0.5):
            rotate(kept)
            since_rotation += 1
        if chance.random() < 0.4 or since_rotation:  # a reader two behind may have lost some
            more, cursor = read_all(kept, cursor)
            found += more
            since_rotation = 0
    assert found + read_all(kept, cursor)[0] == written


@pytest.mark.parametrize("lines", [1, 3, 5, 100])
def test_logread_begins_with_the_last_lines_also_in_older_pieces(
    tmp_path: Path, lines: int
) -> None:
    kept = logs(tmp_path, limit=3)
    for number in range(1, 7):
        write(kept, b"%d\n" % number)
        if number in (2, 4):
            rotate(kept)
    chunk = read(kept, WEB, tail=lines)
    data = chunk.data + read_all(kept, chunk.cursor)[0]
    assert data == b"".join(b"%d\n" % number for number in range(max(1, 7 - lines), 7))


def test_logread_gives_bounded_pieces(tmp_path: Path) -> None:
    kept = logs(tmp_path)
    write(kept, b"0123456789")
    chunk = kept.read(log_kit.wanted(WEB), 4)
    assert chunk.data == b"0123"
    assert kept.read(log_kit.wanted(WEB, chunk.cursor), 4).data == b"4567"


def test_logread_begins_anew_where_the_file_was_truncated_by_others(tmp_path: Path) -> None:
    kept = logs(tmp_path)
    write(kept, b"0123456789")
    _, cursor = read_all(kept)
    kept.path(WEB).write_bytes(b"new")
    assert read_all(kept, cursor)[0] == b"new"


def test_logread_goes_on_in_what_a_flood_has_left(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10)
    write(kept, b"a" * 15)
    _, cursor = read_all(kept)
    write(kept, b"b" * 15)  # of these 30 bytes the rotation keeps the last 20
    rotate(kept)
    write(kept, b"c")
    assert read_all(kept, cursor)[0] == b"b" * 15 + b"c"


@pytest.mark.parametrize("cursor", ["x", "now-1:2", "-1", "1:2", "٣", "1" * 19])
def test_logread_refuses_a_cursor_it_never_gave(tmp_path: Path, cursor: str) -> None:
    kept = logs(tmp_path)
    write(kept, b"0")
    with pytest.raises(InvalidError, match="want one that an earlier call gave"):
        read(kept, WEB, cursor)


def test_logread_of_what_nobody_has_written_yet_goes_on_from_its_beginning(tmp_path: Path) -> None:
    kept = logs(tmp_path)
    chunk = kept.read(log_kit.wanted(WEB, tail=0))
    assert chunk.data == b""
    write(kept, b"first\n")
    assert read_all(kept, chunk.cursor)[0] == b"first\n"


def test_logs_purge_removes_a_services_files_and_no_others(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=1)
    write(kept, b"some output")
    rotate(kept)
    write(kept, b"more")
    for name in ("web-2.1.log", "we.1.log"):
        (tmp_path / name).touch()
    assert kept.services() == {"web", "web-2", "we"}
    kept.purge("web")
    assert kept.services() == {"web-2", "we"}


# What was seen of it


def test_logread_survives_its_supervisor_with_its_positions(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10, keep=2)
    cursor = ""
    for number in range(5):
        write(kept, b"line %d of it\n" % number)
        if number == 3:
            cursor = read_all(kept, cursor)[1]
        rotate(kept)
        kept = logs(tmp_path, limit=10, keep=2)
    assert read_all(kept, cursor)[0] == b"line 4 of it\n"
    chunk = read(kept, WEB, "0")
    assert chunk.data == b"line 3 of it\n"
    assert chunk.lost == 3 * len(chunk.data)


def test_logread_tells_where_instances_began_and_by_when_it_was_written(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=1000)
    begun = time.time()
    for number in (1, 2):
        os.close(kept.open(TaskId("web", 1, number), f"web.1-{number}.1-ab"))
        write(kept, b"%d: a\n%d: b\n" % (number, number))
        os.utime(kept.path(WEB), (begun + number, begun + number))
        rotate(kept)  # a look alone
    chunk = read(kept, WEB)
    starts = [(m.offset, m.task, m.instance) for m in chunk.marks if m.task]
    assert starts == [(0, "web.1#1", "web.1-1.1-ab"), (10, "web.1#2", "web.1-2.1-ab")]
    assert all(begun <= mark.at <= time.time() for mark in chunk.marks if mark.task)
    times = [(mark.offset, mark.at - begun) for mark in chunk.marks if not mark.task]
    assert times == [(10, pytest.approx(1)), (20, pytest.approx(2))]
    assert kept.read(log_kit.wanted(WEB, since=begun + 1.5)).data == b"2: a\n2: b\n"
    assert kept.read(log_kit.wanted(WEB, since=begun + 1.5, tail=1)).data == b"2: b\n"
    assert kept.read(log_kit.wanted(WEB, since=begun - 9, tail=3)).data == b"1: b\n2: a\n2: b\n"
    assert kept.read(log_kit.wanted(WEB, since=begun + 2.5)).data == b""
    again = logs(tmp_path, limit=1000)  # the next supervisor knows it too
    assert read(again, WEB) == chunk


def test_logread_tells_by_when_an_instance_wrote_its_last_and_not_when_the_next_wrote(
    tmp_path: Path,
) -> None:
    kept = logs(tmp_path, limit=1000)
    ended = time.time() - 30
    os.close(kept.open(WEB, "first"))
    write(kept, b"last words\n")
    os.utime(kept.path(WEB), (ended, ended))  # no watcher has noted it when the next one begins
    os.close(kept.open(WEB, "second"))
    os.close(kept.open(WEB, "third"))  # the second has written nothing
    write(kept, b"first words\n")
    times = [(m.offset, m.at) for m in read(kept, WEB).marks if not m.task]
    assert times[0] == (11, pytest.approx(ended))
    assert len(times) == 2
    assert times[1][1] > ended + 20


def test_logread_keeps_instances_and_times_across_rotations(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10)
    for number in (1, 2, 3):
        os.close(kept.open(TaskId("web", 1, number), f"i{number}"))
        write(kept, b"instance %d\n" % number)
        rotate(kept)
    cursor, starts = "0", list[tuple[int, str]]()
    while (chunk := read(kept, WEB, cursor)).data:
        starts += [(int(cursor) + mark.offset, mark.instance) for mark in chunk.marks if mark.task]
        cursor = chunk.cursor
    assert starts == [(0, "i1"), (11, "i2"), (22, "i3")]


def test_logread_bounds_what_is_noted_of_a_piece(tmp_path: Path) -> None:
    kept = logs(tmp_path)
    os.close(kept.open(WEB, "first"))
    slot = kept.slot(kept.path(WEB).name)
    with slot.lock:
        for position in range(1, 3 * time_index.MOST):
            kept.note(slot, time_index.Seen(position, float(position)))
    assert len(slot.index.seen) <= time_index.MOST
    assert slot.index.seen[0].instance == "first"
    assert slot.index.seen[-1].position == 3 * time_index.MOST - 1
    assert time_index.load(slot.index_path(0)).seen == slot.index.seen
    assert slot.index_path(0).stat().st_size < 200_000


def test_logread_does_without_an_index_that_is_damaged(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10)
    for number in range(3):
        write(kept, b"line %d of it\n" % number)
        rotate(kept)
    for path in (tmp_path / "index").iterdir():
        path.write_bytes(b"\xff\x00 base\nt 1\ns x y\nbase z\n" + BEYOND)
    again = logs(tmp_path, limit=10)
    assert read_all(again)[0] == b"line 0 of it\nline 1 of it\nline 2 of it\n"
    chunk = log_kit.read(again, WEB)
    assert not [mark for mark in chunk.marks if mark.task]
    assert log_kit.read(again, WEB, chunk.cursor).lost == 0


async def test_logread_of_several_refuses_a_cursor_to_its_asker_alone(tmp_path: Path) -> None:
    kept = logs(tmp_path)
    write(kept, b"one\n")
    wanted = [LogWanted(service="web", slot=1, cursor=cursor) for cursor in ("x", "0")]
    refused, given = await kept.pieces(wanted, 100)
    assert "cursor: 'x'" in refused.absent
    assert given.chunk.data == b"one\n"
