"""An index whose place something else has is unreadable, and holds no one up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from warren.logs import time_index
from warren.logs.time_index import LogIndex, Seen


def test_pipe_in_the_place_of_an_index_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "web.1.log"
    os.mkfifo(path)
    assert time_index.load(path).seen == []
    with pytest.raises(OSError, match="No such device or address"):
        time_index.append(path, Seen(0, 1.0))


def test_link_in_the_place_of_an_index_is_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "web.1.log", tmp_path / "other"
    other.write_text("kept", encoding="utf-8")
    path.symlink_to(other)
    for use in (lambda: time_index.load(path), lambda: time_index.append(path, Seen(0, 1.0))):
        with pytest.raises(OSError, match="symbolic links"):
            use()
    time_index.write(path, LogIndex(7))  # takes the link's place
    assert other.read_text(encoding="utf-8") == "kept"
    assert time_index.load(path).base == 7
