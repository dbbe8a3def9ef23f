"""One node's output: the node is asked once, however many clients want the same.

    followers --ask(wait)--> lanes of 64 slots: one call of each waits at the node
    readers   --ask--------> one call at a time, for all that wait for their turn

A request is named by its cursor, so that readers at the same position share an answer, and an
answer without a reader is no loss. A slow reader holds nothing but its position.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import trio

from warren.model.errors import DeniedError, LinkLostError, WarrenError
from warren.model.rpc import LOGS_AT_ONCE, Agent
from warren.model.view import LogChunk, LogPiece, LogWanted

GATHER = 0.01  # seconds that a waiting call is left alone before newcomers are added to it
READ_WITHIN = 5.0  # seconds for what does not wait
KEPT = 1 << 20  # bytes of answers that are kept for readers that come a moment later
OF_AN_ENTRY = 1024  # bytes that one counts for at least, however short it is


class _Waiter:
    """A caller that waits for the first of several answers."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.pieces = dict[LogWanted, LogPiece]()


class _Lane:
    """The requests of one call."""

    def __init__(self) -> None:
        self.asks = dict[LogWanted, set[_Waiter]]()
        self.changed = trio.Event()


class _Recent:
    """The latest answers, by what was asked: up to KEPT bytes, with everything they hold."""

    def __init__(self) -> None:
        self._pieces = dict[LogWanted, LogPiece]()
        self._size = 0

    def get(self, key: LogWanted) -> LogPiece | None:
        return self._pieces.get(key)

    def put(self, key: LogWanted, piece: LogPiece) -> None:
        before = self._pieces.pop(key, None)
        if before is not None:
            self._size -= _size_of(key, before)
        self._pieces[key] = piece
        self._size += _size_of(key, piece)
        while self._size > KEPT:
            oldest = next(iter(self._pieces))
            self._size -= _size_of(oldest, self._pieces.pop(oldest))


