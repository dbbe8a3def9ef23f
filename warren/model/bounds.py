"""The bounds of what a message may contain, by a field's name: no input is taken unbounded.

A client's request is judged by the model, which is stricter and says what would be right. These
bounds are for what a far side reports, where an unchecked value would overflow, block or exhaust
something. A number or a list without an entry here is bounded by COUNT, or by ITEMS. A service is
held to them where it is submitted, also within a process (`rules/spec_bounds.py`): what a wire
refuses to carry is not admitted anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from warren.model.node_description import MOST_MEMORY
from warren.model.task import MOST_COUNTED


class Range(NamedTuple):
    """Both ends included."""

    low: float
    high: float


_ORDER = Range(0, 2**62)  # only grows; one more still fits SQLite
COUNT = Range(0, MOST_COUNTED)
_SECONDS = Range(0, 10**10)
_BYTES = Range(0, MOST_MEMORY)
_JUDGED = Range(-(2**63), 2**63 - 1)  # by the model, or by the receiver

NUMBERS: Mapping[str, Range] = {
    "after": _ORDER,
    "base": _ORDER,
    "cpu_seconds": _SECONDS,
    "duration": _SECONDS,
    "epoch": _ORDER,
    "exit_code": _JUDGED,
    "generation": _ORDER,
    "hard": _JUDGED,
    "limit_bytes": _BYTES,
    "longest_wait": _SECONDS,
    "lost": _ORDER,
    "max_attempts": _JUDGED,
    "memory": _JUDGED,
    "memory_peak": _BYTES,
    "memory_used": _BYTES,
    "number": Range(0, 10**18),
    "offset": _ORDER,
    "peak_bytes": _BYTES,
    "pid": Range(0, 2**31 - 1),
    "pids": _JUDGED,
    "port": _JUDGED,
    "ports": Range(-(2**31), 2**31 - 1),
    "replicas": _JUDGED,
    "retries": _JUDGED,
    "seq": _ORDER,
    "sequence": Range(0, 2**53),  # as it is stored
    "size": _JUDGED,
    "slot": Range(0, 10**9),
    "soft": _JUDGED,
    "successes": _JUDGED,
    "throttled_seconds": _SECONDS,
    "version": _ORDER,
    "waited": _SECONDS,
}

ITEMS = 10_000
LISTS: Mapping[str, int] = {
    "applied": 100_000,
    "cap_add": 1_000,
    "cap_drop": 1_000,
    "features": 1_000,
    "conditions": 1_000,
    "gone_nodes": 100_000,
    "gone_services": 100_000,
    "gone_slots": 1_000_000,
    "handle": 1_000,
    "headers": 1_000,
    "kept": 100_000,
    "labels": 1_000,
    "mounts": 1_000,
    "nodes": 100_000,
    "places": 16,
    "ports": 1_000,
    "probes": 16,  # a later version may know more kinds than we do
    "purged": 100_000,
    "removed": 1_000_000,
    "runtimes": 1_000,
    "services": 100_000,
    "specs": 100_000,
    "statuses": 100_000,
    "tasks": 1_000_000,
    "troubled_nodes": 100_000,
    "ulimits": 1_000,
    "usages": 1_000_000,
}

TEXT = 256 << 10  # characters of a text, and bytes of data
TEXTS: Mapping[str, int] = {
    "address": 1_000,
    "by": 1_000,
    "changed": 1_000,
    "cursor": 4_000,
    "detail": 16_000,
    "features": 1_000,
    "gone_nodes": 1_000,
    "gone_services": 1_000,
    "handle": 16_000,
    "id": 1_000,
    "labels": 16_000,
    "message": 16_000,
    "name": 1_000,
    "network": 1_000,
    "no_limits": 16_000,
    "node": 1_000,
    "reason": 1_000,
    "runtime": 1_000,
    "service": 1_000,
    "services": 1_000,
    "signal": 1_000,
    "subject": 1_000,
    "troubled_nodes": 1_000,
    "unavailable": 16_000,
    "version": 1_000,
    "warning": 16_000,
    "warren": 1_000,
    "word": 1_000,
}

SPEC = 16 << 20  # bytes of a service's texts, so that any answer has room for some of them


def number_bound(name: str) -> Range:
    """What a number of this name may be."""
    return NUMBERS.get(name, COUNT)


def list_bound(name: str) -> int:
    """How many items a list of this name may have."""
    return LISTS.get(name, ITEMS)


def text_bound(name: str) -> int:
    """How long a text of this name may be."""
    return TEXTS.get(name, TEXT)
