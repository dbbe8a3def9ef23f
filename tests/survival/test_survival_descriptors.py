"""A program that has used up its last descriptor, and then leaves its supervisor's block (S15)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from support_up import PATIENCE, TRAPPING, marked, unique

LEAVES = """
    import os, resource, sys
    from pathlib import Path

    import trio

    import warren

    async def main() -> None:
        name, directory, *command = sys.argv[1:]
        data_dir = Path(directory) if directory else None
        stop = warren.Stop(grace=warren.Duration(0.2))
        spec = warren.ServiceSpec(name=name, command=warren.Argv(command), replicas=3, stop=stop)
        async with warren.open_supervisor(data_dir=data_dir) as supervisor:
            await (await supervisor.start(spec)).wait_ready()
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
            try:
                while True:
                    os.open("/dev/null", os.O_RDONLY)
            except OSError:
                print("leaving", flush=True)
        print("left", flush=True)

    trio.run(main)
"""


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("command", [("sleep", "99d"), ("sh", "-c", TRAPPING)])
def test_block_is_left_with_no_descriptor_to_spare_and_nothing_runs(
    tmp_path: Path, command: tuple[str, ...], is_kept: bool
) -> None:
    name = unique("ends")
    words = [sys.executable, "-c", dedent(LEAVES), name, str(tmp_path / "data") if is_kept else ""]
    done = subprocess.run(
        [*words, *command], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout == "leaving\nleft\n", done.stderr
    assert done.returncode == 0, done.stderr
    assert marked(name) == {}
