"""Whoever connects, and whatever they send: it is their own connection that ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trio

from tests.transport.raw_wire import recorded
from tests.transport.wire_links import Dial, Hang, Played, gate_of, gate_to, serving
from warren.model.address import TcpAddress, UnixAddress
from warren.model.check import Argv
from warren.model.errors import LinkLostError, NotFoundError
from warren.model.rpc import Cluster, Gate
from warren.model.service import ServiceSpec
from warren.transport.client import open_gate
from warren.transport.connection import Connection, Limits
from warren.transport.server import serve_gate

PROGRAM = Path(__file__).parent / "wire_process.py"
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def well(folder: Path, *, limits: Limits | None = None) -> AsyncGenerator[str, None]:
    """A served socket's path; a client that was there before is served to the end."""
    cluster = Played(last_event=1)
    serve = serving("unix", folder, gate_to(cluster), limits=limits)
    async with serve as (dial, _), dial() as gate:
        far = await gate.login()
        yield str(folder / "w.sock")
        with trio.fail_after(2):
            assert await far.last_event() == 1
            async with dial() as other:
                assert await (await other.login()).last_event() == 1


async def answer_to(path: str, sent: bytes) -> bytes:
    """What a server says to this, until it hangs up."""
    stream = await trio.open_unix_socket(path)
    said = b""
    async with stream:
        with trio.fail_after(2):
            try:
                await stream.send_all(sent)
                async for chunk in stream:
                    said += chunk
            except trio.BrokenResourceError:
                pass
    return said


def framed(words: int, segments: int = 1) -> bytes:
    """The head of a message of so many words."""
    return struct.pack("<II", segments - 1, words)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"\xff" * 100, id="http"),
        pytest.param(b"\xff" * 64, id="ones"),
        pytest.param(framed(1, segments=600) + bytes(8000), id="segments"),
        pytest.param(framed(1 << 28) + bytes(64), id="huge-head"),
        pytest.param(framed(1) + b"\x04\x00\x00\x00\x05\x00\x05\x00", id="points-out"),
        pytest.param(framed(1) + b"\xff\xff\xff\xff\xff\xff\xff\xff", id="bad-pointer"),
    ],
)
async def test_malformed_bytes_end_their_own_connection(tmp_path: Path, sent: bytes) -> None:
    async with well(tmp_path) as path:
        await answer_to(path, sent)


@pytest.mark.parametrize("seed", range(20))
async def test_garbage_ends_at_most_its_own_connection(tmp_path: Path, seed: int) -> None:
    noise = random.Random(seed)
    spec = ServiceSpec(name="web", command=Argv(["run"]), env={"A": "b"})
    refusing = Played(create=NotFoundError("no"))
    talk = await recorded(tmp_path, refusing, lambda far: far.create(spec))
    assert len(talk) > 300
    async with well(tmp_path) as path:
        for _ in range(20):
            sent = bytearray(talk)
            for _ in range(noise.randrange(1, 6)):
                sent[noise.randrange(len(sent))] = noise.choice(
                    [0, 1, 2, 255, noise.randrange(256)]
                )
            stream = await trio.open_unix_socket(path)
            async with stream:
                await stream.send_all(bytes(sent))
                with trio.move_on_after(0.005):
                    await stream.receive_some()


async def test_those_who_hang_up_at_once_disturb_nobody(tmp_path: Path) -> None:
    async with well(tmp_path) as path:
        for sent in (b"", b"\0", framed(4)):
            for _ in range(50):
                stream = await trio.open_unix_socket(path)
                await stream.send_all(sent)
                await stream.aclose()


