"""Checks of a process that is stopped and goes on: what breaks meanwhile is our own fault (S1)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PATIENCE = 1.5  # seconds that the server waits for a client which has begun to speak
PROGRAM = """
import sys, trio
from warren.checks import run_check
from warren.model.check import Argv, ExecCheck, HttpCheck, Scheme, TcpCheck
from warren.model.interfaces import CommandResult, Target

kind, port = sys.argv[1], int(sys.argv[2])
check = {
    "https": HttpCheck(port=port, scheme=Scheme.HTTPS),
    "http": HttpCheck(port=port),
    "exec": ExecCheck(Argv(("nc",))),
}[kind]


async def run(argv, *, timeout, output_limit):
    begun = trio.current_time()
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.receive_some()
    return CommandResult(exit_code=1, duration=trio.current_time() - begun)


async def main():
    outcome = await run_check(check, Target(run=run), timeout=10)
    print(outcome.result.value, outcome.detail, flush=True)


trio.run(main)
"""


class ImpatientServer:
    """Takes one client. Where that speaks first, it has begun once it has spoken; whoever is then
    silent for `PATIENCE` seconds is left."""

    def __init__(self, listener: socket.socket, *, speaks_first: bool) -> None:
        self.begun = threading.Event()
        self.is_over = threading.Event()
        self._listener = listener
        self._speaks_first = speaks_first

    def serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            if self._speaks_first:
                connection.recv(1 << 16)
            self.begun.set()
            with suppress(TimeoutError):
                while connection.recv(1 << 16):
                    pass
        self.is_over.set()


@contextmanager
def serving(*, speaks_first: bool) -> Generator[tuple[int, ImpatientServer]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ImpatientServer(listener, speaks_first=speaks_first)
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield listener.getsockname()[1], server
        thread.join()


@pytest.mark.parametrize("kind", ["https", "http", "exec"])
def test_what_breaks_while_we_are_stopped_is_an_error(kind: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", PROGRAM, kind]
    with (
        serving(speaks_first=kind != "exec") as (port, server),
        subprocess.Popen(
            [*argv, str(port)], stdout=subprocess.PIPE, text=True, env=environment
        ) as prober,
    ):
        assert server.begun.wait(60)
        prober.send_signal(signal.SIGSTOP)
        assert server.is_over.wait(60)
        prober.send_signal(signal.SIGCONT)
        said, _ = prober.communicate(timeout=60)
    assert said.startswith("error our own event loop was stalled for "), said  # S1
    assert "; then: " in said
