"""The stock clients as commands, and the conversation they have with any manager's socket."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "stock"
SCHEMA = Path(__file__).parents[2] / "schema" / "warren.capnp"
CLIENTS = ("python", "cpp")
STEPS = ["logged in", "created", "healthy: 1", "scaled", "healthy: 2", "removed", "gone"]


def stock_client(language: str, folder: Path) -> list[str]:
    """The command of a client, to be followed by SOCKET NAME COMMAND...; built in the folder.
    Skips the test where there is nothing to build it with."""
    if language == "python":
        return [sys.executable, str(HERE / "client.py"), str(SCHEMA)]
    missing = [tool for tool in ("capnp", "capnpc-c++", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the C++ client needs {', '.join(missing)} (capnproto, libcapnp-dev, g++)")
    _run(["capnp", "compile", f"-oc++:{folder}", f"--src-prefix={SCHEMA.parent}", str(SCHEMA)])
    program = folder / "client"
    sources = [str(HERE / "client.cpp"), str(folder / "warren.capnp.c++")]
    libraries = ["-lcapnp-rpc", "-lcapnp", "-lkj-async", "-lkj"]
    _run(["g++", "-std=c++17", f"-I{folder}", "-o", str(program), *sources, *libraries])
    return [str(program)]


def converse(client: Sequence[str], socket: str, name: str, *command: str) -> list[str]:
    """Let a client create, scale and remove a service at a manager; the steps it has done."""
    return _run([*client, socket, name, *command]).splitlines()


def _run(command: Sequence[str]) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
