"""Collections of garbage, spread: each walks what is new, and no pass of the loop walks everything.

    made -> young -> survives one or two collections -> frozen, as all is that was there before
                            ^------ thawed, an hour after the last full collection ------'

Python stops everything while it looks for cycles, and a full collection looks at all there is: a
third of a second for ten thousand tasks. What has survived a collection is as good as permanent
here, but for what was under way just then: Python can freeze all there is or nothing. That is freed
by counting, as a task is made to be (nursery/backward.py); a cycle in it is found when
everything is thawed. Python looks then as soon as a quarter of all is new, which is its own rule.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

# Objects more than there were; collections of the generation before. To look at a thousand that
# were not touched lately takes a millisecond.
THRESHOLDS = (400, 1, 1)
WHOLE_EVERY = 3600.0  # seconds


@contextmanager
def spread_collections(now: Callable[[], float] = time.monotonic) -> Generator[None, None, None]:
    """So it is in this block, in the whole process."""
    end = begin_spreading(now)
    try:
        yield
    finally:
        end()


def begin_spreading(now: Callable[[], float] = time.monotonic) -> Callable[[], None]:
    """So it is from now on, until what this gives is called."""
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
