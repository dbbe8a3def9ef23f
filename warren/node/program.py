"""The program of one node: its tasks, and its link to the manager."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from warren import __version__
from warren.model.identity import instance_prefix
from warren.model.interfaces import Journal, LogSource, Runtime
from warren.model.report import NodeHello
from warren.node.agent import NodeAgent
from warren.node.manager_link import Dial, ManagerLink
from warren.node.self_monitor import SelfMonitor
from warren.nursery.dependencies import Dependencies
from warren.resilience.boundary import Boundary

RESUME_AFTER = 3.0  # seconds: so long a start waits to hear whether its tasks are still wanted
LAST_WORDS = 2.0  # seconds for what is left to be reported at the end
_log = logging.getLogger("warren.supervisor")


class Node:
    """Made by `open_node`. `stops_tasks`: what leaving the block does."""

    def __init__(self, agent: NodeAgent, link: ManagerLink, *, stops_tasks: bool) -> None:
        self.agent = agent
        self.link = link
        self.stops_tasks = stops_tasks

    def __repr__(self) -> str:
        return f"<Node {self.agent!r}, {self.link!r}>"


@asynccontextmanager
async def open_node(
    dependencies: Dependencies, logs: LogSource, dial: Dial, *, stops_tasks: bool
) -> AsyncGenerator[Node, None]:
    """The node's supervisor, with its link kept up by `dial`.

    Leaving the block stops every task gently, or with `stops_tasks` false leaves them running for
    the next supervisor to adopt. An exception or a cancellation kills them, and nothing is left.
    """
    await sweep(dependencies.runtime, dependencies.journal)
    async with trio.open_nursery() as nursery:
        agent = NodeAgent(nursery, dependencies, logs)
        agent.take_over()
        journal = dependencies.journal
        hello = NodeHello(
            name=dependencies.node,
            id=journal.node_id(),
            warren=__version__,
            manager=journal.manager_id(),
            containment=dependencies.containment,
            description=dependencies.description,
        )
        link = ManagerLink(
            dial,
            agent,
            hello,
            chance=dependencies.chance,
            remember=journal.note_manager,
            describer=dependencies.describer,
        )
        node = Node(agent, link, stops_tasks=stops_tasks)
        nursery.start_soon(_resume_in_time, agent)
        nursery.start_soon(link.run)
        nursery.start_soon(SelfMonitor(dependencies, agent.unended).serve)
        yield node
        if node.stops_tasks:
            await agent.stop_all("the supervisor shuts down")
        else:
            await agent.leave_all()
        if link.is_up:
            with trio.move_on_after(LAST_WORDS):
                await agent.outbox.wait_empty()
        if link.is_up:
            with trio.move_on_after(LAST_WORDS):
                await link.leave()
        nursery.cancel_scope.cancel()


async def _resume_in_time(agent: NodeAgent) -> None:
    await trio.sleep(RESUME_AFTER)
    boundary = Boundary("resuming tasks", agent.conditions)
    while agent.is_dormant():
        async with boundary:
            await agent.resume()


async def sweep(runtime: Runtime, journal: Journal) -> None:
    """End instances of this node that are in no record (S21), but for those of a task whose record
    exists and cannot be read."""
    known = {r.instance.id for r in journal.load() if r.instance is not None}
    spare = tuple(instance_prefix(task) for task in journal.set_aside())
    for stray in await runtime.sweep(frozenset(known), spare=spare):
        _log.warning("ended %s, which was in no record", stray)
