"""How much of a node's assignments, or of what a client asks to see, goes into one message.

A message of the transport holds 64 MiB, and services may have megabytes of environment. Sizes are
estimates: a text takes about the bytes it has as JSON, a list of many short texts up to five times
as many. So a message is full well before what the transport takes.
"""

from __future__ import annotations

from warren.model.decode import to_json
from warren.model.report import Assignment
from warren.model.service import ServiceSpec

ROOM = 8 << 20  # bytes
_OF_A_TASK = 200  # its numbers and its name
_OF_A_CHARACTER = 4  # at most, as UTF-8


class MessageRoom:
    """The room of one message. A spec takes it once, however many tasks have it."""

    def __init__(self) -> None:
        self.is_full = False
        self._left = ROOM
        self._specs: dict[int, ServiceSpec] = {}  # by identity, which holds while they are kept

    def __repr__(self) -> str:
        return f"<MessageRoom: {self._left} bytes left>"

    def take(self, one: Assignment) -> bool:
        """Whether it goes into this message. The first does, whatever its size: it would fit into
        no other either. After one that does not, nothing does."""
        size = _OF_A_TASK + _OF_A_CHARACTER * len(one.stop_reason)
        if one.last_end is not None:
            size += _OF_A_CHARACTER * len(one.last_end.message)
        if id(one.spec) not in self._specs:
            size += len(to_json(one.spec))
        self.is_full = self.is_full or (size > self._left and bool(self._specs))
        if self.is_full:
            return False
        self._left -= size
        self._specs[id(one.spec)] = one.spec
        return True


class AnswerRoom:
    """The room of an answer. The first thing has some, whatever its size; after one that has none,
    nothing has."""

    def __init__(self) -> None:
        self._left = ROOM
        self._is_empty = True

    def __repr__(self) -> str:
        return f"<AnswerRoom: {self._left} bytes left>"

    def take(self, *shown: object) -> bool:
        """Whether this goes into it too."""
        self._left -= _OF_A_TASK + sum(len(to_json(each)) for each in shown)
        fits = self._is_empty or self._left >= 0
        self._is_empty = False
        return fits
