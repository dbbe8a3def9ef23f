"""Whose the socket is that listens on a port: the instance's, another's, or nobody knows."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.processes import open_handles
from tests.runtime.runtime_kit import launch, nowhere, wait_ready
from warren.process import listeners
from warren.process.listeners import Listeners
from warren.runtime.process import ProcessRuntime

LISTEN = "import os, socket, time\ns = socket.create_server(('127.0.0.1', 0))\n"
LISTEN6 = "import os, socket, time\ns = socket.create_server(('::1', 0), family=socket.AF_INET6)\n"
TELL = "print(s.getsockname()[1], flush=True)\ntime.sleep(1000)\n"
WORKER = "if os.fork():\n s.close()\n time.sleep(1000)\n"
DAEMON = "if os.fork(): time.sleep(1000)\nos.setsid()\nif os.fork(): os._exit(0)\n"

needs_ipv6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6")


@pytest.fixture
def foreign() -> Generator[int]:
    """A port on which this process listens itself."""
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        yield sock.getsockname()[1]


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(LISTEN + TELL, id="main"),
        pytest.param(LISTEN6 + TELL, id="ipv6", marks=needs_ipv6),
        pytest.param(LISTEN + WORKER + TELL, id="worker"),
        pytest.param(LISTEN + DAEMON + TELL, id="daemon"),
    ],
)
async def test_listener_of_any_process_of_the_tree_is_its_own(
    runtime: ProcessRuntime, script: str
) -> None:
    launched = launch(sys.executable, "-c", script)
    running = await runtime.start(launched, record=nowhere)
    await wait_ready(runtime, launched)
    port = int(runtime.logs.path(launched.task).read_text().splitlines()[-1])
    before = open_handles()
    assert await running.owns_listener(port) is True
    assert open_handles() == before
    other = await runtime.start(launch("sleep", "1000"), record=nowhere)
    assert await other.owns_listener(port) is False
    await other.kill()
    await running.kill()
    assert await running.owns_listener(port) is None


async def test_listener_of_another_process_is_not_its_own(
    runtime: ProcessRuntime, foreign: int
) -> None:
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    assert await running.owns_listener(foreign) is False
    await running.kill()


async def test_port_on_which_nobody_listens_is_nobodys(
    runtime: ProcessRuntime, foreign: int
) -> None:
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    with closing(socket.create_connection(("127.0.0.1", foreign))) as connected:
        assert await running.owns_listener(connected.getsockname()[1]) is None
    await running.kill()


def gone() -> list[int]:
    return [2**22 + 1]


def refused() -> list[int]:
    raise PermissionError(13, "may not be read")


def nobody() -> list[int]:
    return []


@pytest.mark.parametrize("members", [gone, refused, nobody])
async def test_what_cannot_be_read_is_not_known(
    members: Callable[[], list[int]], foreign: int
) -> None:
    assert await Listeners().belong_to(members, foreign) is None


def ours() -> list[int]:
    return [os.getpid()]


async def test_more_than_is_looked_at_is_not_known(
    monkeypatch: pytest.MonkeyPatch, foreign: int
) -> None:
    assert await Listeners().belong_to(ours, foreign) is True
    monkeypatch.setattr(listeners, "_MOST_HANDLES", 1)
    assert await Listeners().belong_to(ours, foreign) is None


@pytest.fixture
def rows(foreign: int) -> list[str]:
    """The kernel's table: its head, and the sockets that listen."""
    head, *rows = Path("/proc/net/tcp").read_text().splitlines(keepends=True)
    return [head, *(row for row in rows if row.split()[3] == "0A")]


async def test_connections_are_not_read_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, foreign: int, rows: list[str]
) -> None:
    table = tmp_path / "tcp"
    table.write_text("".join([*rows, *[rows[1].replace(" 0A ", " 01 ")] * 10_000]))
    monkeypatch.setattr(listeners, "_TABLES", (str(table),))
    monkeypatch.setattr(listeners, "_MOST_BYTES", 1 << 20)
    assert await Listeners().belong_to(ours, foreign) is True
    table.write_text("".join([*rows, *[rows[1]] * 10_000]))
    assert await Listeners().belong_to(ours, foreign) is None


async def test_many_looks_share_the_readings(monkeypatch: pytest.MonkeyPatch, foreign: int) -> None:
    read, readings = listeners.read_tables, list[float]()

    def counted() -> bytes:
        readings.append(time.monotonic())
        return read()

    monkeypatch.setattr(listeners, "read_tables", counted)
    shared, answers = Listeners(), list[bool | None]()

    async def look() -> None:
        answers.append(await shared.belong_to(ours, foreign))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(look)
    assert answers == [True] * 100
    assert len(readings) <= 2
