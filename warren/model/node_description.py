"""What a node announces of itself when it enrols: its runtimes, and what they and it can do.

A feature is a word that the table of `rules/requirements.py` asks for. Words that this version does
not know are kept: they are no reason against a node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from warren.model.errors import SpecError

PROCESS = "process"  # the runtime of a spec without an image, and of a node that announces none
NO_LABELS: Mapping[str, str] = MappingProxyType({})

RUNTIMES_KEPT = 16  # of one node, here and below: further ones are dropped
FEATURES_KEPT = 64
LABELS_KEPT = 64
LONGEST_WORD = 63  # characters: of a runtime's name, a feature or a label's name; longer is dropped
LONGEST_VALUE = 255
LONGEST_REASON = 300
MOST_CPUS = 1e6
MOST_MEMORY = 1 << 53  # bytes: what every reader of JSON can hold
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?")


class RuntimeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime of a node. `features` is what it can do, also while it is not there;
    `unavailable` says why it is not, and is empty where it is. `version` is of what it drives;
    `no_limits` says why it cannot hold the limits (S27) that are not among its features."""

    name: str
    version: str = ""
    features: tuple[str, ...] = ()
    unavailable: str = ""
    no_limits: str = ""


class NodeDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it announces itself. `features` is what its supervisor can do with any runtime;
    `address` is where others reach the node, empty where that is not known; `cpus` and `memory`
    (bytes) are what there is for all that runs on it, 0 where that is not known."""

    runtimes: tuple[RuntimeInfo, ...] = ()
    features: tuple[str, ...] = ()
    labels: Mapping[str, str] = NO_LABELS
    address: str = ""
    cpus: float = 0.0
    memory: int = 0


UNDESCRIBED = NodeDescription(runtimes=(RuntimeInfo(name=PROCESS),))
"""A node of a version that announced nothing: it runs processes, without any feature."""


def bounded(told: NodeDescription) -> NodeDescription:
    """A node's own words, cut to what is kept of them. What is dropped it does not have."""
    runtimes = {one.name: one for one in told.runtimes if 0 < len(one.name) <= LONGEST_WORD}
    labels = {
        name: value[:LONGEST_VALUE]
        for name, value in told.labels.items()
        if 0 < len(name) <= LONGEST_WORD
    }
    return NodeDescription(
        runtimes=tuple(map(_bounded_runtime, [*runtimes.values()][:RUNTIMES_KEPT])),
        features=_words(told.features),
        labels=dict([*labels.items()][:LABELS_KEPT]),
        address=told.address[:LONGEST_VALUE],
        cpus=max(0.0, min(told.cpus, MOST_CPUS)),
        memory=max(0, min(told.memory, MOST_MEMORY)),
    )


def parse_labels(field: str, written: Iterable[str]) -> Mapping[str, str]:
    """Labels as options have them, each `NAME=VALUE`. Raises SpecError."""
    labels = dict[str, str]()
    for text in written:
        name, sign, value = text.partition("=")
        if not sign:
            raise SpecError(field, "want NAME=VALUE such as zone=a", value=text)
        if len(name) > LONGEST_WORD or not _LABEL.fullmatch(name):
            wanted = f"letters, digits and . _ / - between them, at most {LONGEST_WORD}"
            raise SpecError(field, f"want a name of {wanted}", value=name)
        if len(value) > LONGEST_VALUE or not value.isprintable():
            wanted = f"want a value of at most {LONGEST_VALUE} printable characters"
            raise SpecError(f"{field} {name}", wanted, value=value)
        if labels.setdefault(name, value) != value:
            raise SpecError(field, f"is {name}={labels[name]} too; want one of them", value=text)
    if len(labels) > LABELS_KEPT:
        raise SpecError(field, f"want at most {LABELS_KEPT} labels", value=len(labels))
    return labels


def _bounded_runtime(told: RuntimeInfo) -> RuntimeInfo:
    return RuntimeInfo(
        name=told.name,
        version=told.version[:LONGEST_VALUE],
        features=_words(told.features),
        unavailable=told.unavailable[:LONGEST_REASON],
        no_limits=told.no_limits[:LONGEST_REASON],
    )


def _words(told: Iterable[str]) -> tuple[str, ...]:
    """Each once, in order of the alphabet: the same words are the same row."""
    return tuple(sorted({word for word in told if 0 < len(word) <= LONGEST_WORD})[:FEATURES_KEPT])
