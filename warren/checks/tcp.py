"""The TCP check: connect and close, in order; nothing is sent (S12).

A server may accept and reset at once, before our loop comes to look: that is a pass too, or the
outcome would depend on our own load.
"""

from __future__ import annotations

import socket

from warren.checks.attempt import Attempt
from warren.checks.port_names import port_number
from warren.model.check import Outcome, Result, TcpCheck
from warren.model.interfaces import Target
from warren.net.closing import DialRate, close_in_order, hang_up
from warren.net.dial import Address, connected, numeric
from warren.net.resolver import look_up
from warren.resilience.loop_lag import LoopLag


class TcpChecker:
    """Runs TCP checks. `frequency` knows which addresses are asked very often."""

    def __init__(self, *, lag: LoopLag | None = None, frequency: DialRate | None = None) -> None:
        self._lag = lag
        self._frequency = frequency or DialRate()

    async def __call__(self, check: TcpCheck, target: Target, *, timeout: float) -> Outcome:
        """One attempt: passes when the instance accepts a connection within `timeout` seconds."""
        with Attempt(timeout, self._lag) as attempt:
            port = port_number(check.port, target.ports)
            address, sock = await _connect(check.host or target.address, port)
            try:
                attempt.answer(Result.PASS, "connected")
                if not self._frequency.note(address.sockaddr) and sock is not None:
                    await close_in_order(sock)
            finally:
                if sock is not None:
                    hang_up(sock, reset=True)  # where it was not closed in order
        return attempt.outcome


async def _connect(host: str, port: int) -> tuple[Address, socket.socket | None]:
    address = numeric(host, port)
    if address is not None:
        return address, await _connected(address)
    *others, last = await look_up(host, port)
    for other in others:
        try:
            return other, await _connected(other)
        except OSError:
            continue
    return last, await _connected(last)


async def _connected(address: Address) -> socket.socket | None:
    """None where it was connected and the server has reset it already."""
    try:
        return await connected(address)
    except (ConnectionResetError, BrokenPipeError):
        return None
