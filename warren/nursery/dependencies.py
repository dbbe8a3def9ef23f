"""What every task of a node depends on: the interfaces, and the sources of time and randomness."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from warren.model.event import TaskEvent
from warren.model.interfaces import Journal, Ports, RunCheck, Runtime
from warren.model.node_description import UNDESCRIBED, NodeDescription
from warren.model.task import TaskStatus
from warren.resilience.conditions import Conditions
from warren.resilience.fair_turns import FairTurns
from warren.resilience.loop_lag import LoopLag
from warren.resilience.start_limit import StartLimit


class Describer(Protocol):
    """What the node announces, which may change: an engine comes and goes."""

    def now(self) -> NodeDescription:
        """As it is now."""
        ...

    async def wait_other(self, than: NodeDescription) -> None:
        """Wait until it is another one than this, if it is not already."""
        ...


Publish = Callable[[TaskStatus, TaskEvent], None]


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The dependencies of a node's tasks. `wall` returns seconds since the epoch; `publish` is
    called on every transition, must be quick and must not raise. `inherited` is the environment
    that tasks take PATH, HOME, LANG and TZ from. Trouble of the node is set in `conditions`;
    `lacking` says where the limits of this process do not suffice for so many tasks;
    `starts` and `turns` pace what thousands of tasks do at once. `containment` says how the
    runtime keeps together what a task starts; `description` is what the node announces when it
    enrols, and `describer` knows what becomes of it, where it may change. `grid_origin` is the
    instant in Trio's time that the grids of probes count from (S7)."""

    node: str
    runtime: Runtime
    check: RunCheck
    ports: Ports
    journal: Journal
    publish: Publish
    wall: Callable[[], float] = time.time
    chance: random.Random = field(default_factory=random.Random)
    inherited: Mapping[str, str] = field(default_factory=dict[str, str])
    samples_kept: int = 20
    grid_origin: float = 0.0
    containment: str = ""
    description: NodeDescription = UNDESCRIBED
    describer: Describer | None = None
    conditions: Conditions = field(default_factory=Conditions)
    lacking: Callable[[int], str | None] = lambda tasks: None
    starts: StartLimit = field(default_factory=StartLimit)
    turns: FairTurns = field(default_factory=lambda: FairTurns(lambda: LoopLag.current().spent()))
