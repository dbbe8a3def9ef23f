"""Programs of their own for the wire's tests: `python wire_process.py ROLE PATH [UID]`.

serve    a gate whose cluster answers `last_event` and hangs on `nodes`, until it is killed
connect  connects as another user, and prints what it reads until the end
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, cast

import trio

from warren.model.address import UnixAddress
from warren.model.rpc import Gate
from warren.transport.server import serve_gate


class Cluster:
    async def last_event(self) -> int:
        return 7

    async def nodes(self) -> Any:
        await trio.sleep_forever()


class OwnGate:
    async def login(self) -> Any:
        return Cluster()


async def serve(path: str) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, path)
        print("serving", flush=True)


async def _serve(path: str, *, task_status: trio.TaskStatus[Any]) -> None:
    gate = cast("Gate", OwnGate())
    await serve_gate(lambda _: gate, UnixAddress(path), task_status=task_status)


def connect(path: str, uid: int) -> None:
    sock = socket.socket(socket.AF_UNIX)
    os.setuid(uid)
    sock.settimeout(5)
    sock.connect(path)
    print("read", sock.recv(100), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve, sys.argv[2])
    else:
        connect(sys.argv[2], int(sys.argv[3]))
