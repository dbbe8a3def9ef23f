"""Events on the wire: a kind's word goes beside its enumerant, so that a kind of a later version
is kept and shown with the word of that version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from warren.model.decode import DecodeError
from warren.model.event import EventKind, kind_named, word_of
from warren.transport.field_codecs import NONE, At, Enumerant, Field, Record, Scalar, Slot
from warren.transport.peer_budget import Budget, OverdrawnError
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


class _Readable:
    """A field that is left out where it cannot be read."""

    def __init__(self, field: Field) -> None:
        self._field = field

    def write(self, builder: Any, value: Any) -> None:
        self._field.write(builder, value)

    def read(self, reader: Any, budget: Budget) -> object:
        try:
            return self._field.read(reader, budget)
        except OverdrawnError:
            raise
        except DecodeError:
            return None


class EntryRecord(Record):
    """What a manager keeps: the word says the kind, also where an earlier manager wrote it; the
    enumerant is for other readers. What cannot be read of an event hides no other: facts are left
    out, and else a line in its place says so, with its number, from which a reader goes on."""

    def __init__(self, fields: Mapping[str, Field], defaults: Mapping[str, object] = NONE) -> None:
        super().__init__({**fields, "facts": _Readable(fields["facts"])}, defaults)
        self._seq = fields["seq"]
        self._word = Slot("kind", Scalar("text", "word"), optional=False)
        self._kind = Enumerant(EventKind, wire.EventKind.schema)

    def fill(self, builder: Any, value: Any) -> None:
        super().fill(builder, value)
        self._word.write(builder, word_of(value.kind, value.word))
        self._kind.write(builder, "what", value.kind)

    def read(self, raw: Any, budget: Budget) -> object:
        try:
            plain = cast("dict[str, object]", super().read(raw, budget))
            with At("kind"):
                return plain | _kind(self._word.read(raw, budget))
        except OverdrawnError:
            raise
        except DecodeError as error:
            return self._unreadable(raw, budget, error)

    def _unreadable(self, raw: Any, budget: Budget, error: DecodeError) -> dict[str, object]:
        with At("seq"):
            seq = self._seq.read(raw, budget)
        said = f"this event cannot be read: {error.named()}"
        about = {"at": 0.0, "subject": "?", "message": said}
        return {**about, "seq": seq, "kind": EventKind.UNKNOWN.value}


def _kind(word: object) -> dict[str, object]:
    kind, unknown = kind_named(str(word))
    return {"kind": kind.value, **({"word": unknown} if unknown else {})}
