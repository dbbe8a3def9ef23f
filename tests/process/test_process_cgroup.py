"""The cgroup of anybody on the machine can be read, whatever its name: a check's end reads them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from warren.process import cgroup, procfs

BASE = cgroup.find_base("odd")
ODD = b"\xff a\xe2\x80\xa8b\x1c"

pytestmark = pytest.mark.skipif(BASE is None, reason="no writable cgroup2 is mounted here")


@contextlib.contextmanager
def stranger_in(directory: Path) -> Generator[int]:
    """Somebody in a cgroup of its own."""
    directory.mkdir()
    try:
        with subprocess.Popen(["sleep", "1000"]) as process:
            (directory / "cgroup.procs").write_text(str(process.pid))
            try:
                yield process.pid
            finally:
                process.kill()
    finally:
        directory.rmdir()


def test_cgroup_of_an_odd_name_is_told() -> None:
    assert BASE is not None
    own = procfs.cgroup2_path(os.getpid())
    assert own is not None
    name = f"{os.fsdecode(ODD)}-{os.getpid()}"
    with stranger_in(BASE.parent / name) as pid:
        assert procfs.cgroup2_path(pid) == f"{own.rstrip('/')}/{name}"
