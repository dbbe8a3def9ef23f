"""What an edit changes of a service, by the names of the fields: values may be secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from warren.model.event import EventFacts
from warren.model.event_bounds import LONGEST_NAME
from warren.model.service import ServiceSpec

MOST = 30  # names, as long as they are `env.LEVEL`; more are told as `env`: no more than fields
_NAMED = 5  # in words
_WRITTEN = {"image_health": "health"}  # where a file has it: `health: none`


def edit_facts(old: ServiceSpec, new: ServiceSpec) -> EventFacts:
    """What an edit of a service tells. Of a field with parts the parts are named, such as
    `env.LEVEL` and `liveness.interval`, unless they are many, or one is long."""
    changed = tuple(dict.fromkeys(_WRITTEN.get(name, name) for name in _changed(old, new, "")))
    long = {_field(name) for name in changed if len(name) > LONGEST_NAME}
    if long:
        alone = (_field(name) if _field(name) in long else name for name in changed)
        changed = tuple(dict.fromkeys(alone))
    if len(changed) > MOST:
        changed = tuple(sorted({_field(name) for name in changed}))
    before = None if old.replicas == new.replicas else old.replicas
    return EventFacts(changed=changed, replicas=new.replicas, replicas_before=before)


def in_words(facts: EventFacts) -> str:
    """`command, replicas 3 -> 4`."""
    names = [_word(name, facts) for name in facts.changed[:_NAMED]]
    more = len(facts.changed) - _NAMED
    return f"{', '.join(names)} and {more} more" if more > 0 else ", ".join(names)


def _field(name: str) -> str:
    return name.partition(".")[0]


def _word(name: str, facts: EventFacts) -> str:
    is_counted = name == "replicas" and facts.replicas_before is not None
    return f"{name} {facts.replicas_before} -> {facts.replicas}" if is_counted else name


def _changed(old: object, new: object, place: str) -> Iterator[str]:
    """Where two values of a spec differ: the fields or keys of the deepest that both have."""
    if old == new:
        return
    before, after = _parts(old), _parts(new)
    if before is None or after is None:
        yield place
        return
    for name in sorted({*before, *after}):
        path = f"{place}.{name}" if place else name
        yield from _changed(before.get(name), after.get(name), path)


def _parts(value: object) -> Mapping[str, object] | None:
    """A value's parts by their names; None where it is one by itself."""
    if isinstance(value, msgspec.Struct):
        return {field: getattr(value, field) for field in value.__struct_fields__}
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None
