"""A container's output, copied from its engine's bounded buffer to where all tasks have theirs.

    the engine's log --follow, from the cursor on--> DATA_DIR/logs/web.2.log
                                                     DATA_DIR/engine/INSTANCE   the cursor

The cursor is written after what it stands for, so whatever comes behind its position in the file
has been copied too: nothing is lost or doubled when the supervisor is killed in between, nor when
the engine is. Only what an engine drops while nobody copies is lost: over 2 MiB.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import trio

from warren.engine.client import EngineClient
from warren.engine.errors import EngineAwayError, EngineError, EngineRefusedError
from warren.engine.log_lines import Cursor, LogReader
from warren.logs.appending import SlotAppender
from warren.model.task import Instance
from warren.resilience.backoff import Backoff

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0  # seconds
AFTER_END = 2.0  # seconds that a stream that follows has to end by itself
_log = logging.getLogger("warren.engine")


class CursorFile:
    """The cursor of one instance on disk. Without one that can be read copying begins anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<CursorFile {self.path}>"

    def read(self) -> Cursor | None:
        """None where there is none."""
        try:
            return msgspec.json.decode(self.path.read_bytes().rstrip(b" \n"), type=Cursor)
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, cursor: Cursor) -> None:
        """In one write, of one length: a kill leaves the old or the new. Raises OSError."""
        text = msgspec.json.encode(cursor).ljust(191) + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(handle, text, 0)
        finally:
            os.close(handle)

    def remove(self) -> None:
        """The instance is gone."""
        with contextlib.suppress(OSError):
            self.path.unlink()


class OutputCopy:
    """Copies one container's output until it has ended. `here` waits for the engine; `ended` is
    set when the container has ended; `done` when all its output was copied. Where it `is_new` the
    file is told that it begins."""

    def __init__(
        self,
        instance: Instance,
        container: str,
        appender: SlotAppender,
        cursor: CursorFile,
        *,
        here: Callable[[], AbstractAsyncContextManager[EngineClient]],
        ended: trio.Event,
        is_new: bool,
    ) -> None:
        self.done = trio.Event()
        self._instance = instance
        self._container = container
        self._appender = appender
        self._cursor = cursor
        self._here = here
        self._ended = ended
        self._is_new = is_new
        self._has_copied = False
        self._scope = trio.CancelScope()
        self._following = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<OutputCopy of {self._instance.id}{' done' if self.done.is_set() else ''}>"

    def cancel(self) -> None:
        """Leave off; a later copy goes on from the cursor."""
        self._scope.cancel()

    def note_ended(self) -> None:
        """The container has ended: what follows it ends soon, or never, as after a restart of
        Docker; then the rest is read without following."""
        self._following.deadline = trio.current_time() + AFTER_END

    async def run(self) -> None:
        """Copy, and begin again where it breaks off, until all is copied."""
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        troubled = ""
        try:
            with self._scope:
                while not self.done.is_set():
                    is_last, self._has_copied = self._ended.is_set(), False
                    try:
                        self._following = trio.CancelScope()
                        with self._following:
                            await self._copy(follow=not is_last)
                    except EngineRefusedError as error:
                        if error.is_missing and is_last:  # the container was removed
                            break
                        troubled = self._note(troubled, error)
                    except (EngineError, OSError) as error:
                        troubled = self._note(troubled, error)
                    else:
                        if is_last:
                            break
                        if self._has_copied:
                            backoff.reset()
                    with trio.move_on_after(backoff.next()):
                        await self._ended.wait()
        finally:
            self._appender.close()
            self.done.set()

    async def _copy(self, *, follow: bool) -> None:
        end = await self._appender.open(self._instance.id if self._is_new else "")
        self._is_new = False
        cursor = self._cursor.read()
        if cursor is None:  # from its beginning on, into the file as it is now
            cursor = Cursor(position=end)
            self._cursor.write(cursor)
        skip = max(0, end - cursor.position)
        reader = LogReader(cursor, skip=skip)
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
        if cursor.since:
            query["since"] = cursor.since
        path = f"/containers/{self._container}/logs"
        async with self._here() as client, client.stream("GET", path, query=query) as chunks:
            async for chunk in chunks:
                data = reader.feed(chunk)
                if data:
                    self._has_copied = True
                    await self._appender.append(data)
                    self._cursor.write(reader.cursor)

    def _note(self, before: str, error: EngineError | OSError) -> str:
        said = f"{type(error).__name__}: {error}"
        if said != before and not isinstance(error, EngineAwayError):
            _log.warning("the output of %s is not copied, for now: %s", self._instance.id, error)
        return said
