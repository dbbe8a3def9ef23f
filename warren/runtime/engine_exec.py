"""A command in a container, by its engine's exec API (S13).

    create -> start: its output, until it and all that has its output have ended -> how it ended
                `--- timeout or cancelled: nothing that it has started is left

To close the request ends nothing in there: what is left is killed by its pid on this machine, which
the engine tells, or, where that may not be done from here, by another command in the container.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import trio

from warren.engine.answers import Created, Exec
from warren.engine.client import EngineClient
from warren.engine.differences import could_not_run, explained
from warren.engine.errors import EngineAwayError, EngineError, EngineRefusedError, one_line
from warren.engine.frames import FrameReader
from warren.model.check import Argv
from warren.model.interfaces import CannotRunError, CommandResult
from warren.process.beside import CannotSeeError, end_check, start_in
from warren.process.tree import CHECK_VARIABLE
from warren.resilience.backoff import Backoff

FIRST_LOOK, LOOK_EVERY = 0.2, 1.0  # seconds: whether its process has ended while its output lasts
LAST_OUTPUT = 0.1  # seconds for output after the process has ended
ENDING = 10.0  # seconds to end what is left
_numbers = itertools.count(1)


class Inside(NamedTuple):
    """Where it runs: a container, and its first process."""

    container: str
    pid: int
    kind: str  # of engine


class EngineExec:
    """One command. `run` once."""

    def __init__(self, client: EngineClient, inside: Inside, argv: Argv, output_limit: int) -> None:
        self._client = client
        self._inside = inside
        self._argv = argv
        self._limit = output_limit
        self._mark = f"{os.getpid()}-{time.monotonic_ns()}-{next(_numbers)}"
        self._id = ""
        self._output = bytearray()
        self._began = 0.0

    def __repr__(self) -> str:
        return f"<EngineExec {self._argv!r} in {self._inside.container[:12]}>"

    async def run(self, *, timeout: float) -> CommandResult:
        """Run it. Raises CannotRunError where it could not be started, or the engine has gone."""
        try:
            await self._create()
            try:
                return await self._run(timeout)
            finally:
                await self._end()
        except EngineError as error:
            raise CannotRunError(f"the engine could not run the check: {error}") from None

    async def _create(self) -> None:
        asked = {
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": list(self._argv),
            "Env": [f"{CHECK_VARIABLE}={self._mark}"],
        }
        path = f"/containers/{self._inside.container}/exec"
        try:
            created = await self._client.post(path, Created, body=asked)
        except EngineRefusedError as error:
            if error.is_missing or error.is_conflict:
                raise CannotRunError("its container does not run") from None
            raise
        self._id = created.id

    async def _run(self, timeout: float) -> CommandResult:
        asked = {"Detach": False, "Tty": False}
        try:
            async with self._client.stream("POST", f"/exec/{self._id}/start", body=asked) as chunks:
                self._began = trio.current_time()
                with trio.move_on_after(timeout) as scope:
                    await self._read(chunks)
                if scope.cancelled_caught:
                    return self._result(None, timed_out=True)
        except EngineRefusedError as error:
            raise CannotRunError(str(error)) from None
        ended = await self._await_code()
        duration = trio.current_time() - self._began
        if could_not_run(self._inside.kind, ended, bytes(self._output)):
            raise CannotRunError(explained(one_line(self._output.decode(errors="replace"))))
        return self._result(ended.exit_code, duration=duration)

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        """Its output until it ends; what outlives the command does not delay the result."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                backoff = Backoff(FIRST_LOOK, LOOK_EVERY)
                while True:
                    await backoff.wait()
                    if not (await self._look()).running:
                        await trio.sleep(LAST_OUTPUT)
                        nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            frames = FrameReader()
            async for chunk in chunks:
                for piece in frames.feed(chunk):
                    self._output += piece.data[: self._limit - len(self._output)]
            nursery.cancel_scope.cancel()

    async def _await_code(self) -> Exec:
        """Its output may end a moment before it is known how it ended."""
        backoff = Backoff(0.005, 0.5)
        deadline = trio.current_time() + ENDING
        while (found := await self._look()).running or found.exit_code is None:
            if trio.current_time() > deadline:
                raise EngineAwayError("it does not tell how the check has ended")
            await backoff.wait()
        return found

    async def _look(self) -> Exec:
        return await self._client.get(f"/exec/{self._id}/json", Exec)

    def _result(
        self, code: int | None, *, timed_out: bool = False, duration: float | None = None
    ) -> CommandResult:
        return CommandResult(
            exit_code=code,
            timed_out=timed_out,
            output=bytes(self._output),
            duration=trio.current_time() - self._began if duration is None else duration,
        )

    # What it has left

    async def _end(self) -> None:
        """Kill what is left of it, whatever is cancelled. An engine that is away keeps it: the next
        kill of its container ends it."""
        with trio.move_on_after(ENDING, shield=True):
            try:
                found = await self._look()
            except EngineError:
                found = Exec()
            pid = self._known(found.pid) if found.running else 0
            marker = f"{CHECK_VARIABLE}={self._mark}".encode()
            try:
                await trio.to_thread.run_sync(end_check, self._known(self._inside.pid), pid, marker)
            except CannotSeeError:
                if found.running:
                    await self._end_within(pid)

    def _known(self, pid: int) -> int:
        """That pid where its process is in the container; else 0."""
        return pid if start_in(pid, self._inside.container) else 0

    async def _end_within(self, pid: int) -> None:
        """As root in the container: its init cannot be told apart, but the check's process can."""
        inner = inner_pid(pid)
        if not inner:
            return
        asked = {"Cmd": ["sh", "-c", f"kill -KILL {inner}"], "User": "0"}
        try:
            path = f"/containers/{self._inside.container}/exec"
            created = await self._client.post(path, Created, body=asked)
            await self._client.do("POST", f"/exec/{created.id}/start", body={"Detach": True})
        except EngineError:
            return


def inner_pid(pid: int) -> int:
    """The pid of a process in its own namespace; 0 where that is not to be seen."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("NSpid:"):
                    return int(line.split()[-1])
    except OSError:
        return 0
    return 0
