"""What the thread of Cap'n Proto and the listeners live through: shortages, and their own end."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.transport.wire_links import Played, gate_to
from warren.model.address import UnixAddress
from warren.model.errors import LinkLostError
from warren.resilience import boundary
from warren.resilience.conditions import Conditions
from warren.transport import accept_loop, mailbox, portal, server
from warren.transport.client import open_gate
from warren.transport.server import serve_gate

ERRORS = ("EMFILE", "ENFILE", "ENOMEM", "EIO", "EAGAIN", "ENOSPC", "ENOBUFS", "EPERM")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(accept_loop, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(accept_loop, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(accept_loop, "WELL_AFTER", 0.05)
    monkeypatch.setattr(portal, "FIRST_PAUSE", 0.001)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what a thread or the kernel does."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - it gives no event
            await trio.sleep(0.01)


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[tuple[UnixAddress, Conditions], None]:
    address, conditions = UnixAddress(str(folder / "w.sock")), Conditions()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Any]) -> None:
            gate = gate_to(Played(last_event=1))
            await serve_gate(gate, address, conditions=conditions, task_status=task_status)

        await nursery.start(serve)
        yield address, conditions
        nursery.cancel_scope.cancel()


async def works(address: UnixAddress) -> None:
    with trio.fail_after(30):
        async with open_gate(address) as gate:
            assert await (await gate.login()).last_event() == 1


def failing(times: int, real: Any, error: BaseException) -> tuple[Any, list[int]]:
    """A function that fails so often first."""
    calls = list[int]()

    def function(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return real(*args, **kwargs)

    return function, calls


@pytest.mark.parametrize("name", ERRORS)
async def test_a_listener_that_cannot_accept_says_so_once_and_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    number = getattr(errno, name)
    async with served(tmp_path) as (address, conditions):
        accept, calls = failing(20, trio.SocketListener.accept, OSError(number, "short of it"))
        monkeypatch.setattr(trio.SocketListener, "accept", accept)
        await works(address)  # the one that was waited for when it was replaced
        await works(address)
        assert len(calls) > 20
        await until(lambda: not conditions.current())
    said = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(said) == 2  # that it is so, and that it is over
    assert "short of it" in said[0].getMessage()
    assert not any(r.exc_info for r in said)


async def test_a_listener_that_is_closed_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list[trio.SocketListener]()
    real = server.serve_accepting

    async def serve(listener: trio.SocketListener, *rest: Any) -> None:
        found.append(listener)
        await real(listener, *rest)

    monkeypatch.setattr(server, "serve_accepting", serve)
    async with served(tmp_path) as (address, conditions):
        await works(address)
        found[0].socket.close()
        await until(lambda: len(found) == 2)
        await works(address)
        assert not conditions.current()


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.ENOMEM, "no memory"), SystemExit()], ids=repr
)
async def test_an_error_of_the_threads_loop_ends_no_connection(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as (address, conditions), open_gate(address) as gate:
        cluster = await gate.login()
        select, calls = failing(3, mailbox.Selector.select, error)
        monkeypatch.setattr(mailbox.Selector, "select", select)
        for _ in range(20):
            with trio.fail_after(30):
                assert await cluster.last_event() == 1
        assert len(calls) > 3
        await works(address)
        await until(lambda: not conditions.current())


async def test_a_word_to_trio_that_fails_is_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as (address, _), open_gate(address) as gate:
        cluster = await gate.login()
        wake, calls = failing(3, portal.Portal._wake_trio_now, MemoryError())
        monkeypatch.setattr(portal.Portal, "_wake_trio_now", wake)
        with trio.fail_after(30):
            assert await cluster.last_event() == 1
        assert len(calls) > 3


async def test_a_call_for_which_there_is_no_memory_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as (address, _), open_gate(address) as gate:
        cluster = await gate.login()
        make, _ = failing(1, asyncio.SelectorEventLoop.create_task, MemoryError())
        monkeypatch.setattr(portal._Loop, "create_task", make)
        with trio.fail_after(30), pytest.raises(LinkLostError, match="MemoryError"):
            await cluster.last_event()
        with trio.fail_after(30):
            assert await cluster.last_event() == 1


async def test_a_thread_that_ends_is_said_and_another_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as (address, conditions):
        seen = list[str]()
        real = Conditions.set

        def note(self: Conditions, kind: str, message: str) -> None:
            seen.append(f"{kind}: {message}")
            real(self, kind, message)

        monkeypatch.setattr(Conditions, "set", note)
        async with open_gate(address) as gate:
            cluster = await gate.login()
            there = portal._current.get()
            assert there is not None
            there.there.put(there._stop.set)
            with trio.fail_after(30):
                await gate.lost.wait()
            with pytest.raises(LinkLostError, match="is lost"):
                await cluster.last_event()
        await until(lambda: len(seen) == 1 and not conditions.current())
        await works(address)
        assert seen == [
            "hearing connections fails: LinkLostError: the thread that runs Cap'n Proto has ended; "
            "its connections are lost, a new one is begun"
        ]


@pytest.mark.parametrize("what", ["thread", "selector", "pipe"])
async def test_a_thread_that_cannot_be_had_is_a_lost_link_and_then_is_had(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        path = tmp_path / "w.sock"
        listener.bind(os.fspath(path))
        listener.listen()
        with monkeypatch.context() as patch:
            short = OSError(errno.EMFILE, "Too many open files")
            match what:
                case "thread":
                    no = RuntimeError("can't start new thread")
                    patch.setattr(portal.threading.Thread, "start", failing(1, None, no)[0])
                case "selector":
                    patch.setattr(portal, "Selector", failing(1, None, short)[0])
                case _:
                    patch.setattr(portal, "_Loop", failing(1, None, short)[0])
            with pytest.raises(LinkLostError, match="no thread for Cap'n Proto"):
                async with open_gate(UnixAddress(os.fspath(path))):
                    raise AssertionError("never")
        assert portal._current.get() is None
    path.unlink()
    async with served(tmp_path) as (address, _):
        await works(address)
