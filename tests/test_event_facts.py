"""Events tell what they tell as data: each kind has its row, its form and its word, and no code
reads a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.event_facts import broken, promises, read_backs
from warren.cli.render import to_json, to_text
from warren.client.event_forms import FORMS, Form, form_of
from warren.model.cluster import Entry
from warren.model.event import EventFacts, EventKind, kind_named, word_of
from warren.transport.schema import wire

WARREN = Path(__file__).parent.parent / "warren"
KINDS = [*EventKind]


def test_every_kind_has_a_row_in_the_docs_with_facts_that_there_are() -> None:
    table = promises()
    assert table.keys() == {*EventKind} - {EventKind.UNKNOWN}
    named = frozenset[str]().union(*(promise.has | promise.may for promise in table.values()))
    assert named == {*EventFacts.__struct_fields__}
    assert {*wire.EventFacts.schema.fieldnames} == {
        "".join((first, *map(str.capitalize, more)))
        for first, *more in (name.split("_") for name in named)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_word_its_form_and_its_json(kind: EventKind) -> None:
    assert kind_named(kind.value) == (kind, "")
    assert word_of(kind, "") == kind.value
    assert kind in FORMS
    entry = Entry(at=0.0, kind=kind, subject="web.1#1", message="it is so", service="web", by="me")
    said = to_text.event(entry)
    assert said.endswith("it is so by me")
    assert ("web.1#1" in said) == (form_of(kind) is not Form.SENTENCE)
    bare = to_text.event(Entry(at=0.0, kind=kind, subject="web", message="", service="web"))
    assert bare.endswith(f" web {kind.value}")
    assert to_json.event(entry)["kind"] == kind.value


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not EventKind.UNKNOWN])
def test_what_happens_to_a_node_is_said_in_its_own_sentence(kind: EventKind) -> None:
    entry = Entry(at=0.0, kind=kind, subject="web", message="node web is so")
    assert to_text.event(entry)[20:] == "node web is so"


def test_no_code_reads_words_back_out_of_messages() -> None:
    assert [*read_backs(WARREN)] == []


@pytest.mark.parametrize(
    "line",
    [
        "return entry.message.startswith('node ')",
        "said = one_line(entry.message)\n    return said.startswith('x')",
        "said, other = entry.message, 1\n    return said.partition(': ')[0]",
        "return 'restarting' in message",
        "return re.match('exit code ([0-9]+)', end.message)",
        "text = entry.message[:5]\n    return text == 'ready'",
        "return status.pending_reason == 'no port'",
    ],
)
def test_code_that_reads_a_message_is_found(line: str, tmp_path: Path) -> None:
    package = tmp_path / "warren" / "cli"
    package.mkdir(parents=True)
    (package / "a.py").write_text(f"def f(entry, message, end, status):\n    {line}\n")
    assert len([*read_backs(tmp_path / "warren")]) == 1


def test_code_that_carries_a_message_is_not_found(tmp_path: Path) -> None:
    package = tmp_path / "warren" / "cli"
    package.mkdir(parents=True)
    (package / "a.py").write_text(
        "def f(entry, message):\n"
        "    line = ' '.join(message.split())[:40]\n"
        "    is_news = entry.message != line or message == ''\n"
        "    return f'{entry.kind}: {line}' if is_news and entry.kind in KINDS else line\n"
    )
    assert [*read_backs(tmp_path / "warren")] == []


def test_an_event_that_does_not_keep_the_table_is_noticed() -> None:
    facts = EventFacts(node="n1", pid=7)
    event = Entry(at=0.0, kind=EventKind.STARTED, subject="web.1#1", message="", facts=facts)
    assert broken(event) == []
    placed = Entry(at=0.0, kind=EventKind.PLACED, subject="web.1#1", message="", facts=facts)
    assert broken(placed) == ["placed of web.1#1: has pid"]
    told = Entry(at=0.0, kind=EventKind.FINISHED, subject="web.1#1", message="")
    assert len(broken(told)) == 3
    assert broken(Entry(at=0.0, kind=EventKind.UNKNOWN, subject="web", message=""))
