"""What is about to end is looked at at once, then ever less often."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from warren.process.pauses import Pauses


async def test_first_looks_cost_a_pass_each_and_later_ones_come_less_and_less_often(
    autojump_clock: MockClock,
) -> None:
    pauses, began, taken = Pauses(), trio.current_time(), list[float]()
    for _ in range(20):
        before = trio.current_time()
        await pauses.wait()
        taken.append(trio.current_time() - before)
    assert taken[:10] == [0.0] * 10
    assert taken[10:16] == pytest.approx([0.001, 0.002, 0.004, 0.008, 0.016, 0.032])
    assert taken[16:] == pytest.approx([0.05] * 4)
    assert trio.current_time() - began < 1


async def test_every_pause_lets_others_run_and_can_be_cancelled() -> None:
    pauses = Pauses()
    with trio.CancelScope() as scope:
        scope.cancel()
        await pauses.wait()
    assert scope.cancelled_caught
