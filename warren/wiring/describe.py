"""What this machine announces of itself as a node."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from warren.model.node_description import NodeDescription
from warren.process.machine import usable_cpus, usable_memory
from warren.runtime.runtimes import Runtimes


class LiveDescriber:
    """Implements `Describer` for this machine: its runtimes come and go."""

    def __init__(self, runtimes: Runtimes, *, labels: Mapping[str, str], address: str) -> None:
        self._runtimes = runtimes
        self._labels = labels
        self._address = address

    def __repr__(self) -> str:
        return f"<LiveDescriber of {self._runtimes!r}>"

    def now(self) -> NodeDescription:
        return describe(self._runtimes, labels=self._labels, address=self._address)

    async def wait_other(self, than: NodeDescription) -> None:
        while self.now() == than:
            await self._runtimes.wait_changed()


def describe(runtimes: Runtimes, *, labels: Mapping[str, str], address: str) -> NodeDescription:
    """What its runtimes can do, what it was told, and what it has."""
    return msgspec.structs.replace(
        runtimes.description(),
        labels=labels,
        address=address,
        cpus=usable_cpus(),
        memory=usable_memory(),
    )
