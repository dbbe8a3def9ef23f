"""`run_check`: every kind of check behind one call. Adding a kind is one file and one line here."""

from __future__ import annotations

import httpx

from warren.checks.exec import ExecChecker
from warren.checks.http import HttpChecker
from warren.checks.tcp import TcpChecker
from warren.model.check import Check, ExecCheck, HttpCheck, Outcome
from warren.model.interfaces import RunCheck, Target
from warren.net.closing import DialRate
from warren.net.http_transport import ProbeTransport
from warren.resilience.loop_lag import LoopLag


class Checker:
    """A `RunCheck` for every kind of check.

    `transport` sends HTTP requests (default: `ProbeTransport`); `lag` knows when our own event
    loop stalled (default: one monitor per Trio run, installed at the first attempt).
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        lag: LoopLag | None = None,
    ) -> None:
        frequency = DialRate()
        self._http = HttpChecker(
            transport=transport or ProbeTransport(frequency=frequency), lag=lag
        )
        self._exec = ExecChecker(lag=lag)
        self._tcp = TcpChecker(lag=lag, frequency=frequency)

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        if isinstance(check, HttpCheck):
            return await self._http(check, target, timeout=timeout)
        if isinstance(check, ExecCheck):
            return await self._exec(check, target, timeout=timeout)
        return await self._tcp(check, target, timeout=timeout)


run_check: RunCheck = Checker()
