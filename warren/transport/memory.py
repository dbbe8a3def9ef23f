"""A link within one process: the same protocols, the same errors, no wire.

A call runs in the caller's own task, so that cancelling it cancels what is done for it. A link that
is cut ends the calls in flight, on both sides, like a connection that is gone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, cast

import trio

from warren.model.errors import LinkLostError
from warren.model.principal import Principal, PrincipalKind
from warren.model.rpc import Gate
from warren.transport.call_limits import CallLimits
from warren.transport.connection import AcceptedConnection, Limits
from warren.transport.methods import LinkedGate, Method, interface, is_capability, proxy
from warren.transport.wire_errors import answer

STANDARD = Limits()


class LinkFaults(Protocol):
    """Faults of a message on its way: it may delay it for any time, also for ever."""

    async def __call__(self, method: str, way: Literal["there", "back"]) -> None: ...


class MemoryGate(LinkedGate, Protocol):
    """A gate in the same process."""

    def cut(self, why: str = "cut") -> None:
        """Lose the link now: calls in flight and later ones raise LinkLostError."""
        ...


@asynccontextmanager
async def memory_gate(
    gate: Callable[[AcceptedConnection], Gate],
    *,
    faults: LinkFaults | None = None,
    limits: Limits = STANDARD,
) -> AsyncGenerator[MemoryGate, None]:
    """The gate that `gate` makes for this connection, as long as the block lasts."""
    link = _Link(faults, limits)
    offered = link.carry(Gate, gate(link.connection), lost=link.connection.closed, cut=link.cut)
    try:
        yield cast("MemoryGate", offered)
    finally:
        link.cut("closed on the other side")
        with trio.CancelScope(shield=True):
            await link.connection.ended.wait()


class _Link:
    """Both ends of it."""

    def __init__(self, faults: LinkFaults | None, limits: Limits) -> None:
        principal = Principal(PrincipalKind.EMBEDDED, uid=os.geteuid())
        self.connection = AcceptedConnection("this process", principal, on_closed=self._end)
        self._faults = faults
        self._places = CallLimits(limits.calls)
        self._flights = set[trio.CancelScope]()

    def __repr__(self) -> str:
        return f"<a link within the process: {len(self._flights)} calls>"

    def cut(self, why: str = "cut") -> None:
        self.connection.note_closed(why)

    def carry(self, kind: type, target: object, **attributes: object) -> Any:
        """The object as the other end sees it."""
        found = {name: getattr(target, name) for name in interface(kind).attributes}

        async def invoke(method: Method, arguments: dict[str, Any]) -> Any:
            return await self._call(target, method, arguments)

        return cast("Any", proxy(kind, invoke, **found, **attributes))

    async def _call(self, target: object, method: Method, arguments: dict[str, Any]) -> Any:
        if self.connection.closed.is_set():
            raise self._lost()
        flight = trio.CancelScope()
        self._flights.add(flight)
        try:
            with self._places.taken(method.name), flight:
                return await self._fly(target, method, arguments)
        finally:
            self._flights.discard(flight)
            if self.connection.closed.is_set():
                self._end()
        raise self._lost()

    async def _fly(self, target: object, method: Method, arguments: dict[str, Any]) -> Any:
        await trio.lowlevel.checkpoint()
        if self._faults is not None:
            await self._faults(method.name, "there")
        carried = {
            name: self.carry(hint, arguments[name]) if is_capability(hint) else arguments[name]
            for name, hint in method.parameters.items()
        }
        fault, value = await answer(target, method.name, carried)
        if self._faults is not None:
            await self._faults(method.name, "back")
        if fault is not None:
            raise fault.error(self.connection.peer)
        return self.carry(method.returns, value) if is_capability(method.returns) else value

    def _end(self) -> None:
        """Cancel the calls in flight; once there are none, the connection has ended."""
        for flight in self._flights:
            flight.cancel()
        if not self._flights:
            self.connection.ended.set()

    def _lost(self) -> LinkLostError:
        return LinkLostError(f"the link within the process is lost: {self.connection.why}")
