"""A socket's file is private, takes the place of a dead one, and goes with its server."""

from __future__ import annotations

import errno
import gc
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pytest
import trio

from tests.transport.wire_links import KINDS, Hang, Played, gate_of, gate_to, serving
from warren.model.address import Address, TcpAddress, UnixAddress
from warren.model.errors import LinkLostError, NotFoundError, SpecError, WarrenError
from warren.model.principal import Principal
from warren.transport.client import open_gate
from warren.transport.server import serve_gate

ROOT = Path(__file__).parents[2]


async def refused(address: Address, *, insecure: bool = False) -> str:
    """Why it may not be listened at."""
    with trio.fail_after(2), pytest.raises(WarrenError) as caught:
        await serve_gate(gate_of(), address, insecure=insecure)
    return str(caught.value)


async def works(address: Address) -> None:
    async with open_gate(address) as gate:
        assert await (await gate.login()).last_event() == 1


async def test_a_sockets_file_is_its_owners_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    async with serving("unix", tmp_path, gate_to(Played(last_event=1))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert within(tmp_path) == ["w.sock"]
        await works(UnixAddress(str(path)))
    assert within(tmp_path) == []


async def test_a_dead_servers_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with serving("unix", tmp_path, gate_to(Played(last_event=1))):
        await works(UnixAddress(str(path)))


async def test_a_living_server_is_left_alone(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "w.sock"))
    async with serving("unix", tmp_path, gate_to(Played(last_event=1))):
        assert await refused(address) == (
            f"cannot listen at {address}: another manager listens there"
        )
        await works(address)


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    path.write_text("mine", "utf-8")
    assert await refused(UnixAddress(str(path))) == (
        f"cannot listen at unix:{path}: what is there is no socket"
    )
    assert path.read_text("utf-8") == "mine"


async def test_a_file_that_others_have_put_there_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    async with serving("unix", tmp_path, gate_of()):
        path.unlink()
        path.write_text("mine", "utf-8")
    assert path.read_text("utf-8") == "mine"


@pytest.mark.parametrize("length", [107, 108, 300])
async def test_a_path_longer_than_the_kernel_takes_is_taken(tmp_path: Path, length: int) -> None:
    name = "w.sock"
    folder = tmp_path / ("d" * (length - len(str(tmp_path)) - len(name) - 2))
    folder.mkdir()
    address = UnixAddress(str(folder / name))
    assert len(address.path) == length
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, address)
        await works(address)
        assert "another manager listens there" in await refused(address)
        nursery.cancel_scope.cancel()
    assert within(folder) == []


async def _serve(address: Address, *, task_status: trio.TaskStatus[Address]) -> None:
    await serve_gate(gate_to(Played(last_event=1)), address, task_status=task_status)


async def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "none" / "w.sock"
    assert await refused(UnixAddress(str(path))) == (
        f"cannot listen at unix:{path}: no such file or directory"
    )


async def test_tcp_must_be_asked_for_as_insecure_and_stays_on_this_machine() -> None:
    assert "--insecure" in await refused(TcpAddress("127.0.0.1", 0))
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(SpecError, match="want a host of this machine"):
            await serve_gate(gate_of(), TcpAddress(host, 0), insecure=True)
        with pytest.raises(SpecError, match="want a host of this machine"):
            async with open_gate(TcpAddress(host, 1)):
                pass


async def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        assert await refused(TcpAddress("127.0.0.1", port), insecure=True) == (
            f"cannot listen at tcp:127.0.0.1:{port}: address already in use"
        )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_any_loopback_host_is_listened_at(host: str) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    async with trio.open_nursery() as nursery:
        address = await nursery.start(_serve_insecurely, TcpAddress(host, 0))
        assert address.port != 0
        await works(address)
        nursery.cancel_scope.cancel()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def _serve_insecurely(
    address: TcpAddress, *, task_status: trio.TaskStatus[TcpAddress]
) -> None:
    status = cast("trio.TaskStatus[Address]", task_status)
    gate = gate_to(Played(last_event=1))
    await serve_gate(gate, address, insecure=True, task_status=status)


async def test_where_nobody_listens_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    with pytest.raises(LinkLostError) as caught:
        async with open_gate(UnixAddress(str(path))):
            pass
    assert str(caught.value) == f"no manager listens at unix:{path}: no such file or directory"
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port: int = unheard.getsockname()[1]
        with pytest.raises(LinkLostError) as caught:
            async with open_gate(TcpAddress("127.0.0.1", port)):
                pass
    assert str(caught.value) == f"no manager listens at tcp:127.0.0.1:{port}: connection refused"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_a_link(kind: str, tmp_path: Path) -> None:
    hang = Hang()

    async def main() -> None:
        cluster = Played(nodes=hang.play, service=NotFoundError("no"), last_event=1)
        async with serving(kind, tmp_path, gate_to(cluster)) as (dial, _), dial() as gate:
            far = await gate.login()
            await far.last_event()
            with pytest.raises(NotFoundError):
                await far.service("web")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.nodes)
                await hang.begun.wait()
                nursery.cancel_scope.cancel()

    trio.run(main)  # what is opened once and kept is opened here
    gc.collect()
    threads, descriptors = threading.active_count(), _descriptors()
    for _ in range(5):
        hang = Hang()
        trio.run(main)
    gc.collect()
    assert threading.active_count() <= threads  # idle ones of earlier tests may end meanwhile
    assert _descriptors() == descriptors


def within(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def _descriptors() -> set[str]:
    return set(within(Path("/proc/self/fd")))


def test_a_program_that_uses_the_wire_ends_without_a_word(tmp_path: Path) -> None:
    text = """
import logging, sys, trio
from pathlib import Path
from tests.transport.wire_links import serving, gate_to, Played
logging.getLogger("asyncio").setLevel(logging.ERROR)  # not what is slow on a busy machine

async def main():
    served = serving("unix", Path(sys.argv[1]), gate_to(Played(last_event=1)))
    async with served as (dial, _), dial() as gate:
        print(await (await gate.login()).last_event())

trio.run(main)
"""
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", text, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1\n", "")


async def test_a_connection_that_fails_for_want_of_descriptors_ends_no_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warren.transport import server as server_module

    real = server_module._principal  # pyright: ignore[reportPrivateUsage]
    failures = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.EIO, "I/O error")]

    def principal(sock: socket.socket) -> Principal:
        if failures:
            raise failures.pop()
        return real(sock)

    monkeypatch.setattr(server_module, "_principal", principal)
    address = UnixAddress(str(tmp_path / "a.sock"))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_gate, gate_to(Played(last_event=1)), address)
        for _ in range(2):
            stream = await trio.open_unix_socket(address.path)
            with trio.fail_after(10):
                assert await stream.receive_some() == b""
            await stream.aclose()
        await works(address)
        nursery.cancel_scope.cancel()
    assert not failures
