"""Logs: appended, rotated by copy and truncation, read from their end (docs/architecture.md)."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
import trio
from log_kit import rotate, tail

from tests.processes import wait_until
from warren.logs.files import LogFiles
from warren.logs.watcher import serve_logs
from warren.model.errors import UnavailableError
from warren.model.identity import TaskId
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions

TASK = TaskId("web", 2, 7)


def write(logs: LogFiles, text: str) -> None:
    handle = logs.open(TASK)
    os.write(handle, text.encode())
    os.close(handle)


async def test_first_files_of_a_slot_are_made_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = list[int]()
    open_here = LogFiles.open

    def noting(logs: LogFiles, task: TaskId, instance: str = "") -> int:
        threads.append(threading.get_ident())
        return open_here(logs, task, instance)

    monkeypatch.setattr(LogFiles, "open", noting)
    logs = LogFiles(tmp_path / "logs")
    for instance in ("i1", "i2"):
        os.close(await logs.begin(TASK, instance))
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [False, True]
    monkeypatch.setattr(LogFiles, "open", refuse)
    with pytest.raises(PermissionError):
        await logs.begin(TaskId("web", 3, 1), "i3")


def refuse(logs: LogFiles, task: TaskId, instance: str = "") -> int:
    raise PermissionError


def test_rotation_keeps_so_many_pieces_and_the_writer_goes_on(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path / "logs", limit=10, keep=2)
    handle = logs.open(TASK)
    for number in range(5):
        os.write(handle, f"line {number} long\n".encode())
        rotate(logs)
    os.write(handle, b"last\n")
    os.close(handle)
    files = sorted(path.name for path in logs.directory.iterdir())
    assert files == ["index", "web.2.log", "web.2.log.1", "web.2.log.2"]
    assert logs.path(TASK).read_text() == "last\n"
    assert repr(logs) == f"<LogFiles {logs.directory}, 2 times 10 bytes>"


def test_flood_leaves_pieces_no_larger_than_twice_the_limit(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path, limit=1000, keep=1)
    write(logs, "x" * 50_000 + "end")
    rotate(logs)
    piece = tmp_path / "web.2.log.1"
    assert piece.stat().st_size == 2000
    assert piece.read_text().endswith("xend")
    assert logs.path(TASK).stat().st_size == 0


def test_nothing_kept_is_truncated(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path, limit=10, keep=0)
    write(logs, "x" * 50)
    rotate(logs)
    assert [path.name for path in tmp_path.glob("*.log*")] == ["web.2.log"]


def test_tail_reads_across_pieces(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path, limit=10, keep=3)
    assert tail(logs, TASK, 5) == []
    for number in range(3):
        write(logs, f"a{number} long\nb{number} long\n")
        rotate(logs)
    write(logs, "end\n")
    assert tail(logs, TASK, 4) == ["b1 long", "a2 long", "b2 long", "end"]
    assert tail(logs, TASK, 1) == ["end"]
    assert tail(logs, TASK, 0) == []
    assert len(tail(logs, TASK, 100)) == 7


async def test_serving_rotates_what_is_over_the_limit_as_soon_as_it_is(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path, limit=10)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_logs, logs, Boundary("watching logs", Conditions()))
        for number in range(1, 4):
            write(logs, "x" * 50)
            await wait_until((tmp_path / f"web.2.log.{number}").exists)
        nursery.cancel_scope.cancel()


def test_file_that_is_no_more_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs = LogFiles(tmp_path, limit=10, keep=1)
    (tmp_path / "loop.1.log").symlink_to(tmp_path / "loop.1.log")
    (tmp_path / "gone.1.log").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other").write_text("y" * 50)
    (tmp_path / "link.1.log").symlink_to(tmp_path / "other")
    write(logs, "x" * 50)
    rotate(logs)
    rotate(logs)
    assert (tmp_path / "web.2.log.1").exists()
    assert (tmp_path / "other").read_text() == "y" * 50  # what a link leads to is not emptied
    assert len(caplog.records) == 3
    for name in ("loop", "gone", "link"):
        said = f"{name}.1.log: Too many levels of symbolic links; its output may be lost"
        assert said in caplog.text
    with pytest.raises(UnavailableError, match="symbolic links"):
        tail(logs, TaskId("link", 1, 1), 1)


@pytest.mark.needs_root
def test_full_disk_loses_the_copy_and_makes_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=True)
    try:
        logs = LogFiles(disk, limit=400_000, keep=1)
        write(logs, "x" * 700_000)
        (disk / "other").write_bytes(b"x" * 300_000)
        rotate(logs)
        assert logs.path(TASK).stat().st_size == 0
        assert not (disk / "web.2.log.1").exists()
        assert "No space left on device; its output may be lost" in caplog.text
    finally:
        subprocess.run(["umount", str(disk)], check=True)
