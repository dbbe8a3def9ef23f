"""One process instance, as the nursery of a task holds it.

    running --- main ends ---> ended, its tree may live on --- kill ---> gone
       `-------------------------- kill ----------------------------------^
       `--- leave ---> left to the next supervisor

`kill` is the only way to gone, and gone means: no process, no zombie of ours, no descriptor; but
for checks that no kill ends (`process/unkillable.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import trio

from warren.model.check import Argv
from warren.model.interfaces import CannotRunError, CommandResult, ShortageError
from warren.model.task import End, Instance
from warren.model.usage import Usage
from warren.process.command import run_command
from warren.process.context import Context
from warren.process.exit_status import end_of
from warren.process.listeners import Listeners
from warren.process.main_process import MainProcess
from warren.process.program_lookup import Found, ProgramLookup
from warren.process.reaper import Reaper
from warren.process.spawn import Starter
from warren.process.tree import ProcessTree
from warren.process.unkillable import UnkillableTrees

MOST_FOUND = 16  # commands: a task has three probes
MOST_STUCK = 16  # checks that cannot be killed: more than any probe needs for a verdict


class ProcessInstance:
    """Implements `RunningInstance` for a process and the tree below it."""

    def __init__(
        self,
        instance: Instance,
        main: MainProcess,
        tree: ProcessTree,
        context: Context,
        reaper: Reaper,
        starter: Starter,
        listeners: Listeners,
        unkillable: UnkillableTrees,
        lookup: ProgramLookup,
    ) -> None:
        self._instance = instance
        self._main = main
        self._tree = tree
        self._context = context
        self._reaper = reaper
        self._starter = starter
        self._listeners = listeners
        self._unkillable = unkillable
        self._lookup = lookup
        self._found: dict[
            Argv, Found
        ] = {}  # of its checks, so that they are not looked up each time
        self._stuck = list[ProcessTree]()  # checks that no kill has ended yet
        self._end: End | None = None
        self._killing = trio.Lock()
        self._is_closing = False
        self._is_gone = False
        self._running = 0
        self._quiet = trio.Event()

    def __repr__(self) -> str:
        state = "gone" if self._is_gone else "ended" if self._end else "running"
        return f"<ProcessInstance {self._instance.id} pid {self._main.pid} {state}>"

    @property
    def instance(self) -> Instance:
        return self._instance

    def mark(self, name: str, value: str) -> None:
        """Add this for the supervisor that adopts it; before it is recorded."""
        handle = {**self._instance.handle, name: value}
        self._instance = msgspec.structs.replace(self._instance, handle=handle)

    @property
    def is_gone(self) -> bool:
        """Whether it was killed and nothing of it is left."""
        return self._is_gone

    async def wait(self) -> End:
        if self._end is None:
            await self._main.wait()
        elif not self._is_gone:  # then there is nothing to go on with but its end
            await trio.lowlevel.checkpoint()
        return self._told()

    async def signal(self, number: int) -> None:
        if not self._is_gone:
            self._main.send(number)
        await trio.lowlevel.checkpoint()

    async def kill(self) -> None:
        with trio.CancelScope(shield=True):
            try:
                self._killing.acquire_nowait()  # a restart waits for this: no pass of the loop
            except trio.WouldBlock:
                await self._killing.acquire()
            try:
                if not self._is_gone:
                    await self._kill()
            finally:
                self._killing.release()

    def leave(self) -> None:
        if not self._is_gone:
            assert not self._running, "its checks end before it is left"
            self._is_closing = self._is_gone = True
            self._main.leave()

    async def run(self, argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
        self._check_open()
        self._running += 1
        try:
            return await self._find_and_run(argv, timeout, output_limit)
        finally:
            self._running -= 1
            if self._is_closing and self._running == 0:
                self._quiet.set()

    async def _find_and_run(self, argv: Argv, timeout: float, output_limit: int) -> CommandResult:
        kept = self._found.get(argv)
        if kept is not None:
            try:
                return await self._run(kept, timeout, output_limit)
            except ShortageError:
                raise
            except CannotRunError:  # it may have been moved or removed: look again, for the reason
                self._found.pop(argv, None)
        found = await self._lookup.find(self._context, argv)
        if len(self._found) < MOST_FOUND:
            self._found[argv] = found
        return await self._run(found, timeout, output_limit)

    async def _run(self, found: Found, timeout: float, output_limit: int) -> CommandResult:
        return await run_command(
            found,
            self._context,
            branch=self._branch,
            reaper=self._reaper,
            starter=self._starter,
            timeout=timeout,
            output_limit=output_limit,
            kill=self.kill_check,
        )

    async def kill_check(self, tree: ProcessTree, then: Callable[[], None] = lambda: None) -> None:
        """End a check's tree; where no kill ends it, go on without waiting for it."""

        def note_dead() -> None:
            then()
            if tree in self._stuck:
                self._stuck.remove(tree)

        if not await self._unkillable.kill(tree, note_dead):
            self._stuck.append(tree)

    async def owns_listener(self, port: int) -> bool | None:
        return await self._listeners.belong_to(self._tree.pids, port)

    async def usage(self) -> Usage | None:
        """Read by a thread: there are several files, and the kernel may take its time."""
        if self._is_gone:
            return None
        return await trio.to_thread.run_sync(self._tree.usage)

    async def _kill(self) -> None:
        self._is_closing = True
        if self._main.look():
            self._told()  # how it ended by itself is known only while its tree exists
        await self._unkillable.kill_but(self._tree, self._stuck)
        if not self._main.is_over:
            await self._main.wait()  # after other waiters: its descriptor is closed next
        if self._running:
            await self._quiet.wait()
        self._told()
        self._main.close()
        self._is_gone = True
        with suppress(OSError):  # a shortage: the next look finds them
            self._reaper.reap_strays()

    def _branch(self) -> ProcessTree:
        self._check_open()
        if len(self._stuck) >= MOST_STUCK:
            raise CannotRunError(f"{len(self._stuck)} checks before this one take no kill, as yet")
        return self._tree.branch()

    def _check_open(self) -> None:
        if self._is_closing:
            raise CannotRunError(f"{self._instance.id} has ended: nothing more runs in it")

    def _told(self) -> End:
        if self._end is None:
            self._end = end_of(self._main.status, self._tree.memory_kill())
        return self._end
