"""Where the manager is, and asking it: the one place where a command meets the wire.

ask(where, question)             one link; lost, it is an error
ask(where, question, heals=True) a new link whenever it is lost; the question remembers how far
                                 it came and goes on from there
ask(..., follows=True)           the same, until nobody reads standard output any more
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from warren.cli.groups import first_of_group
from warren.model.errors import DeniedError, LinkLostError, OverloadedError, WarrenError

if TYPE_CHECKING:
    from warren.cli.options import Where
    from warren.model.link import Cluster

FIRST_PAUSE = 0.05  # seconds between attempts to reach a manager that was lost; doubled each time
LONGEST_PAUSE = 2.0

Question = Callable[["Cluster"], Awaitable[int]]


class LateError(WarrenError):
    """There was no answer in time."""


def ask(
    where: Where,
    question: Question,
    *,
    heals: bool = False,
    follows: bool = False,
    within: float | None = None,
) -> int:
    """Put a question to the manager; gives the exit status.

    Raises LinkLostError where there is no manager, or no longer; LateError after `within` seconds;
    BrokenPipeError with `follows`; SpecError for a bad address; and what the question raises, by
    itself and not in a group.
    """
    import trio

    async def asked() -> int:
        with trio.move_on_after(math.inf if within is None else within):
            if follows:
                return await _while_read(where.address, question)
            if heals:
                return await _heal(where.address, question)
            async with open_cluster(where.address) as cluster:
                return await question(cluster)
        raise LateError(f"no answer within {within:g}s")

    with first_of_group():
        return trio.run(_interruptible, asked)


async def _interruptible(work: Callable[[], Awaitable[int]]) -> int:
    """Ctrl-C cancels the work. Python's way, an exception at any instruction, may come where one
    thread has told the other half of what it must know."""
    import trio

    statuses: list[int] = []
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    return

            nursery.start_soon(interrupt)
            statuses.append(await work())
            nursery.cancel_scope.cancel()
    if not statuses:
        raise KeyboardInterrupt
    return statuses[0]


@asynccontextmanager
async def open_cluster(address: str) -> AsyncGenerator[Cluster, None]:
    """An operator's capability at the manager of this address."""
    from warren.model.address import parse_address
    from warren.transport.client import open_gate

    parsed = parse_address(address, field="--addr")
    opened = False
    try:
        with first_of_group():
            async with open_gate(parsed) as gate:
                cluster = await gate.login()
                opened = True
                yield cluster
    except LinkLostError as error:
        if opened or isinstance(error, DeniedError):
            raise
        wanted = "is `warren up` or `warren manager run` running?"
        raise LinkLostError(f"{error}; {wanted}") from None


def say(line: str) -> None:
    """A line to the person, who may read the answer from a file."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - to a person


async def _while_read(address: str, question: Question) -> int:
    import trio

    from warren.cli.unread import raise_when_unread

    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_when_unread)
        status = await _heal(address, question)
        nursery.cancel_scope.cancel()
    return status


async def _heal(address: str, question: Question) -> int:
    """Ask until there is an answer. Only a lost link, or no room for one, is tried again."""
    import random  # both are dear to import, and most commands need neither

    import trio

    has_met = False
    pause = FIRST_PAUSE
    while True:
        met_at: float | None = None
        try:
            with first_of_group():
                async with open_cluster(address) as cluster:
                    if has_met:
                        say("warren: the manager is back")
                    has_met, met_at = True, trio.current_time()
                    return await question(cluster)
        except (LinkLostError, OverloadedError) as error:
            if not has_met:
                raise
            if met_at is not None:
                say(f"warren: {error}; trying again")
                if trio.current_time() - met_at > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
        await trio.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - spread, not secret
        pause = min(2 * pause, LONGEST_PAUSE)
