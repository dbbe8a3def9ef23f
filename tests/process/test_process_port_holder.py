"""Who listens on a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from warren.process import port_holder
from warren.process.port_holder import PortHolders

LISTENS = """
import socket, sys
with open("/proc/self/comm", "w") as name:
    name.write("we (ird)\\x07")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


def listening(port: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", LISTENS, str(port)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_holder_of_a_port_is_found_as_long_as_it_listens() -> None:  # S23
    holders = PortHolders()
    with listening(0) as one:
        assert one.stdout is not None
        port = int(one.stdout.readline())
        for _ in range(2):
            assert holders.of(port) == f"pid {one.pid} (we (ird)?)"
        one.kill()
    assert holders.of(port) is None
    with listening(port) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == port
        assert holders.of(port) == f"pid {other.pid} (we (ird)?)"
        other.kill()


def test_port_on_which_nobody_listens_has_no_holder() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert PortHolders().of(bound.getsockname()[1]) is None


def test_search_that_takes_too_long_names_nobody_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holders = PortHolders()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with monkeypatch.context() as patch:
            patch.setattr(port_holder, "SOUGHT_FOR", -1.0)
            assert holders.of(port) is None
        assert holders.of(port) is None
        assert PortHolders().of(port) == f"pid {os.getpid()} ({own_name()})"


def own_name() -> str:
    with open("/proc/self/comm", encoding="utf-8") as file:  # noqa: PTH123
        return file.read().strip()
