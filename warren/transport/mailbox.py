"""Calls from one thread to another, and an event loop's wait for the kernel."""

from __future__ import annotations

import logging
import selectors
from collections import deque
from collections.abc import Callable
from typing import Any

ROUNDS_UNASKED = 4  # so many rounds of callbacks before the kernel is asked again
_log = logging.getLogger("warren.transport")


class Mailbox:
    """Calls for another thread, made there in order. `wake` makes that thread `empty` it.

    Putting is safe in any thread and at any moment, a finalizer's too: it takes no lock.
    """

    def __init__(self, wake: Callable[[Callable[[], None]], None]) -> None:
        self._wake = wake
        self._calls = deque[tuple[Callable[..., object], tuple[Any, ...]]]()
        self._is_awake = False

    def put(self, function: Callable[..., object], *args: Any) -> None:
        """Call it there soon; never, if that thread's loop has ended."""
        self._calls.append((function, args))
        if not self._is_awake:
            self._is_awake = True
            try:
                self._wake(self.empty)
            except BaseException:  # no memory, say: the next one wakes
                self._is_awake = False
                raise

    def empty(self) -> None:
        """Make the calls. Never raises: that would end the whole Trio run."""
        self._is_awake = False  # before the first call is taken: what is put from now on wakes
        for _ in range(len(self._calls)):
            function, args = self._calls.popleft()
            try:
                function(*args)
            except Exception:
                _log.exception("a call between the threads failed, which is a bug")
        if self._calls and not self._is_awake:
            self._is_awake = True
            self._wake(self.empty)


class Selector(selectors.EpollSelector):
    """Asks the kernel only now and then while there are callbacks to run: asyncio asks before each
    round of them, and a call takes seven. Before it waits, it does what was put off until then."""

    def __init__(self) -> None:
        super().__init__()
        self.before_waiting: Callable[[], None] | None = None
        self._unasked = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0 and self._unasked < ROUNDS_UNASKED:
            self._unasked += 1
            return []
        self._unasked = 0
        self.catch_up()
        return super().select(timeout)

    def catch_up(self) -> None:
        """Do what was put off."""
        if self.before_waiting is not None:
            before, self.before_waiting = self.before_waiting, None
            try:
                before()
            except BaseException:
                self.before_waiting = before
                raise
