"""Reading on in the output of slots, whatever becomes of their tasks, nodes and the link.

A position moves only when a piece has arrived, so a call that is cut or cancelled is asked again
and nothing is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import trio

from warren.model.errors import NotFoundError, RefusedError, UnavailableError
from warren.model.identity import TaskId

if TYPE_CHECKING:
    from warren.model.link import Cluster

FIRST_PAUSE = 0.1  # seconds, while the node that has the output does not answer
LONGEST_PAUSE = 2.0

Take = Callable[[bytes], None]


class SlotLog:
    """The output of one slot, as far as it has been read."""

    def __init__(self, task: TaskId, node: str, take: Take, *, tail: int = 0) -> None:
        self.task = task
        self.node = node
        self._take = take
        self._tail = tail
        self._cursor = ""
        self._moved = trio.Event()
        self._call = trio.CancelScope()

    async def read(self, cluster: Cluster) -> None:
        """What there is now, to its end."""
        while await self._step(cluster, wait=False):
            pass

    async def follow(self, cluster: Cluster) -> NoReturn:
        """What there is and what comes, of this task and those that follow it in the slot."""
        pause = FIRST_PAUSE
        while True:
            moved, self._call = self._moved, trio.CancelScope()
            try:
                with self._call:
                    await self._step(cluster, wait=bool(self._cursor) or not self._tail)
                    pause = FIRST_PAUSE
            except NotFoundError:
                await moved.wait()
            except UnavailableError:
                with trio.move_on_after(pause):
                    await moved.wait()
                pause = min(2 * pause, LONGEST_PAUSE)

    async def move(self, cluster: Cluster, task: TaskId, node: str | None) -> None:
        """The slot's task is another one now. One that is not placed yet has written nothing."""
        if node is None or (task, node) == (self.task, self.node):
            return
        if node != self.node:
            with suppress(RefusedError):
                await self.read(cluster)  # what the old node still has
            self._cursor, self._tail = "", 0
        self.task, self.node = task, node
        self._call.cancel()  # whoever waits at the old one asks anew
        self._moved.set()
        self._moved = trio.Event()

    async def _step(self, cluster: Cluster, *, wait: bool) -> bool:
        asked = self._cursor
        place = (self.node, asked)
        chunk = await cluster.log(
            self.task, cursor=asked, tail=0 if asked else self._tail, wait=wait
        )
        if place != (self.node, self._cursor):
            return True  # somebody else has read on meanwhile
        self._cursor = chunk.cursor
        self._tail = 0
        if chunk.data:
            self._take(chunk.data)
        return bool(chunk.data)


class Lines:
    """Whole lines with a name in front; what is not yet a line is kept back."""

    def __init__(self, name: str, put: Take) -> None:
        self._prefix = f"{name} | ".encode()
        self._put = put
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Put the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self._put(b"".join(self._prefix + line + b"\n" for line in lines))

    def end(self) -> None:
        """Put what is left as a line."""
        if self._rest:
            self.take(b"\n")
