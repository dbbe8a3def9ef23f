"""The output of a node's slots for readers: many slots in a call, one watcher for all calls."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import trio

from warren.model.errors import InvalidError, UnavailableError
from warren.model.identity import TaskId
from warren.model.interfaces import LogSource
from warren.model.rpc import LOGS_AT_ONCE
from warren.model.view import LOG_AT_ONCE, LogChunk, LogPiece, LogWanted, SlotName

LEAST = 16 << 10  # bytes: the share of a slot in a call at least, however many are asked
TOGETHER = 1 << 20  # bytes: what a call returns in all, approximately
LOOK_AGAIN = 5.0  # seconds: a look without a wake-up, as a file system may send none


async def read_one(
    logs: LogSource, task: TaskId, cursor: str, tail: int, *, wait: bool
) -> LogChunk:
    """A piece of the output of the task's slot; see `Agent.log`."""
    wanted = LogWanted(service=task.service, slot=task.slot, cursor=cursor, tail=tail or None)
    while True:
        (piece,) = await read_several(logs, [wanted], wait=wait) or [LogPiece(index=0)]
        if piece.absent:
            raise UnavailableError(piece.absent)
        if piece.chunk.data or not wait:
            return piece.chunk if piece.chunk.cursor else LogChunk(cursor=cursor)
        wanted = msgspec.structs.replace(wanted, cursor=piece.chunk.cursor)


async def read_several(
    logs: LogSource, wanted: Sequence[LogWanted], *, wait: bool
) -> list[LogPiece]:
    """The output of several slots; see `Agent.output`."""
    if len(wanted) > LOGS_AT_ONCE:
        raise InvalidError(f"wanted: {len(wanted)}: want at most {LOGS_AT_ONCE} slots a call")
    limit = max(LEAST, min(LOG_AT_ONCE, TOGETHER // max(1, len(wanted))))
    slots = [SlotName(service=one.service, slot=one.slot) for one in wanted]
    with logs.watching(slots) as growing:
        while True:
            pieces = await logs.pieces(wanted, limit)
            if pieces or not wait:
                return pieces
            with trio.move_on_after(LOOK_AGAIN):
                await growing.wait()
