"""The lateness of a loop, from its stalls."""

from __future__ import annotations

import pytest

from warren.resilience.conditions import Conditions
from warren.resilience.loop_delay import lateness, note_lateness


@pytest.mark.parametrize(
    ("stalls", "late"),
    [
        ([], 0.0),
        ([0.05], 0.0),  # half a percent of ten seconds
        ([0.3], 0.2),  # in the first 0.1 s of it one waits for longer than 0.2 s
        ([0.2, 0.2], 0.15),
        ([1.0, 0.01], 0.9),
        ([0.02] * 100, 0.019),
        ([20.0], 19.9),
    ],
)
def test_lateness_is_what_one_in_a_hundred_moments_exceeds(
    stalls: list[float], late: float
) -> None:
    assert lateness(stalls) == pytest.approx(late)


def test_lag_is_a_condition_while_it_lasts_and_a_burst_is_none() -> None:
    conditions = Conditions()
    note_lateness(conditions, [(0.5, 0.1), (0.5, 0.6), (0.5, 1.1)])
    assert not conditions.has("lag")
    note_lateness(conditions, [(0.5, 0.1), (0.5, 3.0), (0.5, 5.0)])
    (lag,) = conditions.current()
    assert "467 ms late" in lag.message
    note_lateness(conditions, [(0.5, 9.0)])
    assert not conditions.has("lag")
