"""A task's output in files: appended by the program itself, rotated by copy and truncation.

    <directory>/web.2.log          what the program writes to; it survives the supervisor
    <directory>/web.2.log.1        the newest of `keep` older pieces
    <directory>/index/web.2.log    when it was written, and by which instance (time_index.py)

Copying loses what is written between copy and truncation; a pipe instead of a file would lose the
program when the supervisor dies. Every slot has a lock: for its names and positions, and while its
file is truncated, but not while it is copied.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from warren.logs import time_index
from warren.logs.followers import Followers, Growth
from warren.logs.reading import SlotFiles
from warren.logs.time_index import LogIndex, Seen
from warren.model.errors import InvalidError, UnavailableError
from warren.model.identity import TaskId
from warren.model.view import LOG_AT_ONCE, LogChunk, LogPiece, LogWanted, SlotName

_log = logging.getLogger("warren.logs")
# Opening a pipe waits for a reader, unless O_NONBLOCK.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE = 0o640
_SUFFIX = ".log"
PATIENCE = 0.05  # seconds that a start waits for a file that is being truncated
_MADE_AT_ONCE = 4  # slots whose files are made


class LogFiles:
    """The log files of one data directory. `limit` is in bytes.

    A piece is at most twice the limit, and so is the file that is written to, however fast it grows
    (see watcher.py).
    """

    def __init__(self, directory: Path, *, limit: int = 10 << 20, keep: int = 3) -> None:
        self.directory = directory
        self.limit = limit
        self.keep = keep
        self._lock = threading.Lock()  # of the table of slots
        self.followers = Followers()
        self._slots: dict[str, SlotFiles] = {}
        self._making = trio.CapacityLimiter(_MADE_AT_ONCE)
        self._troubled = set[str]()  # reported already
        self._is_prepared = False

    def __repr__(self) -> str:
        return f"<LogFiles {self.directory}, {self.keep} times {self.limit} bytes>"

    def path(self, task: TaskId) -> Path:
        """The file of the task's slot: the next task in a slot appends to what the last wrote."""
        return self.directory / file_name(task.service, task.slot)

    def prepare(self) -> None:
        """Make the directories. Raises OSError."""
        for directory in (self.directory, self.directory / "index"):
            _refuse_link(directory)
            os.makedirs(directory, 0o750, exist_ok=True)  # noqa: PTH103
        self._is_prepared = True

    async def begin(self, task: TaskId, instance: str) -> int:
        """`open`, in a thread where it is the slot's first time here: the disk may take a while to
        make a file. Not cut short when cancelled."""
        if file_name(task.service, task.slot) in self._slots:
            return self.open(task, instance)
        return await trio.to_thread.run_sync(self.open, task, instance, limiter=self._making)

    def open(self, task: TaskId, instance: str = "") -> int:
        """A descriptor to append to, for an instance that begins now. The caller closes it.
        Raises OSError."""
        path = self.path(task)
        try:
            if self._is_prepared:
                _refuse_link(self.directory)
            else:
                self.prepare()
            handle = _opened(path)
        except (FileNotFoundError, NotADirectoryError):  # removed or replaced meanwhile
            self.prepare()
            handle = _opened(path)
        if instance:
            try:
                self._note_start(self.slot(path.name), handle, task, instance)
            except OSError as error:  # no reason to fail the start
                self.note_trouble(path.name, error)
                self._is_prepared = False
        return handle

    def _note_start(self, slot: SlotFiles, handle: int, task: TaskId, instance: str) -> None:
        if not slot.lock.acquire(timeout=PATIENCE):  # no reason to stall it either
            return
        try:
            found = os.fstat(handle)
            place = slot.base + found.st_size
            if found.st_size and not slot.index.reaches(place):  # as the next one writes over it
                self.note(slot, Seen(place, found.st_mtime))
            self.note(slot, Seen(place, time.time(), str(task), instance))
        finally:
            slot.lock.release()

    # Reading: `LogSource`

    def read(self, wanted: LogWanted, limit: int = LOG_AT_ONCE) -> LogChunk:
        """A piece of a slot's output. Raises InvalidError, UnavailableError."""
        path = self.directory / file_name(wanted.service, wanted.slot)
        said = f"the output of {wanted.service}.{wanted.slot}"
        try:
            _refuse_link(self.directory)
            slot = self.slot(path.name)
            with slot.lock:
                cursor = wanted.cursor
                if not cursor:
                    cursor = str(slot.begin(tail=wanted.tail, since=wanted.since))
                return slot.read(cursor, limit, times=wanted.times)
        except OSError as error:
            raise UnavailableError(f"{said} cannot be read: {error.strerror}") from None

    async def pieces(self, wanted: Sequence[LogWanted], limit: int) -> list[LogPiece]:
        """What there is of several slots; see `LogSource`. In a thread: readers of a file that is
        being truncated wait."""
        return await trio.to_thread.run_sync(self._pieces, wanted, limit)

    def _pieces(self, wanted: Sequence[LogWanted], limit: int) -> list[LogPiece]:
        pieces = list[LogPiece]()
        for index, one in enumerate(wanted):
            try:
                chunk = self.read(one, limit)
            except (UnavailableError, InvalidError) as error:  # of this one alone
                pieces.append(LogPiece(index=index, absent=str(error)))
                continue
            # Where it begins is news as well: `tail` and `since` are asked once.
            if chunk.data or chunk.lost or not one.cursor:
                pieces.append(LogPiece(index=index, chunk=chunk))
        return pieces

    @contextmanager
    def watching(self, slots: Sequence[SlotName]) -> Generator[Growth]:
        """Whether any of these slots grows, from here on."""
        names = [file_name(slot.service, slot.slot) for slot in slots]
        with self.followers.watching(names) as growth:
            yield growth

    def kept(self) -> list[SlotName]:
        """The slots that have output here, in order."""
        found = set[SlotName]()
        for name in self._names():
            service, dot, rest = name.partition(".")
            number, dot, _ = rest.partition(_SUFFIX)
            if dot and number.isdecimal():
                found.add(SlotName(service=service, slot=int(number)))
        return sorted(found, key=lambda slot: (slot.service, slot.slot))

    def services(self) -> set[str]:
        """The services that have output here."""
        return {slot.service for slot in self.kept()}

    def purge(self, service: str) -> None:
        """Remove a service's files. What cannot be removed stays, and is logged."""
        for name in self._names():
            if name.partition(".")[0] != service:
                continue
            self._slots.pop(name, None)
            for path in (self.directory / name, self.directory / "index" / name):
                try:
                    os.unlink(path)  # noqa: PTH108 - one of the calls that a test lets fail
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self.note_trouble(name, error)

    # For the watcher (watcher.py)

    def names(self) -> list[str]:
        """The files that are written to. Raises OSError."""
        _refuse_link(self.directory)
        with os.scandir(self.directory) as entries:
            return [entry.name for entry in entries if entry.name.endswith(_SUFFIX)]

    def slot(self, name: str) -> SlotFiles:
        """A slot's files. Raises OSError."""
        found = self._slots.get(name)
        if found is None:
            with self._lock:
                if name not in self._slots:
                    self._slots[name] = SlotFiles(self.directory / name, self.keep)
                found = self._slots[name]
        return found

    def note(self, slot: SlotFiles, seen: Seen) -> None:
        """Record what was seen of the newest piece. With its lock. Raises OSError."""
        slot.index.seen.append(seen)
        if len(slot.index.seen) > time_index.MOST:
            slot.index = slot.index.thinned()
            slot.index.base = slot.base
            time_index.write(slot.index_path(0), slot.index)
        else:
            time_index.append(slot.index_path(0), seen)

    def begin_piece(self, slot: SlotFiles, bases: list[int]) -> None:
        """Begin the newest piece again, at `bases[0]`. With its lock. Raises OSError."""
        slot.set_bases(bases)
        slot.index = LogIndex(slot.base)
        try:
            time_index.write(slot.index_path(0), slot.index)
        except OSError:  # better none than that of another piece
            with suppress(OSError):
                os.unlink(slot.index_path(0))  # noqa: PTH108
            raise

    @staticmethod
    def skip(slot: SlotFiles, size: int) -> None:
        """Begin the newest piece again, in this process's memory only. With its lock."""
        slot.set_bases([slot.base + size, *slot.bases()[1:]])
        slot.index = LogIndex(slot.base)

    def note_trouble(self, name: str, error: OSError) -> None:
        """Log it once, until it is over."""
        if name not in self._troubled:
            self._troubled.add(name)
            said = error.strerror or type(error).__name__
            _log.warning("%s: %s; its output may be lost", self.directory / name, said)

    def note_well(self, name: str) -> None:
        """The logged trouble is over."""
        self._troubled.discard(name)

    def _names(self) -> list[str]:
        try:
            _refuse_link(self.directory)
            with os.scandir(self.directory) as entries:
                return [entry.name for entry in entries if _SUFFIX in entry.name]
        except FileNotFoundError:
            return []
        except OSError as error:
            self.note_trouble("", error)
            return []


def _opened(path: Path) -> int:
    handle = os.open(path, _FLAGS, _MODE)
    try:
        check_regular(path, os.fstat(handle))
        os.set_blocking(handle, True)  # as it is the program's own
    except BaseException:
        os.close(handle)
        raise
    return handle


def _refuse_link(directory: Path) -> None:
    """Refuse a link in a directory's place, wherever it leads: what is there is not ours to write,
    cut and remove. Raises OSError."""
    try:
        found = os.lstat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "is a symbolic link, which is not followed", str(directory))


def check_regular(path: Path, found: os.stat_result) -> None:
    """Refuse what a program may not write to. Raises OSError."""
    if not stat.S_ISREG(found.st_mode):
        number = errno.ELOOP if stat.S_ISLNK(found.st_mode) else errno.ENXIO
        raise OSError(number, os.strerror(number), str(path))


def file_name(service: str, slot: int) -> str:
    """What a slot's program writes to."""
    return f"{service}.{slot}{_SUFFIX}"
