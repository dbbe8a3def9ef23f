"""Turns: what thousands have to do at once is spread over passes of the loop."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from warren.resilience.fair_turns import AT_ONCE, BUDGET, FairTurns


class _Passes(trio.abc.Instrument):
    """Plays work that takes `cost` each, and notes how much of it every pass has had."""

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.spent = 0.0
        self.longest = 0.0

    def after_io_wait(self, timeout: float) -> None:
        self.spent = 0.0

    def work(self) -> None:
        self.spent += self.cost
        self.longest = max(self.longest, self.spent)


async def test_a_thousand_pieces_of_work_make_no_long_pass() -> None:
    passes = _Passes(cost=0.003)
    turns = FairTurns(lambda: passes.spent)
    done = list[int]()

    async def piece(number: int) -> None:
        await turns.take()
        passes.work()
        done.append(number)

    trio.lowlevel.add_instrument(passes)
    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(piece, number)
    trio.lowlevel.remove_instrument(passes)
    assert len(done) == 1000
    assert passes.longest <= (AT_ONCE + 1) * passes.cost + BUDGET


async def test_one_alone_waits_for_nothing() -> None:
    turns = FairTurns(lambda: 0.0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await turns.take()  # no checkpoint
    assert not scope.cancelled_caught


async def test_who_gives_up_lets_the_others_follow() -> None:
    spent = BUDGET
    turns = FairTurns(lambda: spent)
    done = list[int]()
    scopes = [trio.CancelScope() for _ in range(5 * AT_ONCE)]

    async def piece(number: int) -> None:
        with scopes[number]:
            await turns.take()
            done.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(len(scopes)):
            nursery.start_soon(piece, number)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        wanted = {*done, *range(1, len(scopes), 2)}  # the first of all may have been through
        for number in range(0, len(scopes), 2):  # woken ones and waiting ones
            scopes[number].cancel()
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        spent = 0.0
        with trio.fail_after(5):
            while len(done) < len(wanted):
                await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
    assert sorted(done) == sorted(wanted)
    assert len(wanted) <= len(scopes) // 2 + 1
    assert repr(turns) == "<FairTurns 0 waiting>"
