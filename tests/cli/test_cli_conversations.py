"""Golden conversations: commands, and what they answer, with a real `warren up`."""

from __future__ import annotations

from pathlib import Path

import pytest
from conversation import hold, matches, read
from support_up import Command, run, wait_until

FOLDER = Path(__file__).parent / "conversations"
CONVERSATIONS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", CONVERSATIONS, ids=[path.stem for path in CONVERSATIONS])
def test_conversation_goes_as_it_is_written(path: Path, tmp_path: Path, data: Path) -> None:
    env = {"WARREN_DATA_DIR": str(data), "TZ": "UTC", "WARREN_ADDR": "", "WARREN_ENGINE": "none"}
    with Command("up", "--plain", "--name", "n1", cwd=tmp_path / "..", env=env) as up:
        wait_until(lambda: run("status", env=env).returncode == 0, "up answers")
        turns = 0
        for turn in read(path, tmp_path):  # as they go: a file may be written twice
            hold(turn, tmp_path, env)
            turns += 1
        assert turns > 2
        assert up.process.poll() is None


@pytest.mark.parametrize(
    ("wanted", "lines", "is_so"),
    [
        (["a  b"], ["a     b"], True),
        (["a <pid>"], ["a 12"], True),
        (["a <pid>"], ["a x"], False),
        (["a"], ["a", "b"], False),
        (["a", "..."], ["a", "b"], True),
        (["...", "b"], ["a", "b"], True),
        ([], ["a"], False),
        (["a.c"], ["abc"], False),
    ],
)
def test_conversations_can_go_wrong(wanted: list[str], lines: list[str], is_so: bool) -> None:
    assert matches(wanted, lines) is is_so
