"""One container instance, as the nursery of a task holds it.

    running --- its main process ends ---> ended --- kill ---> gone: the container is removed
       `----------------- kill ------------------------------^
       `--- leave ---> left to the next supervisor

While the engine is away nothing ends by that: `wait` waits, and what has ended meanwhile is known
when it is back. A kill waits for it for a while; then its first process is killed without it, and
the container is removed when the engine is back, or by the next supervisor.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping

import msgspec
import trio

from warren.engine.answers import Container, Statistics, count_of
from warren.engine.client import EngineClient
from warren.engine.errors import EngineAwayError, EngineError, EngineRefusedError
from warren.model.check import Argv
from warren.model.interfaces import CannotRunError, CommandResult
from warren.model.task import End, Instance, MemoryKill, Reason
from warren.model.usage import Usage
from warren.process.beside import is_alive, kill_first, start_in
from warren.process.exit_status import end_of, signal_name
from warren.process.oom_log import kills_in
from warren.resilience.backoff import Backoff
from warren.runtime.engine_exec import EngineExec, Inside
from warren.runtime.engine_link import EngineLink
from warren.runtime.engine_output import CursorFile, OutputCopy

AWAY_PATIENCE = 5.0  # seconds that a kill waits for an engine that does not answer
LAST_OUTPUT = 5.0  # seconds that the rest of the output is copied for
_log = logging.getLogger("warren.engine")


class EngineInstance:
    """Implements `RunningInstance` for a container. `forget` is called when it is gone or left."""

    def __init__(
        self,
        instance: Instance,
        link: EngineLink,
        cursor: CursorFile,
        forget: Callable[[EngineInstance], None],
    ) -> None:
        self.ended = trio.Event()
        self.output: OutputCopy | None = None
        self._instance = instance
        self._link = link
        self._cursor = cursor
        self._forget = forget
        self._end: End | None = None
        self._killing = trio.Lock()
        self._looking = trio.Lock()
        self._is_closing = self._is_gone = False
        self._running = 0
        self._quiet = trio.Event()

    def __repr__(self) -> str:
        state = "gone" if self._is_gone else "ended" if self._end else "running"
        return f"<EngineInstance {self._instance.id} in {self.container[:12]} {state}>"

    @property
    def instance(self) -> Instance:
        return self._instance

    @property
    def container(self) -> str:
        """Its id at the engine."""
        return self._instance.handle["container"]

    @property
    def is_gone(self) -> bool:
        """Whether it was killed, or left."""
        return self._is_gone

    def note_started(self, found: Container) -> None:
        """It runs: with this process, at this address. A pid of no process in the container is not
        known."""
        start = start_in(found.state.pid or 0, self.container)
        pid = found.state.pid if start else None
        handle = dict(self._instance.handle)
        handle["start"] = str(start)
        self._instance = msgspec.structs.replace(
            self._instance, pid=pid, address=found.address(), handle=handle
        )

    async def wait(self) -> End:
        await self.ended.wait()
        assert self._end is not None
        return self._end

    async def signal(self, number: int) -> None:
        if self._is_gone or self.ended.is_set():
            await trio.lowlevel.checkpoint()
            return
        name = self._stop_signal(number)
        try:
            with trio.move_on_after(AWAY_PATIENCE):
                async with self._link.here() as client:
                    await client.do("POST", f"{self._path}/kill", query={"signal": name})
        except EngineRefusedError as error:  # it has ended
            _log.debug("%s takes no signal: %s", self._instance.id, error)
        except EngineAwayError as error:
            _log.warning("%s is not sent its stop signal: %s", self._instance.id, error)

    def _stop_signal(self, number: int) -> str:
        """As the engine names it. The image's own stands for the one that a spec has by default."""
        own = self._instance.handle.get("stop_signal", "")
        return own if own and number == signal.SIGTERM else signal_name(number)

    async def kill(self) -> None:
        with trio.CancelScope(shield=True):
            async with self._killing:
                if not self._is_gone:
                    await self._kill()

    def leave(self) -> None:
        if not self._is_gone:
            self._is_closing = self._is_gone = True
            if self.output is not None:
                self.output.cancel()
            self._forget(self)

    async def run(self, argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
        client = self._link.client
        if self._is_closing or self.ended.is_set():
            raise CannotRunError(f"{self._instance.id} has ended: nothing more runs in it")
        if client is None:
            raise CannotRunError(f"{self._link.name} does not answer: {self._link.trouble}")
        self._running += 1
        try:
            inside = Inside(self.container, self._instance.pid or 0, self._link.kind)
            return await EngineExec(client, inside, argv, output_limit).run(timeout=timeout)
        finally:
            self._running -= 1
            if self._is_closing and not self._running:
                self._quiet.set()

    async def owns_listener(self, port: int) -> bool | None:
        """It has an address of its own, at which nothing else listens."""
        await trio.lowlevel.checkpoint()
        return None

    async def usage(self) -> Usage | None:
        client = self._link.client
        if client is None or self._is_closing or self.ended.is_set():
            return None
        query = {"stream": "false", "one-shot": "true"}
        try:
            found = await client.get(f"{self._path}/stats", Statistics, query=query)
        except EngineError as error:
            _log.debug("%s: %s", self._instance.id, error)
            return None
        cpu, memory = found.cpu_stats, found.memory_stats
        throttled = cpu.throttling_data and cpu.throttling_data.throttled_time
        return Usage(
            memory_used=count_of(memory.usage),
            memory_peak=count_of(memory.max_usage) or None,
            cpu_seconds=_seconds(cpu.cpu_usage.total_usage),
            throttled_seconds=_seconds(throttled) if throttled else None,
            processes=count_of(found.pids_stats.current),
        )

    # How it is

    async def look(self) -> None:
        """Ask the engine how it is, now: it may have ended. Raises EngineError."""
        async with self._looking, self._link.here() as client:
            await self._look(client)

    async def await_end(self) -> None:
        """The engine has told that it ended, which it may know a moment before it says how."""
        backoff = Backoff(0.01, 1.0)
        try:
            while not self.ended.is_set() and not self._is_gone:
                await self.look()
                if not self.ended.is_set():
                    await backoff.wait()
        except EngineError as error:  # then it is looked at when the engine is back
            _log.debug("%s: %s", self._instance.id, error)

    async def _look(self, client: EngineClient) -> Container | None:
        try:
            found = await client.get(f"{self._path}/json", Container)
        except EngineRefusedError as error:
            if not error.is_missing:
                raise
            self.note_end(lost("its container was removed, and not by Warren"))
            return None
        if not found.state.running and found.state.was_started:
            killed = await self._killed_for_memory(found)
            self.note_end(end_of_container(found, killed_for_memory=killed))
        return found

    async def _killed_for_memory(self, found: Container) -> int:
        """How many of it were, by the kernel's log: an engine may not say it."""
        if not (found.host_config.memory and found.state.exit_code == 128 + signal.SIGKILL):
            return 0
        return await trio.to_thread.run_sync(kills_in, self.container)

    def note_end(self, end: End) -> None:
        """It has ended so. The first that is known counts."""
        if self._end is None:
            self._end = end
            self.ended.set()
            if self.output is not None:
                self.output.note_ended()

    # Its end

    @property
    def _path(self) -> str:
        return f"/containers/{self.container}"

    async def _kill(self) -> None:
        self._is_closing = True
        while True:
            with trio.move_on_after(AWAY_PATIENCE) as patience:
                await self._link.wait_up()
            if patience.cancelled_caught:
                await self._kill_without()
                break
            try:
                async with self._link.here() as client:
                    await self._remove(client)
                self._cursor.remove()
                break
            except EngineAwayError as error:
                _log.debug("%s: %s", self._instance.id, error)
                await trio.sleep(0.1)  # until the link has noticed as well
            except EngineRefusedError as error:
                _log.warning("the container of %s is left: %s", self._instance.id, error)
                break
        if self._running:
            with trio.move_on_after(AWAY_PATIENCE):
                await self._quiet.wait()
        self.note_end(lost("its container was removed before it was known how it ended"))
        if self.output is not None:
            self.output.cancel()
        self._is_gone = True
        self._forget(self)

    async def _remove(self, client: EngineClient) -> None:
        if not self.ended.is_set():
            found = await self._look(client)
            if found is not None and found.state.running:
                await ignoring_gone(
                    client.do("POST", f"{self._path}/kill", query={"signal": "SIGKILL"})
                )
                await self._await_dead(client)
        if self.output is not None:
            with trio.move_on_after(LAST_OUTPUT):
                await self.output.done.wait()
        await remove(client, self.container)

    async def _await_dead(self, client: EngineClient) -> None:
        backoff = Backoff(0.01, 0.5)
        while not self.ended.is_set():
            with trio.move_on_after(backoff.next()):
                await self.ended.wait()
            if not self.ended.is_set():
                await self._look(client)

    async def _kill_without(self) -> None:
        """The engine is away: without it, as far as that goes."""
        pid, start = self._instance.pid, int(self._instance.handle.get("start", "0"))
        if pid and kill_first(pid, start, self.container):
            backoff = Backoff(0.001, 0.1)
            with trio.move_on_after(AWAY_PATIENCE):
                while is_alive(pid, start):
                    await backoff.wait()
            self.note_end(end_of(signal.SIGKILL))
        _log.warning(
            "%s was ended without its engine; its container is removed later", self._instance.id
        )


async def remove(client: EngineClient, container: str) -> None:
    """Remove a container, running or not, with the volumes that have no name. Raises
    EngineError."""
    query = {"force": "true", "v": "true"}
    backoff = Backoff(0.05, 1.0)
    deadline = trio.current_time() + 30
    while True:
        try:
            await client.do("DELETE", f"/containers/{container}", query=query)
        except EngineRefusedError as error:
            if error.is_missing:
                return
            if not error.is_conflict or trio.current_time() > deadline:  # it is being removed
                raise
            await backoff.wait()
        else:
            return


async def ignoring_gone(asked: object) -> None:
    """Await it; that it has ended or is gone already is no error. Raises EngineAwayError."""
    try:
        await asked  # type: ignore[misc]
    except EngineRefusedError as error:
        _log.debug("%s", error)


def end_of_container(found: Container, *, killed_for_memory: int = 0) -> End:
    """How a container ended, from its engine's words. A code over 128 is a signal's, as engines
    have no other way to say it."""
    state = found.state
    code = state.exit_code or 0
    if state.error and code:
        end = end_of((code & 0xFF) << 8)
        return msgspec.structs.replace(end, message=f"{end.message}: {state.error}")
    number = code - 128
    if 0 < number <= signal.SIGRTMAX and number in _FATAL:
        if number == signal.SIGKILL and (state.is_out_of_memory or killed_for_memory):
            # One process at least; engines tell neither how many nor the most that it had.
            limit = found.host_config.memory or None
            killed = max(1, killed_for_memory)
            return end_of(number, MemoryKill(killed=killed, limit_bytes=limit))
        return end_of(number)
    return end_of((code & 0xFF) << 8)


_FATAL: Mapping[int, str] = {
    one.value: one.name
    for one in signal.Signals
    if one not in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
}


def _seconds(told: msgspec.Raw) -> float | None:
    nanoseconds = count_of(told)
    return None if nanoseconds is None else nanoseconds / 1e9


def lost(message: str) -> End:
    """An end of which nothing is known."""
    return End(reason=Reason.LOST, message=message, at=time.time())
