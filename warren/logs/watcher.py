"""The one watcher of the log files: sees them grow, bounds them, notes when, and wakes readers.

    [ wait for inotify ] -> look at what has grown -> note the time, rotate, tell followers
              ^------------------ 10 ms ---------------------'

It is a thread of its own, so that a stall of the event loop is no flood on the disk. A file is
rotated when it is over the limit; it stays below twice the limit, as it is looked at every 10 ms
while it grows. Where a flood writes faster than can be copied only the last of it is kept, and in
one piece, so that older pieces stay. No shortage ends it: it logs, waits and goes on.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import trio

from warren.logs import time_index
from warren.logs.files import LogFiles, check_regular
from warren.logs.inotify import Changes
from warren.logs.reading import SlotFiles
from warren.logs.rotation import FloodError, copy_end, copy_rest, new_piece, shift, write_new
from warren.logs.time_index import LogIndex, Seen
from warren.resilience.boundary import Boundary

BLIND = 0.01  # seconds from one look to the next while something is written
BLIND_IN_FLOOD = 0.003
APART = 1.0  # seconds between two times that are noted of a file
SCAN = 60.0  # seconds between two looks at everything
SCAN_BLIND = 0.25  # the same without inotify
RETRY = 0.5  # after a shortage
HANDS = 8  # files that are rotated at once
FIRST = -10  # the thread's own nice value
FLOOD = 64 << 20  # bytes a second: more is not copied
FLOOD_OVER = 10.0  # seconds after the last cut
FLOOD_KEPT = 256 << 10  # bytes of a flood that are kept when it is cut


class _Look:
    """What the last look at a file has found."""

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self.now = now
        self.noted_at = 0.0  # when a time was recorded last
        self.noted = -1  # for which size
        self.cut_at = -FLOOD_OVER
        self.kept_at = 0.0  # when the last of a flood was kept

    @property
    def in_flood(self) -> bool:
        """Whether it was cut recently."""
        return self.now - self.cut_at < FLOOD_OVER


class LogWatcher:
    """Watches the files of `logs`. `run` in a thread, until `stop`."""

    def __init__(self, logs: LogFiles) -> None:
        self._logs = logs
        self._queries: dict[str, _Look] = {}
        self._due: dict[str, float] = {}  # names to look at again, and when
        self._changes: Changes | None = None
        self._scan_at = 0.0
        self._busy = set[str]()  # being rotated
        # Rotated: names, and when to look at them again. Workers add to it, the watcher removes.
        self._rotated = deque[tuple[str, float]]()
        self._hands = ThreadPoolExecutor(HANDS, "warren-logs", _go_first)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_over = False

    def begin(self) -> None:
        """Before `run`: an earlier `stop` no longer counts."""
        self._is_over = False

    def stop(self) -> None:
        """Make `run` return. Safe in any thread."""
        self._is_over = True
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Finish what was begun, and close the descriptors; once `run` has returned."""
        self._hands.shutdown()
        self._forget_changes()
        with suppress(OSError):  # Linux closes it whatever it returns
            os.close(self._bell)

    def run(self) -> None:
        """Watch until `stop`, or for a minute."""
        _go_first()
        until = time.monotonic() + SCAN
        while not self._is_over and time.monotonic() < until:
            pause = self.round()
            if pause:
                self._wait(pause, and_changes=True)
            else:
                in_flood = any(look.in_flood for look in self._queries.values())
                self._wait(BLIND_IN_FLOOD if in_flood else BLIND, and_changes=False)

    def round(self) -> float:
        """Look once at what has changed. Returns the longest time to wait for news in seconds; 0
        where there was some."""
        try:
            names = self._news()
            grown = [name for name in names if self._look(name)]
        except (OSError, MemoryError) as error:
            self._logs.note_trouble("", _as_os(error))
            self._scan_at = 0.0
            return RETRY
        if grown:
            self._logs.followers.tell(grown)
            return 0.0
        now = time.monotonic()
        wakes = [self._scan_at, *self._due.values()]
        return max(min(wakes) - now, BLIND)

    # What is to be looked at

    def _news(self) -> Iterable[str]:
        while self._rotated:
            name, at = self._rotated.popleft()
            self._due[name] = at
        now = time.monotonic()
        due = {name for name, at in self._due.items() if at <= now}
        names = self._told()
        if names is None or now >= self._scan_at:
            self._scan_at = now + (SCAN if self._changes is not None else SCAN_BLIND)
            try:
                everything = set(self._logs.names())
            except FileNotFoundError:
                everything = set[str]()
            for gone in self._queries.keys() - everything:
                del self._queries[gone]
                self._due.pop(gone, None)
            self._logs.note_well("")
            return everything
        return due | {name for name in names if name.endswith(".log")}

    def _told(self) -> set[str] | None:
        """The names the kernel reports; None where some are missing."""
        try:
            if self._changes is None:
                self._logs.prepare()
                self._changes = Changes(self._logs.directory)
                return None  # earlier changes were not reported
            return self._changes.read()
        except OSError:
            # None left for this user, or the directory is gone: look all the same.
            self._forget_changes()
            self._scan_at = min(self._scan_at, time.monotonic() + SCAN_BLIND)
            return None if time.monotonic() >= self._scan_at else set()

    def _forget_changes(self) -> None:
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    def _wait(self, seconds: float, *, and_changes: bool) -> None:
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        if and_changes and self._changes is not None:
            poll.register(self._changes.handle, select.POLLIN)
        try:
            poll.poll(seconds * 1000)
        except OSError:  # no memory
            time.sleep(seconds)
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)

    # One file

    def _look(self, name: str) -> bool:
        """Whether it has grown. Trouble with one file is logged, and affects no other."""
        logs = self._logs
        if name in self._busy:
            return False
        self._due.pop(name, None)
        try:
            path = logs.directory / name
            stat = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - a test lets it fail
            check_regular(path, stat)  # what a link leads to is not ours to truncate
            now = time.monotonic()
            look = self._queries.get(name)
            if look is None:  # how fast it has grown up to now is unknown
                look = self._queries[name] = _Look(stat.st_size, now)
                grown, is_news = 0, stat.st_size > 0
            else:
                grown = stat.st_size - look.size
                is_news = grown != 0
            rate = grown / (now - look.now) if now > look.now else 0.0
            look.size, look.now = stat.st_size, now
            is_flood = rate > FLOOD and 2 * stat.st_size > logs.limit
            if is_flood or stat.st_size > logs.limit:
                self._hand_over(self._cut if is_flood else self._rotate, name, look)
                return is_news  # whether all is well with it shows at the next look
            if stat.st_size != look.noted:
                self._note_time(name, look, stat)
        except FileNotFoundError:
            self._queries.pop(name, None)
            return False
        except (OSError, MemoryError) as error:
            logs.note_trouble(name, _as_os(error))
            self._due[name] = time.monotonic() + RETRY
            return False
        if name not in self._due:
            logs.note_well(name)
        return is_news

    def _note_time(self, name: str, look: _Look, stat: os.stat_result) -> None:
        """Record that so much was written by then, at most once a second."""
        if look.now - look.noted_at < APART and look.noted >= 0:
            self._due[name] = look.noted_at + APART
            return
        look.noted_at, look.noted = look.now, stat.st_size
        slot = self._logs.slot(name)
        with slot.lock:
            place = slot.base + stat.st_size
            if not slot.index.reaches(place):
                self._logs.note(slot, Seen(place, stat.st_mtime))

    # Rotation: in threads, as a writer that never pauses makes it wait for its file

    def _hand_over(self, rotate: Callable[[str, _Look], None], name: str, look: _Look) -> None:
        self._busy.add(name)
        try:
            self._hands.submit(self._do, rotate, name, look)
        except RuntimeError:  # no more threads available
            self._do(rotate, name, look)

    def _do(self, rotate: Callable[[str, _Look], None], name: str, look: _Look) -> None:
        pause = 0.0
        try:
            rotate(name, look)
        except (OSError, MemoryError) as error:
            self._logs.note_trouble(name, _as_os(error))
            pause = RETRY
        finally:
            self._busy.discard(name)
            # What was added meanwhile has not been looked at, and the kernel reports it once.
            self._rotated.append((name, time.monotonic() + pause))
            os.eventfd_write(self._bell, 1)
        self._logs.followers.tell([name])

    def _rotate(self, name: str, look: _Look) -> None:
        """Copy the file, and truncate it."""
        logs = self._logs
        slot = logs.slot(name)
        copied, most, growth = None, 2 * logs.limit, logs.limit // 4
        if logs.keep:
            try:
                copied = copy_end(slot, most, most_growth=growth)
            except FloodError:
                return self._cut(name, look)
            except OSError as error:  # a full disk: what was not copied is given up, to make room
                logs.note_trouble(name, error)
        with slot.lock:
            if copied is not None:
                try:
                    copy_rest(slot, copied, most, most_growth=growth)
                except OSError as error:  # the piece ends sooner
                    logs.note_trouble(name, error)
            stat = os.stat(slot.newest)  # noqa: PTH116
            os.truncate(slot.newest, 0)
            begin = copied.begin if copied is not None else None
            self._begin_anew(slot, begin, stat, into_first=look.in_flood)
        return self._note_emptied(look)

    def _cut(self, name: str, look: _Look) -> None:
        """Truncate the file and keep its last bytes, in this order, as every moment counts."""
        logs = self._logs
        slot = logs.slot(name)
        with slot.lock:
            handle = os.open(slot.newest, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                stat = os.fstat(handle)
                begin = max(0, stat.st_size - min(FLOOD_KEPT, 2 * logs.limit))
                last = os.pread(handle, FLOOD_KEPT, begin)
                os.ftruncate(handle, 0)
            finally:
                os.close(handle)
            now = time.monotonic()
            if look.in_flood and now < look.kept_at + APART:  # a disk is slower than memory
                logs.skip(slot, stat.st_size)
            else:
                look.kept_at = now
                self._keep_last(slot, last, stat, into_first=look.in_flood)
        self._note_emptied(look)
        look.cut_at = look.now

    def _keep_last(
        self, slot: SlotFiles, last: bytes, stat: os.stat_result, *, into_first: bool
    ) -> None:
        begin = None
        try:
            if self._logs.keep:
                write_new(slot, last, stat.st_mode)
                begin = stat.st_size - len(last)
        except OSError as error:
            self._logs.note_trouble(slot.newest.name, error)
        self._begin_anew(slot, begin, stat, into_first=into_first)

    @staticmethod
    def _note_emptied(look: _Look) -> None:
        look.size = look.noted = 0
        look.now = time.monotonic()

    def _begin_anew(
        self, slot: SlotFiles, begin: int | None, stat: os.stat_result, *, into_first: bool
    ) -> None:
        """The newest file was truncated: what was copied of it, from `begin` on, becomes a piece;
        `into_first`: in place of the one before. With the lock."""
        bases, old = slot.bases(), slot.base
        end = old + stat.st_size
        try:
            if begin is not None:
                if not into_first:
                    shift(slot, bases)
                os.replace(new_piece(slot), slot.path(1))  # noqa: PTH105
                bases[1] = old + begin
                seen = [one for one in slot.index.seen if one.position >= bases[1]]
                seen.append(Seen(end, stat.st_mtime))
                time_index.write(slot.index_path(1), LogIndex(bases[1], seen))
        except OSError as error:
            self._logs.note_trouble(slot.newest.name, error)
        bases[0] = end
        self._logs.begin_piece(slot, bases)


def _as_os(error: OSError | MemoryError) -> OSError:
    return error if isinstance(error, OSError) else OSError(errno.ENOMEM, "out of memory")


def _go_first() -> None:
    """Let this thread run before programs that write without pause, where permitted."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FIRST)


async def serve_logs(
    logs: LogFiles,
    boundary: Boundary,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Watch the files, in a thread of its own, until cancelled."""
    task_status.started()
    watch: LogWatcher | None = None
    try:
        while True:
            async with boundary:
                watch = watch or LogWatcher(logs)
                await _run_in_thread(watch)
    finally:
        if watch is not None:
            watch.close()


async def _run_in_thread(watch: LogWatcher) -> None:
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await trio.to_thread.run_sync(watch.run, limiter=trio.CapacityLimiter(1))
            nursery.cancel_scope.cancel()

        watch.begin()
        nursery.start_soon(run)
        try:
            await trio.sleep_forever()
        finally:
            watch.stop()
