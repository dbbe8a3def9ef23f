"""Any spec and any record come back as they were: through the file and through JSON."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.specs import WEIRD, records, specs, words
from warren.manifest.service_file import dump_text, load_text
from warren.manifest.yaml_text import Document, write
from warren.model.check import Argv
from warren.model.decode import from_json, plain, to_json
from warren.model.service import ServiceSpec
from warren.model.task import TaskRecord

generous = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.untraced
@generous
@given(specs())
def test_any_spec_comes_back_from_its_file(spec: ServiceSpec) -> None:
    assert load_text(dump_text([spec])) == [spec]


@pytest.mark.untraced
@generous
@given(st.lists(specs(), min_size=1, max_size=3, unique_by=lambda spec: spec.name))
def test_any_file_keeps_its_services_in_order(several: list[ServiceSpec]) -> None:
    assert load_text(dump_text(several)) == several


@generous
@given(specs())
def test_any_spec_comes_back_from_json(spec: ServiceSpec) -> None:
    assert from_json(to_json(spec), ServiceSpec) == spec


@generous
@given(records)
def test_any_record_comes_back_from_json(record: TaskRecord) -> None:
    assert from_json(to_json(record), TaskRecord) == record


@pytest.mark.parametrize("word", WEIRD)
def test_weird_word_comes_back_wherever_it_stands(word: str) -> None:
    name = word.replace("=", "") or "A"
    spec = ServiceSpec(
        name="web",
        command=Argv(["run", word, f" {word} "]),
        env={name: word, "B": f"{word}{word}"},
        user=word.lstrip(":") or None,
    )
    assert load_text(dump_text([spec])) == [spec]
    assert from_json(to_json(spec), ServiceSpec) == spec


_scalars = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | words
_plain_data = st.recursive(
    _scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@generous
@given(_plain_data)
def test_any_plain_data_comes_back_from_yaml(data: object) -> None:
    back = Document(write(data)).data
    assert back == data
    assert repr(back) == repr(data)  # 1 is not True, nor 1.0


def test_written_file_has_no_defaults_and_reads_well() -> None:
    text = "services:\n  web:\n    command:\n      - redis-server\n    health:\n      tcp: {}\n"
    (spec,) = load_text(text)
    assert dump_text([spec]) == text
    assert plain(spec) == {"name": "web", "command": ("redis-server",), "health": {"tcp": {}}}
