"""The manager looks at its own event loop now and then."""

from __future__ import annotations

from typing import NoReturn

import trio

from warren.checks.lag import LoopLag
from warren.watch.boundary import Boundary
from warren.watch.conditions import Conditions
from warren.watch.lateness import WINDOW, note_lateness

LOOK_EVERY = 2.0  # seconds


async def serve_selfwatch(conditions: Conditions) -> NoReturn:
    """Look, for ever."""
    boundary = Boundary("watching ourselves", conditions)
    lag = LoopLag.current()
    while True:
        await trio.sleep(LOOK_EVERY)
        async with boundary:
            note_lateness(conditions, lag.recent(WINDOW))
