from __future__ import annotations

import os
import signal
import subprocess

from warren.process.beside import kill_first, start_in
from warren.process.procfs import read_stat


def test_a_process_that_is_in_no_such_container_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        stat = read_stat(other.pid)
        assert stat is not None
        for container in ("c" * 64, "", "/", "c" * 12):
            assert start_in(other.pid, container) == 0
            assert not kill_first(other.pid, stat.start, container)
        assert other.poll() is None
        other.kill()
        assert other.wait() == -signal.SIGKILL


def test_there_is_none_behind_a_pid_that_nobody_has() -> None:
    for pid in (0, -1, 2**31 - 1, 2**70):
        assert start_in(pid, "c" * 64) == 0
    assert start_in(os.getpid(), "c" * 64) == 0
