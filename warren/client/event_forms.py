"""Events in words and in JSON: by their kind, whatever their messages say."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from warren.model.decode import plain
from warren.model.event import EventFacts, EventKind


class Form(enum.Enum):
    """What the messages of a kind are."""

    SENTENCE = "sentence"  # what happened to whom: `web.1#2 replaces web.1#1: ...`
    NEWS = "news"  # what happened: `not ready: ...`
    DETAIL = "detail"  # more about it: `restart asked`, of `restarted`


FORMS: Mapping[EventKind, Form] = {
    EventKind.PENDING: Form.NEWS,
    EventKind.STARTED: Form.NEWS,
    EventKind.ADOPTED: Form.NEWS,
    EventKind.READY: Form.NEWS,
    EventKind.UNREADY: Form.NEWS,
    EventKind.PROBE_WARNING: Form.DETAIL,
    EventKind.PROBE_FAILED: Form.NEWS,
    EventKind.STOPPING: Form.DETAIL,
    EventKind.ENDED: Form.DETAIL,
    EventKind.RESTARTING: Form.NEWS,
    EventKind.FINISHED: Form.NEWS,
    EventKind.PROBES_CHANGED: Form.NEWS,
    EventKind.UNKNOWN: Form.DETAIL,
    EventKind.PLACED: Form.NEWS,
    EventKind.REPLACED: Form.SENTENCE,
    EventKind.CREATED: Form.DETAIL,
    EventKind.UPDATED: Form.DETAIL,
    EventKind.SCALED: Form.DETAIL,
    EventKind.RESTARTED: Form.DETAIL,
    EventKind.REMOVING: Form.DETAIL,
    EventKind.REMOVED: Form.SENTENCE,
    EventKind.JOINED: Form.SENTENCE,
    EventKind.LOST: Form.SENTENCE,
    EventKind.STOPPED: Form.SENTENCE,
}


def form_of(kind: EventKind, *, is_of_node: bool = False) -> Form:
    """Of a node all are sentences."""
    return Form.SENTENCE if is_of_node and kind is not EventKind.UNKNOWN else FORMS[kind]


def in_form(form: Form, word: str, message: str) -> str:
    """What happened, of a kind with this word and with a message of this form."""
    if not message:
        return word
    return f"{word}: {message}" if form is Form.DETAIL else message


def facts_json(facts: EventFacts | None) -> dict[str, Any]:
    """The facts of an event for programs: those that it has."""
    if facts is None:
        return {}
    shape: dict[str, Any] = plain(facts)
    if facts.phase is not None:
        shape["phase"] = str(facts.phase)
    if facts.replaces is not None:
        shape["replaces"] = str(facts.replaces)
    return shape
