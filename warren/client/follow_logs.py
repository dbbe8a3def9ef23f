"""Following the output of slots, whatever happens to their tasks, nodes and the link.

A position moves only when a piece has arrived, so a call that is cut or cancelled is repeated
and nothing is lost or doubled. Slots are asked for together, 64 in a call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import msgspec
import trio

from warren.model.errors import NotFoundError, UnavailableError
from warren.model.rpc import LOGS_AT_ONCE
from warren.model.view import LogChunk, LogPiece, LogWanted

if TYPE_CHECKING:
    from warren.model.rpc import Cluster

FIRST_PAUSE = 0.1  # seconds, while the node that has the output does not answer
LONGEST_PAUSE = 2.0

Take = Callable[[LogChunk], None]


class LogFollower:
    """The output of one slot on one node, as far as it has been read."""

    def __init__(self, wanted: LogWanted, take: Take) -> None:
        self.wanted = wanted
        self.pause = 0.0  # seconds; while its node does not answer
        self.again_at = 0.0
        self._take = take

    @property
    def is_away(self) -> bool:
        """Whether its node did not answer when it was asked last."""
        return self.pause > 0

    def take(self, chunk: LogChunk) -> None:
        """The next piece has arrived."""
        self.pause = 0.0
        self.wanted = msgspec.structs.replace(self.wanted, cursor=chunk.cursor)
        self._take(chunk)

    def note_absent(self) -> None:
        """Its node does not answer: it is asked again after a while."""
        self.pause = min(max(FIRST_PAUSE, 2 * self.pause), LONGEST_PAUSE)
        self.again_at = trio.current_time() + self.pause

    async def read(self, cluster: Cluster) -> None:
        """The present output, to its end. Raises UnavailableError where it cannot be read."""
        while True:
            pieces = await cluster.output([self.wanted])
            if pieces and pieces[0].absent:
                raise UnavailableError(pieces[0].absent)
            if not pieces or not (pieces[0].chunk.data or pieces[0].chunk.lost):
                return
            self.take(pieces[0].chunk)


class _Group:
    """The logs of one call."""

    def __init__(self) -> None:
        self.logs = list[LogFollower]()
        self.call = trio.CancelScope()
        self.is_changed = trio.Event()

    def note_changed(self) -> None:
        """The set of slots to ask for has changed."""
        self.call.cancel()
        self.is_changed.set()


class FollowedSlot:
    """Follows logs over one link. The nursery is the caller's: it ends when that does."""

    def __init__(self, cluster: Cluster, nursery: trio.Nursery, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._nursery = nursery
        self._say = say
        self._groups = list[_Group]()
        self._silent = set[str]()

    def add(self, log: LogFollower) -> None:
        """Follow this one as well."""
        for group in self._groups:
            if len(group.logs) < LOGS_AT_ONCE:
                group.logs.append(log)
                group.note_changed()
                return
        group = _Group()
        group.logs.append(log)
        self._groups.append(group)
        self._nursery.start_soon(self._serve, group)
        self._nursery.start_soon(self._serve_away, group)

    async def _serve(self, group: _Group) -> NoReturn:
        """Those whose node answers: wait until any of them has something."""
        while True:
            group.call = trio.CancelScope()
            logs = [log for log in group.logs if not log.is_away]
            with group.call:
                if not logs:
                    await trio.sleep_forever()
                await self._ask(group, logs, wait=True)

    async def _serve_away(self, group: _Group) -> NoReturn:
        """Those whose node does not: ask again, later and later."""
        while True:
            group.is_changed = trio.Event()
            away = [log for log in group.logs if log.is_away]
            first = min((log.again_at for log in away), default=trio.current_time() + 86400)
            if trio.current_time() < first:
                with trio.move_on_at(first):
                    await group.is_changed.wait()
                continue
            due = [log for log in away if log.again_at <= trio.current_time()]
            await self._ask(group, due, wait=False)

    async def _ask(self, group: _Group, logs: list[LogFollower], *, wait: bool) -> None:
        try:
            pieces = await self._cluster.output([log.wanted for log in logs], wait=wait)
        except NotFoundError:  # the service is gone: its watcher will see that, or it is made anew
            for log in logs:
                log.note_absent()
            group.note_changed()
            return
        said = {piece.index: piece for piece in pieces}
        for index, log in enumerate(logs):
            if index in said:
                self._take(log, said[index])
            elif not wait and log.is_away:
                log.pause = 0.0
                self._note_answer(log)
        if any(log.is_away for log in logs) or not wait:
            group.note_changed()

    def _take(self, log: LogFollower, piece: LogPiece) -> None:
        if piece.absent:
            log.note_absent()
            if log.wanted.node not in self._silent:
                self._silent.add(log.wanted.node)
                self._say(f"warren: {piece.absent}; waiting for it")
            return
        self._note_answer(log)
        log.take(piece.chunk)

    def _note_answer(self, log: LogFollower) -> None:
        if log.wanted.node in self._silent:
            self._silent.discard(log.wanted.node)
            self._say(f"warren: node {log.wanted.node} answers again")
