"""What an edit changes of a service, by the names of the fields: values may be secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from warren.model.decode import plain
from warren.model.event import EventFacts
from warren.model.service import ServiceSpec

MOST = 20  # names, as long as they are `env.LEVEL`; more are told as `env`
_NAMED = 5  # in words
_PARTED = ("env", "ports", "restart", "stop")  # of which a spec always has some, or none


def edit_facts(old: ServiceSpec, new: ServiceSpec) -> EventFacts:
    """What an edit of a service tells. Of a field with parts the parts are named, such as
    `env.LEVEL` and `liveness.interval`, unless they are many."""
    changed = tuple(_changed(plain(old), plain(new), ""))
    if len(changed) > MOST:
        changed = tuple(sorted({name.partition(".")[0] for name in changed}))
    before = None if old.replicas == new.replicas else old.replicas
    return EventFacts(changed=changed, replicas=new.replicas, replicas_before=before)


def in_words(facts: EventFacts) -> str:
    """`command, replicas 3 -> 4`."""
    names = [_word(name, facts) for name in facts.changed[:_NAMED]]
    more = len(facts.changed) - _NAMED
    return f"{', '.join(names)} and {more} more" if more > 0 else ", ".join(names)


def _word(name: str, facts: EventFacts) -> str:
    is_counted = name == "replicas" and facts.replicas_before is not None
    return f"{name} {facts.replicas_before} -> {facts.replicas}" if is_counted else name


def _changed(old: object, new: object, place: str) -> Iterator[str]:
    """Where two specs as plain data differ, which leaves defaults out: keys of the deepest
    mappings that both have."""
    if old == new:
        return
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        yield place
        return
    before = cast("Mapping[str, object]", old)
    after = cast("Mapping[str, object]", new)
    for name in sorted({*before, *after}):
        absent = dict[str, object]() if not place and name in _PARTED else None
        path = f"{place}.{name}" if place else name
        yield from _changed(before.get(name, absent), after.get(name, absent), path)
