"""A data directory has one Warren of each role at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from warren.store.lock import DataDirectoryError, locked


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
