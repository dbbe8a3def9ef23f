"""What a process was started with and passes on: ignored signals, a mask, limits, a umask.

A program must find the defaults, however the supervisor was started (`warren up &` ignores INT and
QUIT). The helper (`starter.py`) resets all of it for what it starts. What is started at once, by
fork and exec, finds them where this process itself is `is_plain`, which `settle` makes it.
"""

from __future__ import annotations

import resource
import signal
from types import FrameType

from warren.process.starter import UMASK as UMASK
from warren.process.starter import default_internal_signals

# Python ignores these for itself, and subprocess resets them in every child.
_PYTHONS = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
# A process that catches these and writes to a terminal is sent them again for ever; one that
# ignores them is not.
_TERMINALS = frozenset({signal.SIGTTIN, signal.SIGTTOU})


def settle() -> int:
    """Make this process plain, and raise its soft limit of descriptors to the hard one.

    Once, in the main thread of a program that is Warren's own, before it has threads. Returns the
    former soft limit: programs get it back, as some cannot handle many descriptors.
    """
    for number in _ignored() - _TERMINALS:
        # No change for ourselves. But a caught signal is back at its default after an exec.
        signal.signal(number, _ignore if number != signal.SIGCHLD else signal.SIG_DFL)
    default_internal_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def is_plain() -> bool:
    """Whether a program that this thread starts by fork and exec finds no trace of ours."""
    return not _ignored() and not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _ignored() -> set[signal.Signals]:
    ignored = {n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN}
    return ignored - _PYTHONS


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
