"""Reading a slot's output by cursors: every byte once, in order, across rotations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.errors import InvalidError, NotFoundError
from warren.model.identity import TaskId
from warren.process import logs as logs_module
from warren.process.logs import Logs

WEB = TaskId("web", 1, 1)


def logs(directory: Path, **options: int) -> Logs:
    found = Logs(directory, **options)
    directory.mkdir(exist_ok=True)
    return found


def write(kept: Logs, data: bytes) -> None:
    with kept.path(WEB).open("ab") as file:
        file.write(data)


def read_all(kept: Logs, cursor: str = "") -> tuple[bytes, str]:
    """Everything after the cursor, in as many calls as it takes."""
    found = b""
    while True:
        chunk = kept.read(WEB, cursor=cursor)
        cursor = chunk.cursor
        if not chunk.data:
            return found, cursor
        found += chunk.data


def test_logread_gives_all_that_is_kept_oldest_first(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10)
    for piece in (b"first piece\n", b"second piece\n", b"third\n"):
        write(kept, piece)
        kept.rotate()
    assert read_all(kept)[0] == b"first piece\nsecond piece\nthird\n"


def test_logread_goes_on_where_it_was_across_a_rotation(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=10)
    write(kept, b"one\n")
    found, cursor = read_all(kept)
    write(kept, b"two\nthree\nfour\n")
    kept.rotate()
    write(kept, b"five\n")
    assert found == b"one\n"
    assert read_all(kept, cursor)[0] == b"two\nthree\nfour\nfive\n"


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
            kept.rotate()
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
            kept.rotate()
    chunk = kept.read(WEB, tail=lines)
    data = chunk.data + read_all(kept, chunk.cursor)[0]
    assert data == b"".join(b"%d\n" % number for number in range(max(1, 7 - lines), 7))


def test_logread_gives_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "LOG_AT_ONCE", 4)
    kept = logs(tmp_path)
    write(kept, b"0123456789")
    chunk = kept.read(WEB)
    assert chunk.data == b"0123"
    assert kept.read(WEB, cursor=chunk.cursor).data == b"4567"


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
    kept.rotate()
    write(kept, b"c")
    assert read_all(kept, cursor)[0] == b"b" * 15 + b"c"


@pytest.mark.parametrize("cursor", ["x", "1", "now-1:2", "-1:0", "1:-1", "1:2:3", "٣:٣"])
def test_logread_refuses_a_cursor_it_never_gave(tmp_path: Path, cursor: str) -> None:
    kept = logs(tmp_path)
    write(kept, b"0")
    with pytest.raises(InvalidError, match="want one that an earlier call gave"):
        kept.read(WEB, cursor=cursor)


def test_logread_says_that_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"task web\.1#1 has written nothing"):
        logs(tmp_path).read(WEB)


def test_logs_purge_removes_a_services_files_and_no_others(tmp_path: Path) -> None:
    kept = logs(tmp_path, limit=1)
    write(kept, b"some output")
    kept.rotate()
    write(kept, b"more")
    for name in ("web-2.1.log", "we.1.log"):
        (tmp_path / name).touch()
    assert kept.services() == {"web", "web-2", "we"}
    kept.purge("web")
    assert kept.services() == {"web-2", "we"}
