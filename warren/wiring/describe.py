"""What this machine announces of itself as a node."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from warren.model.node_description import NodeDescription
from warren.process.machine import usable_cpus, usable_memory
from warren.runtime.runtimes import Runtimes


def describe(runtimes: Runtimes, *, labels: Mapping[str, str], address: str) -> NodeDescription:
    """What its runtimes can do, what it was told, and what it has."""
    return msgspec.structs.replace(
        runtimes.description(),
        labels=labels,
        address=address,
        cpus=usable_cpus(),
        memory=usable_memory(),
    )
