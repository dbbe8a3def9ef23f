"""The TCP check: connect and close; nothing is sent (S12)."""

from __future__ import annotations

from warren.checks.attempt import Attempt
from warren.checks.dial import Address, connected, hang_up, look_up, numeric
from warren.checks.lag import LoopLag
from warren.checks.ports import port_number
from warren.model.check import Outcome, Result, TcpCheck
from warren.model.seams import Target


class TcpChecker:
    """Runs TCP checks."""

    def __init__(self, *, lag: LoopLag | None = None) -> None:
        self._lag = lag

    async def __call__(self, check: TcpCheck, target: Target, *, timeout: float) -> Outcome:
        """One attempt: passes when the instance accepts a connection within `timeout` seconds."""
        with Attempt(timeout, self._lag) as attempt:
            port = port_number(check.port, target.ports)
            await _connect(target.address, port)
            attempt.answer(Result.PASS, "connected")
        return attempt.outcome


async def _connect(host: str, port: int) -> None:
    address = numeric(host, port)
    if address is not None:
        hang_up(await connected(address))
        return
    *others, last = await look_up(host, port)
    for other in others:
        if await _accepts(other):
            return
    hang_up(await connected(last))


async def _accepts(address: Address) -> bool:
    try:
        hang_up(await connected(address))
    except OSError:
        return False
    return True
