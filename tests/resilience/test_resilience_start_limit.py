"""Starts: capped, fair over services, and held while something is short."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from warren.resilience.start_limit import StartLimit


async def test_no_more_start_at_once_than_there_are_places(autojump_clock: MockClock) -> None:
    starts = StartLimit(3)
    under_way = most = 0

    async def start(service: str) -> None:
        nonlocal under_way, most
        if not starts.take_nowait():
            await starts.take(service)
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(1)
        under_way -= 1
        starts.give_back()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(start, "web")
        await trio.sleep(4.5)
        assert (starts.waiting, starts.longest_wait()) == (30 - 5 * 3, 4.5)
    assert most == 3
    assert trio.current_time() - began == 10
    assert (starts.waiting, starts.longest_wait()) == (0, 0)


async def test_a_service_waits_for_one_start_of_another_and_not_for_thousands() -> None:
    starts = StartLimit(1)
    assert starts.take_nowait()
    order = list[str]()

    async def start(service: str) -> None:
        await starts.take(service)
        order.append(service)
        starts.give_back()

    async with trio.open_nursery() as nursery:
        for service in ("a", "a", "a", "b", "c"):
            nursery.start_soon(start, service)
            await wait_all_tasks_blocked()
        assert not starts.take_nowait()
        starts.give_back()
    assert order == ["a", "b", "c", "a", "a"]


async def test_who_gives_up_leaves_his_place_to_others() -> None:
    starts = StartLimit(1)
    assert starts.take_nowait()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as waits:
            nursery.start_soon(_cancel_soon, waits)
            await starts.take("web")
        with trio.CancelScope() as has_it:  # given in the very moment it gives up
            nursery.start_soon(_give_back_and_cancel, starts, has_it)
            await starts.take("web")
        assert has_it.cancelled_caught
    assert starts.waiting == 0
    assert starts.take_nowait()


async def _cancel_soon(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def _give_back_and_cancel(starts: StartLimit, scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()
    starts.give_back()


async def test_starts_wait_while_something_is_short() -> None:
    short: str | None = "no descriptors"
    starts = StartLimit(2, shortage=lambda: short)
    assert not starts.take_nowait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(starts.take, "web")
        await wait_all_tasks_blocked()
        starts.grant()
        assert starts.waiting == 1
        short = None
        starts.grant()


async def test_who_gives_up_in_a_shortage_counts_no_more(autojump_clock: MockClock) -> None:
    short: str | None = "no descriptors"
    starts = StartLimit(2, shortage=lambda: short)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(100):
            await starts.take("web")
        nursery.start_soon(starts.take, "web")
        await trio.sleep(5)
        assert (starts.waiting, starts.longest_wait()) == (1, 5)
        short = None
        starts.grant()
    assert (starts.waiting, starts.longest_wait()) == (0, 0)
