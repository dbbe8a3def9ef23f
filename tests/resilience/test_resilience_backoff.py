"""Pauses double up to their limit, begin anew after a reset, and are spread where asked."""

from __future__ import annotations

import random

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from warren.resilience.backoff import Backoff


def test_backoff_doubles_up_to_its_limit_and_begins_anew() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [round(backoff.next(), 3) for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert repr(backoff) == "<Backoff 0.5s of at most 0.5s>"
    backoff.reset()
    assert backoff.next() == 0.1


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_backoff_with_chance_lies_between_its_pause_and_twice_that(seed: int, count: int) -> None:
    plain, spread = Backoff(0.1, 2.0), Backoff(0.1, 2.0, chance=random.Random(seed))
    for _ in range(count):
        pause = plain.next()
        assert pause <= spread.next() <= 2 * pause


async def test_backoff_waits_as_long_as_it_says(autojump_clock: MockClock) -> None:
    backoff, began = Backoff(1.0, 60.0), trio.current_time()
    await backoff.wait()
    await backoff.wait()
    assert trio.current_time() - began == 3.0
