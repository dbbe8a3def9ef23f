"""The bench says what it needs before it measures anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def refusal(path: Path) -> str:
    """The one line that a bench with this PATH ends with."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    return done.stderr


def test_bench_without_go_says_in_one_line_what_to_install(tmp_path: Path) -> None:
    said = refusal(tmp_path)
    assert "http, load: no `go` on PATH: want pip install -e '.[bench]'" in said


def test_bench_with_an_old_go_says_which_it_wants(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    go.chmod(0o755)
    said = refusal(tmp_path)
    assert "http, load: `go` on PATH is go1.19, not go1.22 or later: want pip" in said
