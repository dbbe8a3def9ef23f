"""Which task has which port of this node (S23).

A port belongs to a task from claim to release, across all its restarts. Free ones are chosen
outside the kernel's ephemeral range, so that no outgoing connection uses a port promised to a task;
the search starts at a hash of the task, so that tasks rarely collide and restarts find their old
numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

from warren.model.interfaces import PortTakenError
from warren.model.service import ANY_PORT
from warren.process.free_ports import ephemeral_range, is_port_free, lowest_for_all, may_listen
from warren.process.port_holder import PortHolders

LOWEST = 10_000


class PortAllocator:
    """The ports of one node. Asks the kernel through `is_free` and `may_use`."""

    def __init__(
        self,
        *,
        is_free: Callable[[int], bool] = is_port_free,
        may_use: Callable[[int], bool] = may_listen,
        holder: Callable[[int], str | None] | None = None,
        lowest: int = LOWEST,
        salt: str = "",
    ) -> None:
        """`salt` makes the choices of two supervisors on one machine differ. `holder` says which
        program outside Warren has a port, where that can be found out."""
        self._is_free = is_free
        self._may_use = may_use
        self._holder = PortHolders().of if holder is None else holder
        self._salt = salt
        ephemeral = ephemeral_range()
        self._choices = [port for port in range(lowest, 65536) if port not in ephemeral]
        self._owners = dict[int, str]()
        self._claims = dict[str, dict[str, int]]()

    def __repr__(self) -> str:
        return f"<PortAllocator {len(self._owners)} ports of {len(self._claims)} tasks>"

    def claim(
        self,
        task: str,
        names: Mapping[str, int],
        *,
        previous: Mapping[str, int] | None = None,
        adopt: bool = False,
    ) -> dict[str, int]:
        """Ports by name; `names` has a fixed number or 0 for any. Claiming again, before each
        start, returns the same, or another where the port has been taken meanwhile.

        `previous` are numbers to prefer, from before a restart. With `adopt` they are taken
        without a test, as the task's own program listens there.
        Raises PortTakenError, and then nothing was claimed.
        """
        held = self._claims.get(task, {})
        previous = {**held, **(previous or {})}
        self.release(task)
        found = dict[str, int]()
        for name, fixed in names.items():
            before = previous.get(name, ANY_PORT)
            taken = found.values()
            if adopt and before:
                found[name] = before
            elif fixed:
                found[name] = self._fixed(name, fixed)
            elif before and before not in taken and self._is_open(before):
                found[name] = before
            else:
                found[name] = self._any(f"{self._salt} {task} {name}", name, taken=set(taken))
        self._claims[task] = found
        self._owners.update(dict.fromkeys(found.values(), task))
        return dict(found)

    def release(self, task: str) -> None:
        """The task has ended for good. Harmless twice."""
        for port in self._claims.pop(task, {}).values():
            self._owners.pop(port, None)

    def _fixed(self, name: str, number: int) -> int:
        if not self._is_open(number):
            owner = self._owners.get(number)
            if owner is None and not self._may_use(number):
                wanted = f"want a port from {lowest_for_all()} on, or root or CAP_NET_BIND_SERVICE"
                said = f"port {name}: no right to listen on {number}"
                raise PortTakenError(f"{said}: {wanted} for the supervisor")
            raise _taken(name, number, owner or self._holder(number))
        return number

    def _any(self, key: str, name: str, *, taken: set[int]) -> int:
        count = len(self._choices)
        first = zlib.crc32(key.encode()) % count
        for step in range(count):
            port = self._choices[(first + step) % count]
            if port not in taken and self._is_open(port):
                return port
        raise _taken(name, ANY_PORT, None)

    def _is_open(self, port: int) -> bool:
        if port in self._owners:
            return False
        try:
            return self._is_free(port)
        except OSError as error:
            raise PortTakenError(f"no port can be tried now: {error.strerror}") from error


def _taken(name: str, number: int, by: str | None) -> PortTakenError:
    """The error for a port that is taken; `by` None is a program of which nothing is known."""
    if number == ANY_PORT:
        return PortTakenError(f"port {name}: no free port is left on this node")
    return PortTakenError(f"port {name}: {number} is taken by {by or 'another program'}")
