"""Programs of their own for the wire's tests: `python wire_process.py ROLE PATH [UID]`.

serve    a gate whose cluster answers `last_event` and hangs on `nodes`, until it is killed
tell     the same as another user, and the answer is the uid of whoever asks
connect  connects as another user, and prints what it reads until the end
ask      asks for `last_event` as another user, and prints the answer
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any, cast

import trio

from warren.model.address import UnixAddress
from warren.model.rpc import Gate
from warren.transport.client import open_gate
from warren.transport.connection import AcceptedConnection
from warren.transport.server import serve_gate


class Cluster:
    def __init__(self, answer: int) -> None:
        self._answer = answer

    async def last_event(self) -> int:
        return self._answer

    async def nodes(self) -> Any:
        await trio.sleep_forever()


class OwnGate:
    def __init__(self, answer: int) -> None:
        self._cluster = Cluster(answer)

    async def login(self) -> Any:
        return self._cluster


def seven(connection: AcceptedConnection) -> Gate:
    return cast("Gate", OwnGate(7))


def uid_of(connection: AcceptedConnection) -> Gate:
    assert connection.principal.uid is not None
    return cast("Gate", OwnGate(connection.principal.uid))


async def serve(path: str, gate: Callable[[AcceptedConnection], Gate]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, path, gate)
        print("serving", flush=True)


async def _serve(
    path: str,
    gate: Callable[[AcceptedConnection], Gate],
    *,
    task_status: trio.TaskStatus[Any],
) -> None:
    await serve_gate(gate, UnixAddress(path), task_status=task_status)


async def ask(path: str) -> None:
    async with open_gate(UnixAddress(path)) as gate:
        print(await (await gate.login()).last_event(), flush=True)


def connect(path: str, uid: int) -> None:
    sock = socket.socket(socket.AF_UNIX)
    os.setuid(uid)
    sock.settimeout(5)
    sock.connect(path)
    print("read", sock.recv(100), flush=True)


if __name__ == "__main__":
    role, where, *rest = sys.argv[1:]
    if role == "serve":
        trio.run(serve, where, seven)
    elif role == "connect":
        connect(where, int(rest[0]))
    else:
        os.setuid(int(rest[0]))
        if role == "tell":
            trio.run(serve, where, uid_of)
        else:
            trio.run(ask, where)
