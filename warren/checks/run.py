"""`run_check`: every kind of check behind one call. A kind is one module, and one row here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import httpx

from warren.checks.exec import ExecChecker
from warren.checks.http import HttpChecker
from warren.checks.tcp import TcpChecker
from warren.model.check import Check, Outcome
from warren.model.check_kinds import CHECK_KINDS
from warren.model.interfaces import RunCheck, Target
from warren.net.closing import DialRate
from warren.net.http_transport import ProbeTransport
from warren.resilience.loop_lag import LoopLag


class Shared(NamedTuple):
    """What the checkers of one node have in common: who sends HTTP requests, when our own event
    loop stalled, and which addresses are asked very often."""

    transport: httpx.AsyncBaseTransport
    lag: LoopLag | None
    rate: DialRate


Ask = Callable[..., Awaitable[Outcome]]
"""A `RunCheck` for checks of one kind."""

CHECKERS: Mapping[str, Callable[[Shared], Ask]] = MappingProxyType(
    {
        "http": lambda shared: HttpChecker(transport=shared.transport, lag=shared.lag),
        "tcp": lambda shared: TcpChecker(lag=shared.lag, frequency=shared.rate),
        "exec": lambda shared: ExecChecker(lag=shared.lag),
    }
)


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
        rate = DialRate()
        shared = Shared(transport or ProbeTransport(frequency=rate), lag, rate)
        self._asks = {kind.asks: CHECKERS[kind.name](shared) for kind in CHECK_KINDS}

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        return await self._asks[type(check)](check, target, timeout=timeout)


run_check: RunCheck = Checker()
