"""Checks: HTTP, TCP and exec. One attempt in, one outcome out, never an exception (S1, S11-S13).

`run_check` is ready to use; `Checker` takes another HTTP transport or loop monitor;
`ConcurrencyCaps` bounds how many attempts are in flight.
"""

from warren.checks.concurrency import CapsStatistics, ConcurrencyCaps
from warren.checks.fair_queue import CapStatistics
from warren.checks.http import HttpChecker
from warren.checks.run import Checker, run_check
from warren.net.http_transport import ProbeTransport
from warren.resilience.loop_lag import LoopLag

__all__ = [
    "CapStatistics",
    "CapsStatistics",
    "Checker",
    "ConcurrencyCaps",
    "HttpChecker",
    "LoopLag",
    "ProbeTransport",
    "run_check",
]
