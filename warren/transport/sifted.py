"""Lists that come from a node of whatever version: what cannot be read of them is left out, item by
item, so that one that is not understood is not told again for ever, and keeps no other back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from warren.model import bounds
from warren.model.decode import DecodeError, decode
from warren.transport import field_codecs
from warren.transport.peer_budget import Budget, OverdrawnError


class Dropped(msgspec.Struct, frozen=True):
    """What of a list could not be read: how many items, and of the last one where and why."""

    count: int
    last: str


class Sifted:
    """A list of what a node tells, of which every item stands by itself: one that cannot be read is
    left out, and the others count. What is too much for its budget is refused as a whole."""

    def __init__(self, item: field_codecs.Item, kind: type[Any], name: str) -> None:
        self._item = item
        self._kind = kind
        self._name = name
        self._all = field_codecs.Sequenced(item, name)
        self._most = bounds.list_bound(name)

    def write(self, owner: Any, place: Any, value: Sequence[Any]) -> None:
        self._all.write(owner, place, value)

    def read(self, raw: Any, budget: Budget) -> list[object]:
        return self.sift(raw, budget)[0]

    def sift(self, raw: Any, budget: Budget) -> tuple[list[object], Dropped]:
        """The items that can be read, as values, and what is to be said of the others."""
        values: list[object] = []
        count, last = 0, ""
        for index in range(field_codecs.bounded(raw, self._most, budget)):
            try:
                with field_codecs.At(index):
                    plain = self._item.read(raw._get(index), budget)
                    values.append(decode(plain, self._kind))
            except OverdrawnError:
                raise
            except DecodeError as error:
                count += 1
                last = str(error.named(self._name))
        return values, Dropped(count, last)
