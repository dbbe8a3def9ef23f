"""What a node announces: bounded where it comes in, refused where an operator writes it wrongly."""

from __future__ import annotations

import pytest

from warren.model.errors import SpecError
from warren.model.node_description import (
    FEATURES_KEPT,
    LABELS_KEPT,
    LONGEST_REASON,
    LONGEST_VALUE,
    LONGEST_WORD,
    RUNTIMES_KEPT,
    NodeDescription,
    RuntimeInfo,
    bounded,
    parse_labels,
)


def test_what_a_node_announces_is_cut_to_what_is_kept() -> None:
    many = tuple(f"word-{number:04}" for number in range(1000))
    runtime = RuntimeInfo(
        name="x", version="v" * 1000, features=("b", "a", "b", *many), unavailable="u" * 1000
    )
    told = NodeDescription(
        runtimes=(runtime, *(RuntimeInfo(name=f"r{n}") for n in range(100))),
        features=("y" * (LONGEST_WORD + 1), "", "z"),
        labels={"": "x", "k" * 64: "x", "k": "v" * 1000} | {f"l{n}": "" for n in range(1000)},
        address="a" * 1000,
        cpus=-1.0,
        memory=1 << 62,
    )
    kept = bounded(told)
    assert len(kept.runtimes) == RUNTIMES_KEPT
    first = kept.runtimes[0]
    assert (len(first.version), len(first.unavailable)) == (LONGEST_VALUE, LONGEST_REASON)
    assert first.features[:3] == ("a", "b", "word-0000")
    assert len(first.features) == FEATURES_KEPT
    assert kept.features == ("z",)  # a word that was cut would be another
    assert (len(kept.labels), kept.labels["k"]) == (LABELS_KEPT, "v" * LONGEST_VALUE)
    assert (len(kept.address), kept.cpus, kept.memory) == (LONGEST_VALUE, 0.0, 1 << 53)
    assert bounded(kept) == kept


def test_of_two_runtimes_of_one_name_one_is_kept() -> None:
    told = NodeDescription(runtimes=(RuntimeInfo(name="x"), RuntimeInfo(name="x", version="2")))
    assert [one.name for one in bounded(told).runtimes] == ["x"]


def test_labels_are_read() -> None:
    written = ["zone=a", "example.org/rack=b=c", "gpu=", "zone=a"]
    assert parse_labels("--label", written) == {"zone": "a", "example.org/rack": "b=c", "gpu": ""}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["zone"], "--label: 'zone': want NAME=VALUE such as zone=a"),
        (["=a"], "--label: '': want a name of letters, digits and . _ / -"),
        (["-a=b"], "--label: '-a': want a name of letters, digits and . _ / -"),
        (["n" * 64 + "=a"], "at most 63"),
        (["zone=a\tb"], "--label zone: 'a\\tb': want a value of at most 255 printable characters"),
        (["zone=a", "zone=b"], "--label: 'zone=b': is zone=a too; want one of them"),
        ([f"l{n}=" for n in range(65)], "--label: 65: want at most 64 labels"),
    ],
)
def test_a_wrong_label_is_refused(written: list[str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_labels("--label", written)
    assert said in str(caught.value)
