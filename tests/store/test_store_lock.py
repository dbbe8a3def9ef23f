"""A data directory has one Warren of each role at a time."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from warren.logs.files import LogFiles
from warren.model.identity import TaskId
from warren.store.journal import JournalError, SqliteJournal
from warren.store.lock import DataDirectoryError, locked
from warren.store.up_record import UpRecord, read_note, write_note


def test_second_lock_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    with locked(tmp_path):
        wanted = rf"{tmp_path} is in use by another warren, pid {os.getpid()}; want another"
        with pytest.raises(DataDirectoryError, match=wanted), locked(tmp_path):
            pass
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "some" / "where"
    with locked(directory):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataDirectoryError, match="Not a directory"),
        locked(tmp_path / "file" / "x"),
    ):
        pass


def test_roles_do_not_shut_each_other_out(tmp_path: Path) -> None:
    with locked(tmp_path, role="manager"), locked(tmp_path, role="node"), locked(tmp_path):
        wanted = rf"is in use by another warren manager, pid {os.getpid()}; want another --data-dir"
        with pytest.raises(DataDirectoryError, match=wanted), locked(tmp_path, role="manager"):
            pass
        with pytest.raises(DataDirectoryError, match="warren node"), locked(tmp_path, role="node"):
            pass
    assert {file.name for file in tmp_path.iterdir()} == {"manager.lock", "node.lock", "lock"}


def test_directory_that_others_could_put_things_into_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "open" / "data"
    directory.mkdir(parents=True)
    for part, mode, said in (
        (directory, 0o777, f"data directory {directory}: is writable by everybody (mode 0777); "),
        (directory, 0o1777, f"data directory {directory}: is writable by everybody (mode 1777); "),
        (directory.parent, 0o757, f"{directory}: {directory.parent}: is writable by everybody"),
    ):
        part.chmod(mode)
        with pytest.raises(DataDirectoryError, match=re.escape(said)), locked(directory):
            pass
        part.chmod(0o755)
    directory.parent.chmod(0o1777)  # such as /tmp
    with locked(directory):
        pass


@pytest.mark.needs_root
def test_directory_below_somebody_elses_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "theirs" / "data"
    directory.mkdir(parents=True)
    os.chown(directory.parent, 12345, -1)
    said = rf"{directory.parent}: belongs to uid 12345; want it owned by root or by uid 0"
    with pytest.raises(DataDirectoryError, match=said), locked(directory):
        pass


def test_directory_that_a_group_may_write_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o770)
    with locked(tmp_path):
        assert "may be written by group" in caplog.text


def test_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    aim = tmp_path / "aim"
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "node.lock").symlink_to(aim)
    with pytest.raises(DataDirectoryError, match="symbolic links"), locked(data, role="node"):
        pass
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        (data / name).symlink_to(aim)
        with pytest.raises(JournalError, match=f"{name}: is a symbolic link; want a file"):
            SqliteJournal(data / "journal.sqlite")
        (data / name).unlink()
    (data / "up.json.new").symlink_to(aim)
    write_note(data, UpRecord(services=("a",)))
    assert read_note(data).services == ("a",)
    assert (data / "up.json").stat().st_mode & 0o777 == 0o600
    (data / "up.json").rename(aim)
    (data / "up.json").symlink_to(aim)
    assert read_note(data) == UpRecord()
    (data / "web.1.log").symlink_to(aim)
    with pytest.raises(OSError, match="symbolic links"):
        LogFiles(data).open(TaskId("web", 1, 1))


def test_directory_made_anew_under_a_running_program_lets_no_second_one_in(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with locked(directory, role="node") as hold:
        assert hold.trouble() is None
        directory.rename(tmp_path / "gone")
        assert hold.trouble() is not None
        assert f"{directory} has been removed" in (hold.trouble() or "")
        wanted = rf"removed or replaced under another warren node, pid {os.getpid()}, which still"
        for _ in range(3):
            with pytest.raises(DataDirectoryError, match=wanted), locked(directory, role="node"):
                pass
        with locked(directory, role="manager"):
            pass
        assert f"{directory} has been replaced" in (hold.trouble() or "")
    with locked(directory, role="node") as hold:
        assert hold.trouble() is None
