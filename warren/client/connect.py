"""Reaching a manager: once, or again and again until a question has its answer.

open_cluster(address)       one link; lost, it is an error
ask_until_answered(...)     a new link whenever it is lost; the question remembers how far it
                            came and continues from there
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from warren.model.errors import DeniedError, LinkLostError, OverloadedError
from warren.resilience.exception_groups import first_of_group

if TYPE_CHECKING:
    from warren.model.rpc import Cluster

FIRST_PAUSE = 0.05  # seconds between attempts to reach a manager that was lost; doubled each time
LONGEST_PAUSE = 1.0  # with jitter 2

Question = Callable[["Cluster"], Awaitable[int]]


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


async def ask_until_answered(address: str, question: Question, say: Callable[[str], None]) -> int:
    """Ask until there is an answer. Only a lost link, or no room for one, is tried again, and only
    once the manager was reached; `say` is called when it is lost and when it is back."""
    import random  # all are slow to import, and most commands need none

    import trio

    from warren.resilience.backoff import Backoff

    has_met = False
    backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, chance=random.Random())  # noqa: S311 - spread
    while True:
        met_at: float | None = None
        try:
            with first_of_group():
                async with open_cluster(address) as cluster:
                    if has_met:
                        say("the manager is back")
                    has_met, met_at = True, trio.current_time()
                    return await question(cluster)
        except DeniedError:  # it would be denied again
            raise
        except (LinkLostError, OverloadedError) as error:
            if not has_met:
                raise
            if met_at is not None:
                say(f"{error}; trying again")
                if trio.current_time() - met_at > LONGEST_PAUSE:
                    backoff.reset()
        await backoff.wait()
