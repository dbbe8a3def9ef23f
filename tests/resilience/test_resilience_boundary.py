"""A loop that serves goes on, whatever fails in it."""

from __future__ import annotations

import errno
import itertools
import logging
import os

import pytest
import trio
from trio.testing import MockClock

from warren.resilience.boundary import LONGEST_PAUSE, Boundary, survived
from warren.resilience.conditions import Conditions

SHORTAGES = ("EMFILE", "ENFILE", "ENOSPC", "EIO", "EAGAIN", "ENOMEM")


@pytest.mark.parametrize("name", SHORTAGES)
async def test_a_shortage_is_a_condition_while_it_lasts_and_ends_no_loop(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    number = getattr(errno, name)
    conditions = Conditions()
    boundary = Boundary("reaping", conditions)
    passes = list[float]()
    for attempt in range(12):
        async with boundary:
            passes.append(trio.current_time())
            if attempt < 10:
                shortage = OSError(number, os.strerror(number))
                raise shortage if attempt % 2 else ExceptionGroup("of a nursery", [shortage])
        assert conditions.has("reaping fails") == (attempt < 10)
    pauses = [later - before for before, later in itertools.pairwise(passes)]
    assert pauses[:3] == pytest.approx([0.1, 0.2, 0.4])
    assert max(pauses) == pytest.approx(LONGEST_PAUSE)
    (told,) = [record for record in caplog.records if record.name == "warren"]
    assert os.strerror(number) in told.getMessage()
    assert told.exc_info is None  # a shortage is no bug


async def test_a_group_and_a_bug_are_survived_and_a_cancellation_is_not(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    conditions = Conditions()
    boundary = Boundary("the link", conditions)
    async with boundary, trio.open_nursery() as nursery:
        nursery.start_soon(_fail)
    (condition,) = conditions.current()
    assert (condition.kind, condition.message) == ("the link fails", "KeyError: 'web'")
    (logged,) = [record for record in caplog.records if record.name == "warren"]
    assert logged.exc_info is not None
    with trio.move_on_after(1) as scope:
        while True:
            async with boundary:
                await trio.sleep_forever()
    assert scope.cancelled_caught
    with pytest.raises(KeyboardInterrupt):
        async with boundary:
            raise KeyboardInterrupt


async def test_what_fails_as_it_is_cancelled_is_told_and_stays_inside() -> None:
    conditions = Conditions()
    boundary = Boundary("the link", conditions)
    with trio.CancelScope() as scope:
        async with boundary, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await _fail()
    assert scope.cancelled_caught
    assert [one.message for one in conditions.current()] == ["KeyError: 'web'"]


async def _fail() -> None:
    raise KeyError("web")


def test_what_is_done_once_is_given_up_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    with survived("writing it down"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [record.getMessage() for record in caplog.records] == ["writing it down failed"]
