"""The output of slots, on whichever node: all nodes are asked at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import trio

from warren.manager.dispatcher import Dispatcher
from warren.manager.session import Session
from warren.manager.shared_queries import LOOK_WITHIN
from warren.model.errors import InvalidError, UnavailableError, WarrenError
from warren.model.rpc import LOGS_AT_ONCE
from warren.model.view import KeptLog, KeptLogs, LogChunk, LogPiece, LogWanted


async def read_one(dispatcher: Dispatcher, wanted: LogWanted, *, wait: bool) -> LogChunk:
    """A piece of one slot's output; see `ClusterView.log`."""
    while True:
        (piece,) = await read_several(dispatcher, [wanted], wait=wait) or [LogPiece(index=0)]
        if piece.absent:
            raise UnavailableError(piece.absent)
        if piece.chunk.data or not wait:
            return piece.chunk
        wanted = msgspec.structs.replace(wanted, cursor=piece.chunk.cursor)


async def read_several(
    dispatcher: Dispatcher, wanted: Sequence[LogWanted], *, wait: bool
) -> list[LogPiece]:
    """See `ClusterView.output`."""
    await trio.lowlevel.checkpoint()
    if len(wanted) > LOGS_AT_ONCE:
        raise InvalidError(f"wanted: {len(wanted)}: want at most {LOGS_AT_ONCE} slots a call")
    by_node: dict[str, list[LogWanted]] = {}
    for one in wanted:
        by_node.setdefault(one.node, []).append(one)
    found = dict[LogWanted, LogPiece]()
    sessions = {node: dispatcher.session(node) for node in by_node}
    for node in [node for node, session in sessions.items() if session is None]:
        said = f"node {node}, which has the output, does not answer"
        found.update((one, LogPiece(index=0, absent=said)) for one in by_node.pop(node))
    if found and wait:
        by_node.clear()  # that is reported at once

    async def ask(session: Session, several: list[LogWanted], scope: trio.CancelScope) -> None:
        found.update(await session.fanout.ask(several, wait=wait))
        if wait:
            scope.cancel()

    async with trio.open_nursery() as nursery:
        for node, several in by_node.items():
            session = sessions[node]
            assert session is not None, "the others were taken out"
            nursery.start_soon(ask, session, several, nursery.cancel_scope)
    return [
        msgspec.structs.replace(found[one], index=index)
        for index, one in enumerate(wanted)
        if one in found
    ]


async def kept_logs(dispatcher: Dispatcher, service: str, placed: Iterable[str]) -> KeptLogs:
    """See `ClusterView.kept_logs`. `placed`: nodes that are known to have had tasks of it."""
    answers = dict[str, list[int]]()

    async def ask(node: str) -> None:
        session = dispatcher.session(node)
        if session is None:
            return
        with trio.move_on_after(LOOK_WITHIN):
            try:
                answers[node] = await session.agent.kept(service)
            except WarrenError:
                return

    async with trio.open_nursery() as nursery:
        for node in dispatcher.connected():
            nursery.start_soon(ask, node)
    kept = [KeptLog(slot=slot, node=node) for node, slots in answers.items() for slot in slots]
    return KeptLogs(
        logs=tuple(sorted(kept, key=lambda one: (one.slot, one.node))),
        silent=tuple(sorted(set(placed) - answers.keys())),
    )
