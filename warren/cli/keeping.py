"""A running program's data directory, looked at now and then: it may have gone, and the journal's
log has grown."""

from __future__ import annotations

from typing import NoReturn

import trio

from warren.store.journal import JournalError, SqliteJournal
from warren.store.lock import Hold
from warren.watch.boundary import Boundary
from warren.watch.conditions import Conditions

LOOK_EVERY = 2.0  # seconds: a removed file wakes nobody
DIRECTORY, JOURNAL = "data directory", "journal"


async def serve_keeping(
    hold: Hold, conditions: Conditions, journal: SqliteJournal | None = None
) -> NoReturn:
    """Say so when the directory has gone or is another one, and write the journal anew when only
    that has."""
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
