"""Garbage collections, spread: each walks new objects, and no pass of the loop walks all of them.

    made -> young -> survives one or two collections -> frozen, as are all that existed before
                            ^------ thawed, an hour after the last full collection ------'

Python stops everything while it looks for cycles, and a full collection walks all objects: a third
of a second for ten thousand tasks. What has survived a collection is practically permanent here,
but for what was in progress just then: Python can freeze all objects or none. Those are freed by
reference counting, which tasks are made for (nursery/weak_callback.py); a cycle among them is found
when everything is thawed. Python then collects once a quarter of all is new, which is its own rule.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

# Additional objects; collections of the generation before. To walk a thousand that were not touched
# lately takes a millisecond.
THRESHOLDS = (400, 1, 1)
WHOLE_EVERY = 3600.0  # seconds


@contextmanager
def spread_collections(now: Callable[[], float] = time.monotonic) -> Generator[None, None, None]:
    """Spread collections in this block, in the whole process."""
    end = begin_spreading(now)
    try:
        yield
    finally:
        end()


def begin_spreading(now: Callable[[], float] = time.monotonic) -> Callable[[], None]:
    """Spread collections from now on, until the returned function is called."""
    whole_at = now()

    def note(phase: str, info: dict[str, Any]) -> None:
        nonlocal whole_at
        if phase == "start" or info["generation"] == 0:
            return
        if info["generation"] > 1:
            whole_at = now()
        if now() < whole_at + WHOLE_EVERY:
            gc.freeze()  # this also puts off a full collection: none is due
        else:
            gc.unfreeze()

    def end() -> None:
        gc.callbacks.remove(note)
        gc.unfreeze()
        gc.set_threshold(*before)

    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(note)
    return end