async def test_those_who_reset_disturb_nobody(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        gate = gate_to(Played(last_event=1))
        address = await nursery.start(_serve_tcp, gate)
        for sent in (b"", framed(4), b"\xff" * 100):
            for _ in range(20):
                stream = await trio.open_tcp_stream(address.host, address.port)
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await stream.send_all(sent)
                await stream.aclose()
        async with open_gate(address) as found:
            assert await (await found.login()).last_event() == 1
        nursery.cancel_scope.cancel()


async def _serve_tcp(gate: object, *, task_status: trio.TaskStatus[TcpAddress]) -> None:
    await serve_gate(
        cast("type[Gate]", gate),
        TcpAddress("127.0.0.1", 0),
        insecure=True,
        task_status=cast("trio.TaskStatus[object]", task_status),
    )


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_an_oversized_message_ends_its_own_connection(kind: str, tmp_path: Path) -> None:
    cluster = Played(create=None, last_event=1)
    limits = Limits(message=1 << 20)
    big = ServiceSpec(name="web", command=Argv(["run", "x" * (1 << 20)]))
    async with serving(kind, tmp_path, gate_to(cluster), limits=limits) as (dial, _):
        async with dial() as gate, dial() as other:
            far, well_off = await gate.login(), await other.login()
            with trio.fail_after(2), pytest.raises(LinkLostError):
                await far.create(big)
            assert await well_off.last_event() == 1
        assert cluster.calls == [("last_event", {})]


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_connections_beyond_the_limit_are_closed_at_once(kind: str, tmp_path: Path) -> None:
    gate = gate_to(Played(last_event=1))
    async with serving(kind, tmp_path, gate, limits=Limits(connections=2)) as (dial, _):
        async with dial() as one, dial() as two:
            first = await one.login()
            await two.login()
            with trio.fail_after(1):
                async with dial() as three:
                    with pytest.raises(LinkLostError):
                        await three.login()
            assert await first.last_event() == 1
        with trio.fail_after(1):
            await _until_let_in(dial)


async def _until_let_in(dial: Dial) -> None:
    is_in = False
    while not is_in:  # that the two have gone is on its way
        async with dial() as gate:
            with contextlib.suppress(LinkLostError):
                await gate.login()
                is_in = True


async def test_a_connection_whose_gate_fails_is_closed_and_others_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    met = 0

    def make(connection: Connection) -> Gate:
        nonlocal met
        met += 1
        if met == 2:
            raise ZeroDivisionError
        return cast("Gate", Played(login=Played(last_event=1)))

    async with serving("unix", tmp_path, make) as (dial, _), dial() as one:
        far = await one.login()
        async with dial() as two:
            with trio.fail_after(1), pytest.raises(LinkLostError):
                await two.login()
        assert await far.last_event() == 1
    assert "ZeroDivisionError" in caplog.text


def program(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *args],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.needs_root
async def test_another_user_is_hung_up_on_unheard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    met: list[Connection] = []
    has_met = trio.Event()

    def make(connection: Connection) -> Gate:
        met.append(connection)
        has_met.set()
        return cast("Gate", Played())

    async with serving("unix", tmp_path, make):
        path = tmp_path / "w.sock"
        # The file's mode keeps others out already; this is the second lock.
        path.chmod(0o666)
        for folder in [tmp_path, *tmp_path.parents][:-2]:
            folder.chmod(0o755)
        with program("connect", str(path), "65534") as other:
            said = await trio.to_thread.run_sync(other.communicate)
        assert said[0] == "read b''\n"
        assert met == []
        with program("connect", str(path), "0") as own:
            with trio.fail_after(5):
                await has_met.wait()
            own.kill()
    assert "refused a connection: it is of uid 65534" in caplog.text


async def test_a_killed_server_is_lost_within_a_second(tmp_path: Path) -> None:
    path = str(tmp_path / "w.sock")
    with program("serve", path) as server:
        assert server.stdout
        await trio.to_thread.run_sync(server.stdout.readline)
        try:
            async with open_gate(UnixAddress(path)) as gate:
                far = await gate.login()
                assert await far.last_event() == 7
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_is_lost_within_a_second, far)
                    await trio.testing.wait_all_tasks_blocked()
                    server.send_signal(signal.SIGKILL)
                with pytest.raises(LinkLostError, match="is lost: the far side has closed it"):
                    await far.last_event()
        finally:
            server.kill()
    with pytest.raises(LinkLostError) as caught:
        async with open_gate(UnixAddress(path)):
            pass
    assert str(caught.value) == f"no manager listens at unix:{path}: connection refused"


async def _is_lost_within_a_second(cluster: Cluster) -> None:
    with trio.fail_after(2), pytest.raises(LinkLostError):
        await cluster.nodes()


async def test_a_stopped_server_holds_up_nobody_who_cancels(tmp_path: Path) -> None:
    path = str(tmp_path / "w.sock")
    with program("serve", path) as server:
        assert server.stdout
        await trio.to_thread.run_sync(server.stdout.readline)
        try:
            server.send_signal(signal.SIGSTOP)
            with trio.fail_after(2):
                async with open_gate(UnixAddress(path)) as gate:
                    with trio.move_on_after(0.05) as scope:
                        await gate.login()
                    assert scope.cancelled_caught
        finally:
            server.kill()


async def test_calls_of_a_cancelled_server_end(tmp_path: Path) -> None:
    hang = Hang()
    serve = serving("unix", tmp_path, gate_of(login=hang.play))
    async with serve as (dial, scope), dial() as gate, trio.open_nursery() as nursery:
        nursery.start_soon(_login_is_lost, gate)
        await hang.begun.wait()
        scope.cancel()
        with trio.fail_after(1):
            await hang.ended.wait()
            await gate.lost.wait()


async def _login_is_lost(gate: Gate) -> None:
    with trio.fail_after(1), pytest.raises(LinkLostError):
        await gate.login()
