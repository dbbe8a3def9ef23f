"""Run one command to its end in a task's context, and leave nothing of it behind (S13).

    spawn -> [ read output, watch the end ] -> drain -> kill its tree -> reap -> result
                 | timeout or cancellation ----^

One epoll object covers pipe and process, so that Trio waits once and no task is needed. The
pipe's writing end stays open here: its end-of-file would be a second wake-up of no use,
as a grandchild may hold the pipe, and a command may close it and live on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from warren.model.interfaces import CannotRunError, CommandResult, ShortageError
from warren.process.context import Context, cannot_run
from warren.process.exit_status import child_status, split_status
from warren.process.program_lookup import Found
from warren.process.readable import wait_readable
from warren.process.reaper import Reaper
from warren.process.spawn import GatedStart, Starter
from warren.process.tree import ProcessTree, kill_surely

Kill = Callable[[ProcessTree, Callable[[], None]], Awaitable[object]]
_CHUNK = 65536  # what a pipe holds


async def kill_then(tree: ProcessTree, then: Callable[[], None]) -> None:
    """Kill it, for as long as that takes; `then` is called when it is dead."""
    await kill_surely(tree)
    then()


async def run_command(
    found: Found,
    context: Context,
    *,
    branch: Callable[[], ProcessTree],
    reaper: Reaper,
    starter: Starter,
    timeout: float,
    output_limit: int,
    kill: Kill = kill_then,
) -> CommandResult:
    """Run what was found in the tree `branch` makes. `timeout` is in seconds, from its start.

    `kill` ends the tree; it may return before all is dead, where a kill has no effect for now.
    Raises CannotRunError when it cannot be started.
    """
    await trio.lowlevel.checkpoint()
    try:
        output = _Output(output_limit)
        try:
            tree = branch()
            begun = await _begin(found, context, tree, starter, output.writer)
            pid = begun if isinstance(begun, int) else begun.pid
            reaper.hold(pid)
            began = trio.current_time()
            try:
                if isinstance(begun, int):
                    _add(tree, pid)
                else:
                    tree.receive(pid)
                    await begun.open()
                    began = trio.current_time()
                pidfd = output.watch(pid)
                with trio.move_on_after(timeout):
                    while not await output.read_until(pidfd):
                        pass
                status = child_status(pidfd)
                duration = trio.current_time() - began
                output.drain()
            finally:
                output.close()  # first, as killing may need the descriptors
                if not isinstance(begun, int):
                    begun.close()
                reap = partial(_reap, reaper, pid)
                try:
                    await kill(tree, reap)
                except OSError:
                    reap()  # it is to end, whatever its tree could do
                    raise
        finally:
            output.close()
    except OSError as error:
        raise cannot_run(error, found.argv[0]) from error
    kept = bytes(output.kept)
    if status is None:
        return CommandResult(exit_code=None, timed_out=True, output=kept, duration=duration)
    exit_code, name = split_status(status)
    return CommandResult(exit_code=exit_code, signal=name, output=kept, duration=duration)


def _reap(reaper: Reaper, pid: int) -> None:
    _send(pid, signal.SIGKILL)
    reaper.reap_at_its_end(pid)
    reaper.reap_strays()  # what had ended before it could be moved into the tree


async def _begin(
    found: Found, context: Context, tree: ProcessTree, starter: Starter, output: int
) -> int | GatedStart:
    """Start it, at once or behind a gate; where that fails, the tree is discarded."""
    argv = found.argv
    marked = context.with_env(tree.env)
    try:
        # At once means that our event loop waits until it runs: not for a mount that may be dead.
        if starter.may_exec(context) and not found.is_remote:
            return starter.spawn(argv, marked, output=output)
        gated = await starter.start(argv, marked, output=output, cgroup=tree.cgroup)
    except CannotRunError:
        tree.discard()
        raise
    os.close(gated.pidfd)  # it is watched as any other; until it is reaped its pid is its own
    return gated


def _add(tree: ProcessTree, pid: int) -> None:
    try:
        tree.add(pid)
    except OSError:
        # Until it can be killed. Stopped only: what it has forked is found by its parent.
        _send(pid, signal.SIGSTOP)
        raise


def _send(held: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # another user's, set-uid
        os.kill(held, number)


class _Output:
    """The first `limit` bytes a command writes; the rest is read and discarded."""

    def __init__(self, limit: int) -> None:
        self.kept = bytearray()
        self._limit = limit
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        self._handles = [self._reader, self.writer]
        try:
            os.set_blocking(self._reader, False)
            self._events = select.epoll()
        except OSError:
            self._close_handles()
            raise
        try:
            self._register(self._reader)
        except (OSError, ShortageError):
            self.close()
            raise

    def watch(self, pid: int) -> int:
        """Wake at the child's end too; returns its pidfd. Raises OSError, ShortageError."""
        pidfd = os.pidfd_open(pid)
        self._handles.append(pidfd)
        self._register(pidfd)
        return pidfd

    async def read_until(self, pidfd: int) -> bool:
        """Wait and read once; whether the process has ended."""
        await wait_readable(self._events.fileno())
        ready = self._events.poll(0)
        if any(handle == pidfd for handle, _ in ready):
            return True
        self._read()
        return False

    def drain(self) -> None:
        """Keep what is in the pipe, without waiting for other processes that may hold it."""
        while len(self.kept) < self._limit and self._read():
            pass

    def close(self) -> None:
        """Close every descriptor. Harmless twice."""
        self._events.close()
        self._close_handles()

    def _register(self, handle: int) -> None:
        try:
            self._events.register(handle, select.EPOLLIN)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # which here is no full disk
                raise
            said = "no room to watch a command: fs.epoll.max_user_watches is reached"
            raise ShortageError(said) from error

    def _read(self) -> int:
        try:
            chunk = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return 0
        self.kept += chunk[: max(self._limit - len(self.kept), 0)]
        return len(chunk)

    def _close_handles(self) -> None:
        while self._handles:
            os.close(self._handles.pop())
