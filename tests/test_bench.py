"""The bench says what it needs before it measures anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_bench_without_go_says_in_one_line_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "http, load: no `go` on PATH: want pip install -e '.[bench]'" in done.stderr
    assert done.stdout == ""
