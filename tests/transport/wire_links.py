"""Links of every kind, and an object that plays whatever protocol is asked of it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio

from warren.model.address import Address, TcpAddress, UnixAddress
from warren.model.rpc import Gate
from warren.transport.client import open_gate
from warren.transport.connection import AcceptedConnection, Limits
from warren.transport.memory import memory_gate
from warren.transport.methods import LinkedGate
from warren.transport.server import serve_gate

KINDS = ("memory", "unix", "tcp")
Dial = Callable[[], AbstractAsyncContextManager[LinkedGate]]
MakeGate = Callable[[AcceptedConnection], Gate]


class Played:
    """Notes each call in `calls` and does as its script says: a value is returned, an exception
    raised, a function awaited with the call's arguments."""

    def __init__(self, **script: Any) -> None:
        self.epoch = 7
        self.manager = "m1"
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.script = script

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.script:
            raise AttributeError(name)

        async def play(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            part: Any = self.script[name]
            if isinstance(part, BaseException):
                raise part
            return await part(**arguments) if inspect.iscoroutinefunction(part) else part

        return play


class Hang:
    """Waits for ever when called; tells when it has begun and when it was cancelled."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.ended = trio.Event()

    async def play(self, **_: Any) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


def gate_of(**script: Any) -> MakeGate:
    """The same played gate for every connection."""
    played = cast("Gate", Played(**script))
    return lambda connection: played


def gate_to(cluster: Played) -> MakeGate:
    """A gate whose login leads to this."""
    return gate_of(login=cluster)


@asynccontextmanager
async def serving(
    kind: str, folder: Path, gate: MakeGate, *, limits: Limits | None = None
) -> AsyncGenerator[tuple[Dial, trio.CancelScope], None]:
    """A gate offered over this kind of link: how to reach it, and the scope of the serving."""
    limits = limits or Limits()
    async with trio.open_nursery() as nursery:
        if kind == "memory":
            yield partial(memory_gate, gate, limits=limits), nursery.cancel_scope
        else:
            inner = trio.CancelScope()
            address = await nursery.start(_serve, inner, gate, address_for(kind, folder), limits)
            yield partial(open_gate, address), inner
        nursery.cancel_scope.cancel()


def address_for(kind: str, folder: Path) -> Address:
    return UnixAddress(str(folder / "w.sock")) if kind == "unix" else TcpAddress("127.0.0.1", 0)


async def _serve(
    scope: trio.CancelScope,
    gate: MakeGate,
    address: Address,
    limits: Limits,
    *,
    task_status: trio.TaskStatus[Address],
) -> None:
    with scope:
        await serve_gate(gate, address, insecure=True, limits=limits, task_status=task_status)
