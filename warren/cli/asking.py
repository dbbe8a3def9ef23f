"""Asking the manager: the one place where a command meets the wire.

ask(where, question)             one link; lost, it is an error
ask(where, question, heals=True) a new link whenever it is lost; the question remembers how far
                                 it came and continues from there
ask(..., follows=True)           the same, until standard output has no reader any more
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from warren.client import connect
from warren.model.errors import WarrenError
from warren.resilience.exception_groups import first_of_group

if TYPE_CHECKING:
    from warren.cli.options.common import Where
    from warren.client.connect import Question


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
    """Put a question to the manager; returns the exit status.

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
            async with connect.open_cluster(where.address) as cluster:
                return await question(cluster)
        raise LateError(f"no answer within {within:g}s")

    with first_of_group():
        return trio.run(_interruptible, asked)


async def _interruptible(work: Callable[[], Awaitable[int]]) -> int:
    """Ctrl-C cancels the work. Python's default, an exception at any instruction, may come when one
    thread has passed only half of a message to another."""
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


def say(line: str) -> None:
    """A line to the user on standard error, as the answer may go to a file."""
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
    return await connect.ask_until_answered(address, question, _say_as_warren)


def _say_as_warren(line: str) -> None:
    say(f"warren: {line}")
