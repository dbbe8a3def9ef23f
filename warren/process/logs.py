"""A task's output in files: appended by the program itself, rotated by copy and truncation.

    <directory>/web.2.log      what the program writes to; it survives the supervisor
    <directory>/web.2.log.1    the newest of `keep` older pieces

Copying loses what is written between copy and truncation; a pipe instead of a file would lose the
program when the supervisor dies. A piece is at most twice `limit`, however fast the flood.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import trio

from warren.model.errors import NotFoundError
from warren.model.identity import TaskId
from warren.model.link import LOG_AT_ONCE
from warren.model.view import LogChunk
from warren.process.logread import Pieces
from warren.watch.boundary import Boundary

_log = logging.getLogger("warren.logs")
_TAIL_CHUNK = 1 << 16
_SHORTEST = 0.25  # seconds between two looks at a directory
_LONGEST = 5.0


class Logs:
    """The log files of one data directory. `limit` is in bytes."""

    def __init__(self, directory: Path, *, limit: int = 10 << 20, keep: int = 3) -> None:
        self.directory = directory
        self._limit = limit
        self._keep = keep
        self._sizes = dict[Path, int]()
        self._cut = dict[Path, int]()
        self._troubled = set[Path]()  # told of already

    def __repr__(self) -> str:
        return f"<Logs {self.directory}, {self._keep} times {self._limit} bytes>"

    def path(self, task: TaskId) -> Path:
        """The file of the task's slot: who replaces a task appends to what it wrote."""
        return self.directory / f"{task.service}.{task.slot}.log"

    def open(self, task: TaskId) -> int:
        """A descriptor to append to. The caller closes it. Raises OSError."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path(task), flags, 0o640)

    def tail(self, task: TaskId, lines: int) -> list[str]:
        """The last lines written, older pieces included where the newest is short."""
        found = list[str]()
        path = self.path(task)
        for piece in [path, *(_piece(path, number) for number in range(1, self._keep + 1))]:
            if len(found) >= lines or not piece.exists():
                break
            found = _last_lines(piece, lines - len(found)) + found
        return found

    def read(self, task: TaskId, *, cursor: str = "", tail: int = 0) -> LogChunk:
        """A piece of the slot's output; see `LogSource` in model/seams.py."""
        newest = self.path(task)
        older = [_piece(newest, number) for number in range(self._keep, 0, -1)]
        pieces = Pieces(newest, older, cut=self._cut.get(newest, 0))
        if not cursor:
            if not newest.exists():
                raise NotFoundError(f"task {task} has written nothing on its node")
            cursor = pieces.tail(tail) if tail else pieces.first()
        data, following = pieces.read(cursor, LOG_AT_ONCE)
        return LogChunk(data=data, cursor=following)

    def services(self) -> set[str]:
        """The services that have files here."""
        return {path.name.partition(".")[0] for path in self.directory.glob("*.log*")}

    def purge(self, service: str) -> None:
        """Remove a service's files. What cannot be removed stays, and is told."""
        for path in self.directory.glob(f"{service}.*.log*"):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._note_trouble(path, error)

    def rotate(self) -> float:
        """Rotate what is over the limit. Gives the seconds until it is worth looking again."""
        pause = _LONGEST
        sizes = dict[Path, int]()
        for path in self.directory.glob("*.log"):
            try:
                size = path.stat().st_size
                if size > self._limit:
                    self._rotate(path, size)
                    size = 0
                    pause = _SHORTEST
            except OSError as error:  # removed meanwhile, or not ours to touch: others go on
                self._note_trouble(path, error)
                continue
            grown = size - self._sizes.get(path, size)
            if grown > 0:
                pause = min(pause, _LONGEST * (self._limit - size) / (2 * grown))
            sizes[path] = size
        self._sizes = sizes
        return max(pause, _SHORTEST)

    def _rotate(self, path: Path, size: int) -> None:
        for number in range(self._keep, 1, -1):
            older = _piece(path, number - 1)
            if older.exists():
                older.replace(_piece(path, number))
        self._cut[path] = max(0, size - 2 * self._limit)
        try:
            if self._keep:
                _copy_end(path, _piece(path, 1), size, 2 * self._limit)
        except OSError as error:  # a full disk: what was not copied is given up, to make room
            self._note_trouble(path, error)
            _piece(path, 1).unlink(missing_ok=True)
        os.truncate(path, 0)

    def _note_trouble(self, path: Path, error: OSError) -> None:
        if path not in self._troubled:
            self._troubled.add(path)
            _log.warning("%s: %s; its output may be lost", path, error.strerror)


async def serve_rotation(
    logs: Logs,
    boundary: Boundary,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Look at the files as often as their growth asks for, and rotate them in a thread."""
    task_status.started()
    while True:
        async with boundary:
            pause = await trio.to_thread.run_sync(logs.rotate)
            await trio.sleep(pause)


def _piece(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _copy_end(source: Path, target: Path, size: int, limit: int) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        offset = max(0, size - limit)
        while offset < size:
            sent = os.sendfile(writer.fileno(), reader.fileno(), offset, size - offset)
            if sent == 0:
                break
            offset += sent


def _last_lines(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        text = b""
        while start > 0 and text.count(b"\n") <= lines:
            step = min(_TAIL_CHUNK, start)
            start -= step
            file.seek(start)
            text = file.read(step) + text
    found = text.decode(errors="replace").splitlines()
    return found[-lines:] if lines else []
