"""A running program's data directory, checked now and then: it may have gone, and the journal's
log grows."""

from __future__ import annotations

from typing import NoReturn

import trio

from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions
from warren.store.journal import JournalError, SqliteJournal
from warren.store.lock import LockHold
from warren.store.wal import WriteAheadLog

LOOK_EVERY = 2.0  # seconds: a removed file sends no wake-up
DIRECTORY, JOURNAL = "data directory", "journal"


async def serve_keeping(
    hold: LockHold,
    conditions: Conditions,
    *,
    journal: SqliteJournal | None = None,
    log: WriteAheadLog | None = None,
) -> NoReturn:
    """Set a condition when the directory has gone or was replaced; write the journal anew when only
    that has gone. Takes in the log of the journal, or this one."""
    boundary = Boundary("looking after the data directory", conditions)
    while True:
        async with boundary:
            trouble = hold.trouble()
            _tell(conditions, DIRECTORY, trouble)
            if journal is not None:
                lost = None if trouble else _look(journal)
                _tell(conditions, JOURNAL, lost)
                if not (trouble or lost):
                    await journal.log.take_in()
            if log is not None and not trouble:
                await log.take_in()
        await trio.sleep(LOOK_EVERY)


def _look(journal: SqliteJournal) -> str | None:
    try:
        journal.look()
    except JournalError as error:
        return str(error)
    return None


def _tell(conditions: Conditions, kind: str, trouble: str | None) -> None:
    if trouble is None:
        conditions.clear(kind)
    else:
        conditions.set(kind, trouble)
