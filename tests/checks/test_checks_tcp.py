"""TCP checks (S12)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import closing

import pytest
import trio
import trio.testing
from check_servers import (
    CALM,
    Ending,
    Found,
    deaf_listener,
    free_port,
    held_sockets,
    resolve_by,
    serving,
)

from warren.checks import run_check
from warren.checks.tcp import TcpChecker
from warren.model.check import Result, TcpCheck
from warren.model.interfaces import Target
from warren.net.closing import LINGER, DialRate
from warren.net.dial import Address, call, connected

TIME = 5.0


async def nothing(_stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_tcp_passes_when_accepted(host: str) -> None:
    async with serving(nothing, host=host) as target:  # S12, S14
        outcome = await run_check(TcpCheck(), target, timeout=TIME)
        assert (outcome.result, outcome.detail) == (Result.PASS, "connected")
        assert not held_sockets(target.ports["http"])


async def test_tcp_sends_nothing_and_ends_in_order() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # S12
        port = server.getsockname()[1]
        await run_check(TcpCheck(port=port), Target(), timeout=TIME)
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(1) == b""


async def test_tcp_ends_in_order_where_the_server_speaks_first() -> None:
    ending = Ending()  # S12

    async def greet(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        await ending.watch(stream)
        await stream.send_all(b"221 bye\r\n")

    async with serving(greet) as target:
        assert (await run_check(TcpCheck(), target, timeout=TIME)).result is Result.PASS
        assert await ending.wait() == "in order"


async def test_tcp_is_a_pass_though_the_server_never_closes() -> None:
    async with serving(nothing) as target:
        outcome = await CALM(TcpCheck(), target, timeout=LINGER / 2)
    assert outcome.result is Result.PASS
    assert outcome.duration < LINGER / 2


async def test_tcp_resets_an_address_that_is_asked_very_often() -> None:
    now = [0.0]
    checker = TcpChecker(frequency=DialRate(often=3, clock=lambda: now[0]))
    endings: list[Ending] = []

    async def watch(stream: trio.abc.Stream) -> None:
        endings.append(Ending())
        await endings[-1].watch(stream)

    async with serving(watch) as target:
        for _ in range(5):
            await checker(TcpCheck(), target, timeout=TIME)
        await trio.testing.wait_all_tasks_blocked()
        assert [await one.wait() for one in endings] == ["in order"] * 3 + ["reset"] * 2  # S11
        now[0] = 1.5
        await checker(TcpCheck(), target, timeout=TIME)
        await trio.testing.wait_all_tasks_blocked()
        assert await endings[5].wait() == "reset"  # so it was a second ago
        now[0] = 4.0
        await checker(TcpCheck(), target, timeout=TIME)
        await trio.testing.wait_all_tasks_blocked()
        assert await endings[6].wait() == "in order"


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_tcp_asks_the_host_the_check_names(host: str) -> None:
    async with serving(nothing, host=host) as target:  # S14
        asked = Target(address="192.0.2.1", ports=target.ports)
        outcome = await run_check(TcpCheck(host=host), asked, timeout=TIME)
    assert outcome.detail == "connected"


async def test_tcp_fails_when_refused() -> None:
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        port = free_port()
        outcome = await run_check(TcpCheck(port=port), Target(address=host), timeout=TIME)  # S1
        refused = f"{shown}:{port}: Connection refused"
        assert (outcome.result, outcome.detail) == (Result.FAIL, refused)


async def test_tcp_fails_when_nobody_accepts_in_time() -> None:
    with deaf_listener() as target:  # S9
        outcome = await CALM(TcpCheck(), target, timeout=0.2)
    assert (outcome.result, outcome.detail) == (Result.FAIL, "no connection within 200ms")


@pytest.mark.parametrize("address", ["a..b", "\0", ""])
async def test_tcp_unusable_address_is_a_fail(address: str) -> None:
    outcome = await run_check(TcpCheck(port=80), Target(address=address), timeout=TIME)  # S1
    assert outcome.result is Result.FAIL


async def test_tcp_unknown_port_is_an_error() -> None:
    outcome = await run_check(TcpCheck(port="db"), Target(), timeout=TIME)  # S1
    assert outcome.result is Result.ERROR


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1"])
async def test_tcp_tries_every_address_of_a_name(
    listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(nothing, host=listening) as target:

        def both(_host: str, port: int) -> Found:
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            ]

        resolve_by(monkeypatch, both)
        asked = Target(address="two.example", ports=target.ports)
        assert (await run_check(TcpCheck(), asked, timeout=TIME)).result is Result.PASS


async def test_tcp_a_call_to_oneself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody listens; the kernel may pick the very port asked as ours, and TCP then connects.
    port = free_port()

    def call_from_the_same_port(address: Address) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.setblocking(False)
        sock.connect_ex(address.sockaddr)
        return sock

    monkeypatch.setattr("warren.net.dial.call", call_from_the_same_port)
    with pytest.raises(ConnectionRefusedError):
        closing(await connected(Address(socket.AF_INET, ("127.0.0.1", port))))


async def test_tcp_unreachable_is_a_fail_and_no_local_port_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unreachable = await run_check(TcpCheck(port=80), Target(address="255.255.255.255"), timeout=1)
    assert unreachable.result is Result.FAIL  # S1

    def no_port(_address: Address) -> socket.socket:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr("warren.net.dial.call", no_port)
    outcome = await run_check(TcpCheck(port=80), Target(), timeout=1)
    assert outcome.result is Result.ERROR


def _reset(accepted: socket.socket, _caller: socket.socket) -> None:
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()


def _end_and_reset(accepted: socket.socket, caller: socket.socket) -> None:
    accepted.shutdown(socket.SHUT_WR)
    _reset(accepted, caller)


def _reset_behind_its_code(accepted: socket.socket, caller: socket.socket) -> None:
    _reset(accepted, caller)
    caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # as if it had come after this was read


@pytest.mark.parametrize("close", [_reset, _end_and_reset, _reset_behind_its_code])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tcp_passes_where_the_server_accepts_and_resets_at_once(
    host: str,
    close: Callable[[socket.socket, socket.socket], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What our loop sees of it depends on our own load alone: here always the end.
    with socket.create_server(("127.0.0.1", 0)) as server:

        def call_and_be_reset(address: Address) -> socket.socket:
            caller = call(address)
            accepted, _ = server.accept()
            close(accepted, caller)
            return caller

        monkeypatch.setattr("warren.net.dial.call", call_and_be_reset)
        port = server.getsockname()[1]
        outcome = await run_check(TcpCheck(port=port, host=host), Target(), timeout=TIME)  # S12
    assert (outcome.result, outcome.detail) == (Result.PASS, "connected")
    assert not held_sockets(port)


async def test_tcp_without_a_place_in_the_kernels_table_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_sock: socket.socket) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # over fs.epoll.max_user_watches

    monkeypatch.setattr(trio.lowlevel, "wait_writable", full)
    async with serving(nothing) as target:
        outcome = await run_check(TcpCheck(), target, timeout=TIME)  # S1
        assert outcome.result is Result.ERROR
        assert outcome.detail.startswith("no room to watch a connection")
        assert not held_sockets(target.ports["http"])
