"""When a probe makes its next attempt (S7-S9). Times are the caller's monotonic seconds.

    before the first pass:  fast_interval after the last, and when the next fail may count
    afterwards:             phase + k * interval, the phase a hash of task and probe

Points that have gone by are dropped; nothing is made up for.
"""

from __future__ import annotations

import hashlib
import math

from warren.model.probe import Probe
from warren.rules.probe import SLACK


def first_attempt(probe: Probe, *, started: float, now: float) -> float:
    """The first attempt's time: at once, but not before initial_delay (S7)."""
    return max(now, started + probe.initial_delay)


def next_attempt(
    probe: Probe,
    *,
    has_passed: bool,
    key: str,
    last: float,
    now: float,
    due: float | None = None,
    origin: float = 0.0,
) -> float:
    """The attempt after the one scheduled for `last` and over by `now`. `key` names the probe, and
    `origin` is where its grid counts from.

    `due` is when the next fail may count: an attempt is made then too, so that the pace does not
    put the judgement off (S8).
    """
    if has_passed:
        earliest = max(now, last + probe.interval / 2)
        return grid_point(probe.interval, key, earliest=earliest, origin=origin)
    steps = max(1, math.ceil((now - last) / probe.pace - SLACK))
    paced = last + steps * probe.pace
    if due is None or due <= last + SLACK:
        return paced
    return min(paced, max(due, now))


def adopted_attempt(probe: Probe, *, key: str, now: float, origin: float = 0.0) -> float:
    """The first attempt on an adopted instance that had passed before: its grid point."""
    return grid_point(probe.interval, key, earliest=now, origin=origin)


def grid_point(interval: float, key: str, *, earliest: float, origin: float = 0.0) -> float:
    """The first point of the probe's grid that is not before `earliest`."""
    offset = origin + phase(key) * interval
    return offset + math.ceil((earliest - offset) / interval - SLACK) * interval


def phase(key: str) -> float:
    """A number in [0, 1) that belongs to the key: the same in every process and on every node."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
