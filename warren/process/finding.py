"""Find a program off the event loop: a mount that does not answer holds up nobody else.

Whoever looks at a file of a dead mount waits in the kernel, for as long as that takes. So a thread
looks, and is left to itself where it is not back in time. Invariant: of the same program in the
same directory one such thread waits at most, and of all together no more than the limiter lets in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from warren.model.seams import CannotRunError, ShortageError
from warren.process.context import Context, cannot_run

PATIENCE = 10.0  # seconds
REMOTE = (
    "9p", "afs", "ceph", "cifs", "fuse", "gfs", "gpfs", "lustre", "ncp", "nfs", "ocfs", "smb",
    "virtiofs",
)  # fmt: skip
_AT_ONCE = 64
_Key = tuple[str | None, ...]


class Found(NamedTuple):
    """A resolved argv. `is_remote`: it or its directory is on a mount that may stop answering."""

    argv: list[str]
    is_remote: bool = False


class Finder:
    """Finds programs for all instances of a runtime."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_AT_ONCE)
        self._silent: dict[_Key, threading.Event] = {}  # set when the thread is back after all

    def __repr__(self) -> str:
        return f"<Finder {self._limiter.borrowed_tokens} looking>"

    async def find(self, context: Context, argv: Sequence[str]) -> Found:
        """The argv with the program's full path. Raises CannotRunError."""
        key = (context.cwd, context.env.get("PATH"), *argv[:1])
        self._silent = {k: back for k, back in self._silent.items() if not back.is_set()}
        if key not in self._silent:
            has_begun, is_back = threading.Event(), threading.Event()

            def look() -> Found:
                has_begun.set()
                try:
                    return _look(context, argv)
                finally:
                    is_back.set()

            with trio.move_on_after(PATIENCE):
                return await self._aside(look, argv)
            if has_begun.is_set():
                self._silent[key] = is_back
        where = "" if context.cwd is None else f" or its directory {context.cwd}"
        raise CannotRunError(f"{argv[0]}: it{where} does not answer: want a mount that does")

    async def _aside(self, look: Callable[[], Found], argv: Sequence[str]) -> Found:
        try:
            return await trio.to_thread.run_sync(
                look, abandon_on_cancel=True, limiter=self._limiter
            )
        except OSError as error:
            raise cannot_run(error, argv[0]) from error
        except RuntimeError as error:
            raise ShortageError(f"{argv[0]}: no threads left ({error})") from error


def _look(context: Context, argv: Sequence[str]) -> Found:
    resolved = context.resolve(argv)
    paths = [resolved[0]] if context.cwd is None else [resolved[0], context.cwd]
    devices = [os.stat(path).st_dev for path in paths]  # noqa: PTH116
    numbers = {f"{os.major(device)}:{os.minor(device)}" for device in devices}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if kind.startswith(REMOTE) and mount.split()[2] in numbers:
            return Found(resolved, is_remote=True)
    return Found(resolved)
