"""ConcurrencyCaps on attempts in flight (S10)."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from warren.checks import ConcurrencyCaps
from warren.model.check import Argv, Check, ExecCheck, HttpCheck, Outcome, Result, TcpCheck
from warren.model.check_places import CheckPlaces
from warren.model.interfaces import Target

EXEC = ExecCheck(Argv(("true",)))


class Held:
    """A `RunCheck` whose attempts last `seconds` of virtual time, whatever their timeout."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.started: list[float] = []
        self.running = self.most = 0

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        self.started.append(timeout)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            with trio.fail_after(timeout):
                await trio.sleep(self.seconds)
        finally:
            self.running -= 1
        return Outcome(Result.PASS, "held")


async def test_caps_bound_the_attempts_in_flight(autojump_clock: trio.testing.MockClock) -> None:
    held = Held()
    caps = ConcurrencyCaps(held, network=3)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(attempt, caps, TcpCheck())
    assert held.most == 3  # S10
    assert autojump_clock.current_time() == pytest.approx(4.0)


async def attempt(caps: ConcurrencyCaps, check: Check, timeout: float = 1.5) -> None:
    outcome = await caps(check, Target(), timeout=timeout)
    assert outcome.detail == "held"


async def test_caps_waiting_is_not_part_of_the_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    held = Held()
    caps = ConcurrencyCaps(held, network=1)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(attempt, caps, HttpCheck(), 1.5)
    assert held.started == [1.5] * 4  # S10
    network = caps.statistics().network
    assert (network.waits, network.longest_wait, network.total_wait) == (3, 3.0, 6.0)
    assert autojump_clock.current_time() == pytest.approx(4.0)


async def test_caps_tell_of_a_wait_while_it_lasts(autojump_clock: trio.testing.MockClock) -> None:
    caps = ConcurrencyCaps(Held(5.0), network=1, exec=2)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(attempt, caps, TcpCheck(), 9.0)
        await trio.sleep(2)  # virtual
        assert caps.places() == (  # S10
            CheckPlaces(kind="network", cap=1, in_flight=1, waiting=1, longest_wait=2.0),
            CheckPlaces(kind="exec", cap=2),
        )
    assert caps.places()[0] == CheckPlaces(kind="network", cap=1, longest_wait=5.0)


async def test_caps_of_exec_and_network_are_apart(autojump_clock: trio.testing.MockClock) -> None:
    held = Held()
    caps = ConcurrencyCaps(held, network=1, exec=2)
    async with trio.open_nursery() as nursery:
        for check in (EXEC, EXEC, EXEC, TcpCheck(), HttpCheck()):
            nursery.start_soon(attempt, caps, check)
        await trio.testing.wait_all_tasks_blocked()
        statistics = caps.statistics()  # S10
        assert (statistics.exec.in_flight, statistics.exec.waiting) == (2, 1)
        assert (statistics.network.in_flight, statistics.network.waiting) == (1, 1)
        assert repr(caps) == "<ConcurrencyCaps network=1/1 exec=2/2>"
    assert caps.statistics().exec.in_flight == 0
    assert autojump_clock.current_time() == pytest.approx(2.0)


async def test_caps_give_places_in_the_order_asked_for() -> None:
    order: list[float] = []
    release = trio.Event()

    async def noting(check: Check, target: Target, *, timeout: float) -> Outcome:
        order.append(timeout)
        await release.wait()
        return Outcome(Result.PASS, "held")

    caps = ConcurrencyCaps(noting, network=1)
    async with trio.open_nursery() as nursery:
        for number in range(1, 20):
            nursery.start_soon(attempt, caps, TcpCheck(), float(number))
            await trio.testing.wait_all_tasks_blocked()
        release.set()
    assert order == sorted(order)  # S10


async def test_caps_place_is_given_back_when_cancelled_or_broken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caps = ConcurrencyCaps(Held(5.0), network=1)
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, caps, TcpCheck(), 9.0)
            nursery.start_soon(attempt, caps, TcpCheck(), 9.0)
    with pytest.raises(trio.TooSlowError):  # stands for a bug inside of a check
        await attempt(caps, TcpCheck(), 1.0)
    network = caps.statistics().network
    assert (network.in_flight, network.waiting, network.waits) == (0, 0, 1)
    assert autojump_clock.current_time() == pytest.approx(2.0)


async def test_caps_outcome_says_how_long_it_waited(autojump_clock: trio.testing.MockClock) -> None:
    caps = ConcurrencyCaps(Held(), network=1)
    outcomes: list[Outcome] = []

    async def ask() -> None:
        outcomes.append(await caps(TcpCheck(), Target(), timeout=1.5))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert [outcome.waited for outcome in outcomes] == [0.0, 1.0, 2.0]  # S10


@pytest.mark.parametrize("cap", [0, -1])
def test_caps_leave_room_for_one_at_least(cap: int) -> None:
    with pytest.raises(ValueError, match="want at least 1"):
        ConcurrencyCaps(Held(), exec=cap)


def test_caps_defaults_are_the_contracts() -> None:
    statistics = ConcurrencyCaps(Held()).statistics()  # S10
    assert statistics.network.cap == 256
    assert statistics.exec.cap == 2 * len(os.sched_getaffinity(0))
