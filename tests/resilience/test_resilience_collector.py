"""What lives on is not walked again and again, and what dies later is found all the same."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from warren.resilience.collector import THRESHOLDS, WHOLE_EVERY, spread_collections

MANY = 400_000  # objects


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_no_collection_walks_everything_while_much_is_made() -> None:
    walked = list[int]()

    def look(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            walked.append(sum(gc.get_count()[:1]) + len(gc.get_objects(generation=1)))
            walked[-1] += len(gc.get_objects(generation=2))

    kept = list[list[int]]()
    with spread_collections():
        gc.callbacks.append(look)
        try:
            for number in range(MANY):
                kept.append([number])
        finally:
            gc.callbacks.remove(look)
        assert gc.get_freeze_count() > MANY / 2
    assert len(walked) >= MANY // (THRESHOLDS[0] + 5)
    assert max(walked) < 10 * THRESHOLDS[0]  # what was there before is frozen from the beginning


def test_what_is_frozen_and_dies_is_found_within_an_hour() -> None:
    clock = 0.0
    knot = Knot()
    seen = weakref.ref(knot)
    kept = list[list[int]]()
    with spread_collections(lambda: clock):
        gc.collect()
        del knot
        kept += [[number] for number in range(MANY)]
        assert seen() is not None
        clock += WHOLE_EVERY
        kept += [[number] for number in range(MANY)]
        assert seen() is None


def test_process_is_left_as_it_was() -> None:
    before = gc.get_threshold(), len(gc.callbacks), gc.get_freeze_count()
    with spread_collections():
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), len(gc.callbacks), gc.get_freeze_count()) == before
