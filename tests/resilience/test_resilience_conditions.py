"""Conditions: set, told of once, cleared."""

from __future__ import annotations

import logging

import pytest

from warren.model.condition import CONDITIONS_KEPT, NodeCondition
from warren.resilience.conditions import Conditions


def test_a_condition_begins_once_whatever_its_message_and_is_logged_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 5.0
    conditions = Conditions(lambda: now)
    conditions.set("disk", "1 row waits")
    now = 6.0
    conditions.set("disk", "2 rows wait")
    assert conditions.current() == (NodeCondition("disk", "2 rows wait", 5.0),)
    conditions.clear("disk")
    conditions.clear("disk")
    assert conditions.current() == ()
    assert [record.getMessage() for record in caplog.records] == ["disk: 1 row waits", "disk: over"]


def test_a_change_wakes_and_what_is_the_same_does_not() -> None:
    conditions = Conditions(lambda: 5.0)
    before = conditions.changed
    conditions.set("disk", "full")
    assert before.is_set()
    before = conditions.changed
    conditions.set("disk", "full")
    conditions.clear("lag")
    assert not before.is_set()
    conditions.clear("disk")
    assert before.is_set()


def test_conditions_are_bounded() -> None:
    conditions = Conditions(lambda: 5.0)
    for number in range(2 * CONDITIONS_KEPT):
        conditions.set(f"kind {number}", "x" * 1000)
    assert len(conditions.current()) == CONDITIONS_KEPT
    assert {len(one.message) for one in conditions.current()} == {300}
