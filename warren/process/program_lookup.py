"""Find programs off the event loop: a mount that does not answer holds up no other task.

    ask --- no lookup yet -------> a thread looks ---> it returns: all callers get the result
     `----- one is under way ------------^      `---> not in time: all are refused until it returns

A thread that looks at a file of a dead mount waits in the kernel, for as long as that takes, and no
cancellation ends it. Invariants: for the same program in the same directory at most one thread
looks, whatever becomes of the callers; and in all no more than `MOST`. A caller that finds that
many under way gets a ShortageError: it is no fault of its program.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import trio

from warren.model.interfaces import CannotRunError, ShortageError
from warren.process import procfs
from warren.process.context import Context, cannot_run, interpreter_of

PATIENCE = 10.0  # seconds
MOST = 512  # threads: a dead mount may have hundreds of programs and directories
REMOTE = (
    "9p", "afs", "ceph", "cifs", "fuse", "gfs", "gpfs", "lustre", "ncp", "nfs", "ocfs", "smb",
    "virtiofs",
)  # fmt: skip
_NESTED = 5  # scripts that are run by scripts: the kernel follows no more
_Key = tuple[str | None, ...]


class Found(NamedTuple):
    """A resolved argv. `is_remote`: what its start opens is on a mount that may stop answering."""

    argv: list[str]
    is_remote: bool = False


class ProgramLookup:
    """Finds programs for all instances of a runtime."""

    def __init__(self) -> None:
        self._lookups: dict[_Key, _Look] = {}  # under way

    def __repr__(self) -> str:
        return f"<ProgramLookup {len(self._lookups)} looking>"

    async def find(self, context: Context, argv: Sequence[str]) -> Found:
        """The argv with the program's full path. Raises CannotRunError."""
        context.check(argv)
        look = self._look_for(context, argv[0])
        with trio.move_on_at(look.until):
            await look.is_over.wait()
        program, is_remote = look.told()
        return Found([program, *argv[1:]], is_remote)

    def _look_for(self, context: Context, name: str) -> _Look:
        """The look under way, or one that begins now."""
        key = (context.cwd, context.env.get("PATH"), name)
        if key not in self._lookups:
            if len(self._lookups) >= MOST:
                raise ShortageError(
                    f"{name}: no thread left to look for it: {MOST} looks have not ended"
                )
            look = _Look(context, name)
            token = trio.lowlevel.current_trio_token()

            def note_back(_: object) -> None:
                with suppress(trio.RunFinishedError):  # no caller waits any more
                    token.run_sync_soon(self._note_back, key)

            try:
                trio.lowlevel.start_thread_soon(look.look, note_back)
            except RuntimeError as error:
                raise ShortageError(f"{name}: no threads left ({error})") from error
            self._lookups[key] = look
        return self._lookups[key]

    def _note_back(self, key: _Key) -> None:
        self._lookups.pop(key).is_over.set()


class _Look:
    """One look for a program: by one thread, for all callers meanwhile."""

    def __init__(self, context: Context, name: str) -> None:
        self.until = trio.current_time() + PATIENCE
        self.is_over = trio.Event()
        self._context = context
        self._name = name
        self._told: tuple[str, bool] | BaseException | None = None

    def look(self) -> None:
        """Look, in a thread."""
        try:
            self._told = _look(self._context, self._name)
        except (OSError, CannotRunError) as error:
            self._told = error.with_traceback(None)  # which would be a cycle
        except BaseException as error:
            self._told = error
            raise

    def told(self) -> tuple[str, bool]:
        """The program's full path, and whether it is remote. Raises CannotRunError."""
        match self._told:
            case None:
                cwd = self._context.cwd
                where = "" if cwd is None else f" or its directory {cwd}"
                said = f"it{where} does not answer: want a mount that does"
                raise CannotRunError(f"{self._name}: {said}")
            case CannotRunError() as error:  # every caller raises its own
                raise CannotRunError(str(error)) from error
            case OSError() as error:
                raise cannot_run(error, self._name) from error
            case BaseException() as error:
                raise error
            case found:
                return found


def _look(context: Context, name: str) -> tuple[str, bool]:
    program = context.resolve([name])[0]
    cwd = context.cwd or "/"
    devices = {os.stat(path).st_dev for path in (program, cwd)}  # noqa: PTH116
    devices |= _interpreters(program, cwd)
    numbers = {f"{os.major(device)}:{os.minor(device)}" for device in devices}
    is_remote = any(
        mount.device in numbers and mount.kind.startswith(REMOTE) for mount in procfs.mounts()
    )
    return program, is_remote


def _interpreters(program: str, cwd: str) -> set[int]:
    """The devices of a script's interpreters. One that is missing is reported by the exec."""
    devices = set[int]()
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        for _ in range(_NESTED):
            if (interpreter := interpreter_of(program)) is None:
                break
            program = os.path.join(cwd, interpreter)  # noqa: PTH118
            devices.add(os.stat(program).st_dev)  # noqa: PTH116
    return devices
