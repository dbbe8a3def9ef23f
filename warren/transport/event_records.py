"""Events on the wire: a kind's word goes beside its enumerant, so that a kind of a later version
is kept and shown with the word of that version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from warren.model.event import EventKind, kind_named, word_of
from warren.transport.field_codecs import NONE, At, Enumerant, Field, Record, Scalar, Slot
from warren.transport.peer_budget import Budget
from warren.transport.schema import wire


class FactsRecord(Record):
    """Facts, of which an event has a few: a new message says by itself that the rest is not set,
    and to write that would take most of the time."""

    def fill(self, builder: Any, value: Any) -> None:
        with At() as at:
            for at.step, field in self._fields:
                fact = getattr(value, at.step)
                if fact is not None and fact != ():
                    field.write(builder, fact)


class TaskEventRecord(Record):
    """What a node tells: the enumerant says the kind, and the word one that is not known here."""

    def __init__(self, fields: Mapping[str, Field], defaults: Mapping[str, object] = NONE) -> None:
        super().__init__(fields, defaults)
        self._word = Slot("word", Scalar("text", "word"), optional=False)

    def fill(self, builder: Any, value: Any) -> None:
        super().fill(builder, value)
        self._word.write(builder, word_of(value.kind, value.word))

    def read(self, raw: Any, budget: Budget) -> object:
        plain = cast("dict[str, object]", super().read(raw, budget))
        if plain["kind"] == EventKind.UNKNOWN.value:
            plain |= _kind(self._word.read(raw, budget))
        return plain


class EntryRecord(Record):
    """What a manager keeps: the word says the kind, also where an earlier manager wrote it; the
    enumerant is for other readers."""

    def __init__(self, fields: Mapping[str, Field], defaults: Mapping[str, object] = NONE) -> None:
        super().__init__(fields, defaults)
        self._word = Slot("kind", Scalar("text", "word"), optional=False)
        self._kind = Enumerant(EventKind, wire.EventKind.schema)

    def fill(self, builder: Any, value: Any) -> None:
        super().fill(builder, value)
        self._word.write(builder, word_of(value.kind, value.word))
        self._kind.write(builder, "what", value.kind)

    def read(self, raw: Any, budget: Budget) -> object:
        plain = cast("dict[str, object]", super().read(raw, budget))
        return plain | _kind(self._word.read(raw, budget))


def _kind(word: object) -> dict[str, object]:
    kind, unknown = kind_named(str(word))
    return {"kind": kind.value, **({"word": unknown} if unknown else {})}
