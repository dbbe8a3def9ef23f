"""Checks: HTTP, TCP and exec. One attempt in, one outcome out, never an exception (S1, S11-S13).

`run_check` is ready to use; `Checker` takes another HTTP transport or loop monitor; `Caps`
bounds how many attempts are in flight.
"""

from warren.checks.caps import Caps, CapsStatistics
from warren.checks.http import HttpChecker
from warren.checks.http_transport import LeanTransport
from warren.checks.lag import LoopLag
from warren.checks.places import CapStatistics
from warren.checks.run import Checker, run_check

__all__ = [
    "CapStatistics",
    "Caps",
    "CapsStatistics",
    "Checker",
    "HttpChecker",
    "LeanTransport",
    "LoopLag",
    "run_check",
]
