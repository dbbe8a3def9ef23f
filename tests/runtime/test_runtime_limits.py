"""Limits hold for an instance and all it starts, on a kernel with the whole of cgroup2 (S27).

The cases are in `limits_inside.py`: they run under a Linux of their own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.user_mode_linux import boot, linux, pytest_there

CASES = Path(__file__).with_name("limits_inside.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.untraced,
    pytest.mark.skipif(linux() is None, reason="no user-mode-linux: tests/user_mode_linux.py"),
]


def test_limits_hold_where_cgroup2_has_controllers(tmp_path: Path) -> None:  # S27
    said = boot(tmp_path, pytest_there(str(CASES)))
    wanted = len(re.findall(r"^(?:async )?def test_", CASES.read_text("utf-8"), re.M))
    assert f"{wanted} passed" in said, said
    assert "exit code 0" in said, said
