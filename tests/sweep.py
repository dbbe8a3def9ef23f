"""Cancel an operation at its first step, at its second, ... until it gets through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class _Countdown(trio.abc.Instrument):
    """Cancels a scope before the n-th step that any task takes."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._left = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def cancel_at_every_step(
    operation: Callable[[], Awaitable[object]],
    check: Callable[[int], object],
    *,
    stride: int = 1,
    most: int = 10_000,
) -> int:
    """Run `operation` again and again, cancelled one step later each time, with `check(step)`
    after each. Returns how many times it was cancelled before it got through."""
    for count, step in enumerate(range(1, most, stride)):
        with trio.CancelScope() as scope:
            countdown = _Countdown(scope, step)
            trio.lowlevel.add_instrument(countdown)
            try:
                await operation()
            finally:
                trio.lowlevel.remove_instrument(countdown)
        check(step)
        if not scope.cancelled_caught:
            return count
    raise AssertionError(f"did not get through within {most} steps")
