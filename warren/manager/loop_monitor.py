"""The manager checks its own event loop now and then."""

from __future__ import annotations

from typing import NoReturn

import trio

from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions
from warren.resilience.loop_delay import WINDOW, note_lateness
from warren.resilience.loop_lag import LoopLag

LOOK_EVERY = 2.0  # seconds


async def serve_loop_monitor(conditions: Conditions) -> NoReturn:
    """Look, for ever."""
    boundary = Boundary("watching ourselves", conditions)
    lag = LoopLag.current()
    while True:
        await trio.sleep(LOOK_EVERY)
        async with boundary:
            note_lateness(conditions, lag.recent(WINDOW))
