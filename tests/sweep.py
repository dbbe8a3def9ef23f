"""Cancel an operation at its first step, at its second, ... until it gets through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class _Countdown(trio.abc.Instrument):
    """Cancels a scope before the n-th step that any task takes."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self.left = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self._scope.cancel()


async def cancel_at_every_step(
    operation: Callable[[], Awaitable[object]],
    *,
    prepare: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint,
    check: Callable[[int], object] = lambda step: None,
    stride: int = 1,
    most: int = 10_000,
) -> int:
    """Run `operation` again and again, cancelled `stride` steps later each time, until it gets
    through. `prepare` runs before each, in peace, and `check(step)` after. Returns how many
    times it was cancelled."""
    for count, step in enumerate(range(1, most, stride)):
        await prepare()
        scope = trio.CancelScope()
        countdown = _Countdown(scope, step)
        with scope:
            trio.lowlevel.add_instrument(countdown)
            try:
                await operation()
            finally:
                trio.lowlevel.remove_instrument(countdown)
        check(step)
        if countdown.left > 0:
            return count
    raise AssertionError(f"did not get through within {most} steps")
