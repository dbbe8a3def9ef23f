"""Names: addresses from the resolver, in threads of its own (S10).

The resolver cannot be interrupted: a lookup that is cut at its attempt's timeout keeps its thread
until the resolver gives up, half a minute later. So lookups have their own threads, and other work
in threads (logs, listeners) waits for no name. One name has at most `PER_NAME` of them, so that a
name whose servers are silent leaves room for others. `localhost` and numbers need none.

Invariant: an attempt waits for a thread for `PATIENCE` of its time at most, and then ends in
`NoThreadError`: that is our shortage, and no fault of the service (S1). So an attempt that has got
a thread has most of its timeout left, and a failure from then on counts against the service.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import cast

import httpx
import trio

from warren.net.dial import Address

THREADS = 64
PER_NAME = 8
PATIENCE = 0.25  # of the time that an attempt has left; as much of a stall is excused (loop_lag.py)
_LOCALHOST = ("localhost", "localhost.")


class NoThreadError(OSError):
    """No thread for a lookup was free in time. Ours, like a lack of descriptors."""


async def look_up(host: str, port: int) -> list[Address]:
    """The addresses of a name, at least one, in the resolver's order. Raises OSError."""
    if host.lower() in _LOCALHOST:
        return _loopback(port)
    try:
        name = _encoded(host)
        return _as_number(name, port) or await Resolver.current().ask(name, port)
    except (ValueError, httpx.InvalidURL) as error:  # of IDNA, or of a null byte
        raise socket.gaierror(socket.EAI_NONAME, "this is no host name") from error


class Resolver:
    """The lookups under way in this Trio run: at most `total`, and of one name `per_name`."""

    def __init__(self, *, total: int = THREADS, per_name: int = PER_NAME) -> None:
        self.all = trio.CapacityLimiter(total)
        self._per_name = per_name
        self._names = dict[str, trio.CapacityLimiter]()  # of those that are asked for now

    @classmethod
    def current(cls) -> Resolver:
        """Those of this Trio run."""
        try:
            return _current.get()
        except LookupError:
            resolver = cls()
            _current.set(resolver)
            return resolver

    async def ask(self, host: str, port: int) -> list[Address]:
        """Ask the resolver, in a thread. Raises OSError, ValueError."""
        # Trio takes any object with the two methods, and releases it when the thread has ended.
        limiter = cast(trio.CapacityLimiter, _Thread(self, host))
        try:
            return await trio.to_thread.run_sync(
                _resolve, host, port, abandon_on_cancel=True, limiter=limiter
            )
        except trio.Cancelled as cancelled:
            cancelled.add_note(f"address of {host}")  # what a timeout was spent on
            raise
        except RuntimeError as error:
            raise NoThreadError(f"no thread for a name lookup: {error}") from error

    def of_name(self, host: str) -> trio.CapacityLimiter:
        """The limiter of one name; hold it, or `forget` it, before the next checkpoint."""
        return self._names.setdefault(host, trio.CapacityLimiter(self._per_name))

    def full_of(self, host: str) -> int:
        """How many lookups of one name there are, where it may have no more; else 0."""
        own = self._names.get(host)
        return int(own.borrowed_tokens) if own is not None and not own.available_tokens else 0

    def forget(self, host: str) -> None:
        """Keep nothing of a name that is not asked for any more."""
        if (own := self._names.get(host)) is not None:
            counted = own.statistics()
            if not counted.borrowed_tokens and not counted.tasks_waiting:
                del self._names[host]

    def __repr__(self) -> str:
        total = self.all
        return f"<Resolver {total.borrowed_tokens}/{total.total_tokens} names={len(self._names)}>"


class _Thread:
    """One lookup's claim to a thread, as the limiter that Trio asks: its name's limit first, so
    that a lookup that waits for it holds none of the total."""

    def __init__(self, resolver: Resolver, host: str) -> None:
        self._resolver = resolver
        self._host = host

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        left = trio.current_effective_deadline() - trio.current_time()
        if self._acquire_nowait(borrower):
            return
        with trio.move_on_after(max(left, 0.0) * PATIENCE):
            await self._acquire(borrower)
            return
        raise NoThreadError(self._shortage())

    def _acquire_nowait(self, borrower: object) -> bool:
        """Whether there was one at once: then no stall of ours counts against it."""
        own = self._resolver.of_name(self._host)
        if own.available_tokens and self._resolver.all.available_tokens:
            own.acquire_on_behalf_of_nowait(borrower)
            self._resolver.all.acquire_on_behalf_of_nowait(borrower)
            return True
        return False

    async def _acquire(self, borrower: object) -> None:
        own = self._resolver.of_name(self._host)
        try:
            await own.acquire_on_behalf_of(borrower)
            try:
                await self._resolver.all.acquire_on_behalf_of(borrower)
            except BaseException:
                own.release_on_behalf_of(borrower)
                raise
        except BaseException:
            self._resolver.forget(self._host)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self._resolver.of_name(self._host).release_on_behalf_of(borrower)
        self._resolver.all.release_on_behalf_of(borrower)
        self._resolver.forget(self._host)

    def _shortage(self) -> str:
        resolver, said = self._resolver, f"no thread free to look up {self._host}"
        if own := resolver.full_of(self._host):
            return f"{said}: {own} lookups of it have not ended"
        return f"{said}: {resolver.all.borrowed_tokens} lookups of names have not ended"


def _resolve(host: str, port: int, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def _encoded(host: str) -> str:
    """In ASCII, by the IDNA of 2008: Python's own is of 2003, and ends a name at a null byte."""
    if "\0" in host:
        raise ValueError("a null byte")
    return host if host.isascii() else httpx.URL(host=host).raw_host.decode("ascii")


def _as_number(host: str, port: int) -> list[Address]:
    """The address of a numeric host such as `fe80::1%eth0`; empty for a name."""
    try:
        return _resolve(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def _loopback(port: int) -> list[Address]:
    """IPv4 first, where a task listens unless its spec says otherwise (S14)."""
    addresses = [Address(socket.AF_INET, ("127.0.0.1", port))]
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.connect(("::1", port))  # sends nothing; fails where there is no IPv6
        addresses.append(Address(socket.AF_INET6, ("::1", port)))
    return addresses


_current: trio.lowlevel.RunVar[Resolver] = trio.lowlevel.RunVar("warren.net.resolver")
