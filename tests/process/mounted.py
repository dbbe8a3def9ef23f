"""`mounted.py DIR` mounts things at odd names below it, and prints what is found all the same.

To be run in a mount namespace of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trio

from warren.process.choose_tree import choose_trees
from warren.process.context import Context
from warren.process.program_lookup import ProgramLookup
from warren.process.reaper import Reaper

ODD = (b"\xff", "a\u2028b".encode(), b"a\x1cb", b"a b\n")


async def report() -> str:
    """What is found here: a program, and where instances get their trees."""
    found = await ProgramLookup().find(Context(env={}), ["true"])
    return f"{found} {choose_trees(None, token='odd', reaper=Reaper())}"


def main(directory: bytes) -> None:
    for name in ODD:
        path = Path(os.fsdecode(directory + b"/" + name))
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    print(trio.run(report))


if __name__ == "__main__":
    main(os.fsencode(sys.argv[1]))