class LogFanout:
    """Created with a node's session; `run` serves it."""

    def __init__(self, node: str, agent: Agent) -> None:
        self._agent = agent
        self._node = node
        self._lost = f"node {node}, which has the output, does not answer"
        self._waiting = list[_Lane]()
        self._reading = _Lane()
        self._new_lanes = trio.Event()
        self._recent = _Recent()
        self._is_over = False

    def __repr__(self) -> str:
        return f"<LogFanout: {len(self._waiting)} lanes, {len(self._reading.asks)} to read>"

    async def ask(self, wanted: Sequence[LogWanted], *, wait: bool) -> dict[LogWanted, LogPiece]:
        """The output for these requests: with `wait` once any has some, without it of all.
        `absent` where the node does not answer."""
        keys = [msgspec.structs.replace(one, node="") for one in wanted]
        waiter = _Waiter()
        if self._is_over:
            return dict(zip(wanted, self._absent(keys), strict=True))
        lanes = [self._enter(key, waiter, wait=wait) for key in keys]
        try:
            while not self._is_over:
                await waiter.answered.wait()
                waiter.answered = trio.Event()
                if wait or len(waiter.pieces) == len(set(keys)):
                    break
        finally:
            for key, lane in zip(keys, lanes, strict=True):
                self._leave(key, lane, waiter)
        found = {key: waiter.pieces[key] for key in keys if key in waiter.pieces}
        if self._is_over and not found:
            return dict(zip(wanted, self._absent(keys), strict=True))
        return {one: found[key] for one, key in zip(wanted, keys, strict=True) if key in found}

    async def run(self) -> None:
        """Ask the node for what is asked here, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_readers)
                served = 0
                while True:
                    while served < len(self._waiting):
                        nursery.start_soon(self._serve_lane, self._waiting[served])
                        served += 1
                    await self._new_lanes.wait()
                    self._new_lanes = trio.Event()
        finally:
            self._is_over = True
            for lane in (*self._waiting, self._reading):
                for waiter in {w for waiters in lane.asks.values() for w in waiters}:
                    waiter.answered.set()

    # Callers

    def _enter(self, key: LogWanted, waiter: _Waiter, *, wait: bool) -> _Lane:
        kept = self._recent.get(key)
        if kept is not None:
            waiter.pieces[key] = kept
            waiter.answered.set()
            return self._reading
        lane = self._lane_for(key) if wait else self._reading
        if key not in lane.asks:
            lane.asks[key] = set()
            lane.changed.set()
        lane.asks[key].add(waiter)
        return lane

    def _lane_for(self, key: LogWanted) -> _Lane:
        for lane in self._waiting:
            if key in lane.asks:
                return lane
        for lane in self._waiting:
            if len(lane.asks) < LOGS_AT_ONCE:
                return lane
        lane = _Lane()
        self._waiting.append(lane)
        self._new_lanes.set()
        return lane

    @staticmethod
    def _leave(key: LogWanted, lane: _Lane, waiter: _Waiter) -> None:
        waiters = lane.asks.get(key)
        if waiters is None:
            return
        waiters.discard(waiter)
        if not waiters:
            del lane.asks[key]
            if not lane.asks:  # no caller is left: the call need not wait any more
                lane.changed.set()

    # Asking the node

    async def _serve_readers(self) -> None:
        lane = self._reading
        while True:
            while not lane.asks:
                await lane.changed.wait()
                lane.changed = trio.Event()
            keys = list(lane.asks)[:LOGS_AT_ONCE]
            pieces = self._absent(keys)
            with trio.move_on_after(READ_WITHIN):
                pieces = await self._call(keys, wait=False)
            found = {piece.index: piece for piece in pieces}
            for index, key in enumerate(keys):
                nothing = LogPiece(index=index, chunk=_nothing(key))
                self._answer(lane, key, found.get(index, nothing))

    async def _serve_lane(self, lane: _Lane) -> None:
        while True:
            while not lane.asks:
                await lane.changed.wait()
                lane.changed = trio.Event()
            lane.changed = trio.Event()
            keys = list(lane.asks)
            pieces = list[LogPiece]()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_changed, lane, nursery.cancel_scope)
                pieces = await self._call(keys, wait=True)
                nursery.cancel_scope.cancel()
            for piece in pieces:
                self._answer(lane, keys[piece.index], piece)

    async def _call(self, keys: Sequence[LogWanted], *, wait: bool) -> list[LogPiece]:
        try:
            pieces = await self._agent.output(keys, wait=wait)
        except DeniedError as error:  # it answers
            said = f"node {self._node} denied it to the manager: {error}"
            return [LogPiece(index=i, absent=said) for i in range(len(keys))]
        except LinkLostError:
            return self._absent(keys)
        except WarrenError as error:
            return [LogPiece(index=i, absent=str(error)) for i in range(len(keys))]
        return [piece for piece in pieces if piece.index < len(keys)]

    def _answer(self, lane: _Lane, key: LogWanted, piece: LogPiece) -> None:
        for waiter in lane.asks.pop(key, ()):
            waiter.pieces[key] = piece
            waiter.answered.set()
        if key.cursor and piece.chunk.data:
            self._recent.put(key, piece)

    def _absent(self, keys: Sequence[LogWanted]) -> list[LogPiece]:
        return [LogPiece(index=index, absent=self._lost) for index in range(len(keys))]


async def _cancel_when_changed(lane: _Lane, scope: trio.CancelScope) -> None:
    await trio.sleep(GATHER)
    await lane.changed.wait()
    scope.cancel()


def _nothing(key: LogWanted) -> LogChunk:
    return LogChunk(cursor=key.cursor)


def _size_of(key: LogWanted, piece: LogPiece) -> int:
    """The bytes of an answer that is kept, or somewhat more: text has up to four a character."""
    text = len(key.service) + len(key.cursor) + len(piece.chunk.cursor) + len(piece.absent)
    return OF_AN_ENTRY + len(piece.chunk.data) + 4 * text
