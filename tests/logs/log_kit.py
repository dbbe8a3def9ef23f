"""Logs on a directory of a test's own, and what is done to them."""

from __future__ import annotations

from contextlib import closing

from warren.logs.files import LogFiles
from warren.logs.watcher import LogWatcher
from warren.model.identity import TaskId
from warren.model.view import LogChunk, LogWanted


def rotate(logs: LogFiles) -> None:
    """One look at all files, by a watcher that has just begun; closed, it has done all of it."""
    with closing(LogWatcher(logs)) as watch:
        watch.round()


def read(logs: LogFiles, task: TaskId, cursor: str = "", *, tail: int = 0) -> LogChunk:
    """A piece of a slot's output."""
    return logs.read(wanted(task, cursor, tail=tail or None))


def wanted(
    task: TaskId, cursor: str = "", *, tail: int | None = None, since: float = 0.0
) -> LogWanted:
    """What is asked for, with times."""
    return LogWanted(
        service=task.service, slot=task.slot, cursor=cursor, tail=tail, since=since, times=True
    )


def tail(logs: LogFiles, task: TaskId, lines: int) -> list[str]:
    """The last lines a slot has written."""
    chunk = logs.read(wanted(task, tail=lines))
    rest, _ = read_all(logs, task, chunk.cursor)
    return (chunk.data + rest).decode().splitlines()


def read_all(logs: LogFiles, task: TaskId, cursor: str = "") -> tuple[bytes, str]:
    """Everything after the cursor, in as many calls as it takes."""
    found = b""
    while True:
        chunk = read(logs, task, cursor)
        cursor = chunk.cursor
        if not chunk.data:
            return found, cursor
        found += chunk.data
