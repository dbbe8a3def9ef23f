"""What must be restored before a Ctrl-\\ (SIGQUIT) ends the process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def before_quit(restore: Callable[[], None]) -> Generator[None, None, None]:
    """Inside the block SIGQUIT, where it would end the process, calls `restore` first."""

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # first: should that hang, the next one ends it
        restore()
        signal.raise_signal(number)

    if signal.getsignal(signal.SIGQUIT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGQUIT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
