"""Places are shared fairly over services (S10)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from warren.checks import ConcurrencyCaps
from warren.checks.fair_queue import RECENT, FairQueue
from warren.model.check import Check, Outcome, Result, TcpCheck
from warren.model.interfaces import Target
from warren.resilience.conditions import Conditions


class Asked(NamedTuple):
    """One attempt: whose, when it asks for a place, and how long it then takes."""

    service: str
    at: float
    takes: float


class Watched(NamedTuple):
    asked: Asked
    had: float


def share(cap: int, attempts: Sequence[Asked]) -> list[Watched]:
    """Who had a place when, in virtual time, each service's in the order asked for. Checks at every
    grant that no service is given more than half while another waits. Who began to wait in the same
    instant does not count: it may have come after the grant, and before its task is run."""
    granted: list[Watched] = []
    waiting = defaultdict[str, list[float]](list)
    held = defaultdict[str, int](int)

    async def attempt(places: FairQueue, asked: Asked) -> None:
        await trio.sleep(asked.at)
        waiting[asked.service].append(trio.current_time())
        await places.take(asked.service)
        waiting[asked.service].pop(0)
        held[asked.service] += 1
        granted.append(Watched(asked, trio.current_time()))
        others = [since for name, sinces in waiting.items() if name != asked.service
                  for since in sinces]  # fmt: skip
        others_wait = min(others, default=trio.current_time()) < trio.current_time()
        assert sum(held.values()) <= cap
        assert held[asked.service] <= max(1, cap // 2) or not others_wait
        await trio.sleep(asked.takes)
        held[asked.service] -= 1
        places.give_back(asked.service)

    async def main() -> None:
        places = FairQueue(cap, tell=lambda: None)
        async with trio.open_nursery() as nursery:
            for asked in attempts:
                nursery.start_soon(attempt, places, asked)
        assert places.statistics().in_flight == places.statistics().waiting == 0

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return granted


def _asked_at(one: Watched) -> float:
    return one.asked.at


attempts = st.lists(
    st.builds(
        Asked,
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 40).map(lambda n: n / 4),
        st.integers(1, 40).map(lambda n: n / 4),
    ),
    max_size=30,
    unique_by=lambda asked: (asked.service, asked.at),
)


@given(st.integers(1, 6), attempts)
def test_places_are_given_in_order_and_none_takes_more_than_half(
    cap: int, attempts: list[Asked]
) -> None:
    granted = share(cap, attempts)
    assert len(granted) == len(attempts)
    for service in "abc":
        own = sorted((one for one in granted if one.asked.service == service), key=_asked_at)
        had = [one.had for one in own]
        assert had == sorted(had)  # S10: in the order asked for


@given(st.integers(1, 6), attempts, st.integers(0, 40).map(lambda n: n / 4))
def test_places_hung_checks_delay_another_service_by_one_attempt_at_most(
    cap: int, attempts: list[Asked], at: float
) -> None:
    others = [asked for asked in attempts if asked.service != "c"]
    hung = [asked._replace(service="a") for asked in others]
    seen = share(cap, [*hung, Asked("c", at, 0.25)])
    had = next(one.had for one in seen if one.asked.service == "c")
    longest = max((asked.takes for asked in hung), default=0.0)
    assert had - at <= longest + 1e-9  # S10


async def test_places_hung_checks_leave_room_for_a_probe_that_comes_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def run(check: Check, target: Target, *, timeout: float) -> Outcome:
        await trio.sleep(10.0 if target.service == "hung" else 0.01)
        return Outcome(Result.PASS, "")

    caps = ConcurrencyCaps(run, exec=4, network=4)
    gaps: list[float] = []

    async def hang() -> None:
        while True:
            await caps(TcpCheck(80), Target(service="hung"), timeout=10)

    async with trio.open_nursery() as nursery:
        await caps(TcpCheck(80), Target(service="quick"), timeout=1)
        for _ in range(8):
            nursery.start_soon(hang)
        last = trio.current_time()
        while trio.current_time() < 60:
            await caps(TcpCheck(80), Target(service="quick"), timeout=1)
            gaps.append(trio.current_time() - last)
            last = trio.current_time()
            await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert max(gaps) < 0.3  # S10


async def test_places_of_a_service_alone_are_all_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    places = FairQueue(4, tell=lambda: None)
    await places.take("other")
    places.give_back("other")
    await trio.sleep(61)
    with trio.fail_after(1):
        for _ in range(4):
            await places.take("web")
    assert repr(places) == "4/4"


async def test_places_that_are_waited_for_are_a_condition(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def run(check: Check, target: Target, *, timeout: float) -> Outcome:
        await trio.sleep(timeout)
        return Outcome(Result.PASS, "")

    conditions = Conditions()
    caps = ConcurrencyCaps(run, network=2, conditions=conditions)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(partial(caps, TcpCheck(80), Target(), timeout=3))
        await trio.sleep(0.9)
        assert conditions.current() == ()
        await trio.sleep(0.2)
        told = [one.message for one in conditions.current()]
        said = "network checks wait over 1s for one of 2 places; --network-checks raises the cap"
        assert told == [said]  # S10
        await trio.sleep(2)
        assert conditions.has("network checks wait")  # it may come again at once
    assert conditions.current() == ()  # nobody asks any more
    async with trio.open_nursery() as nursery:
        for seconds in (3, 3, 40):
            nursery.start_soon(partial(caps, TcpCheck(80), Target(), timeout=seconds))
        await trio.sleep(36)
        assert conditions.has("network checks wait")
        await caps(TcpCheck(80), Target(), timeout=0.1)
        assert conditions.current() == ()


@pytest.mark.parametrize("late", [0.5, 2.0])
async def test_places_who_leaves_the_queue_is_forgotten(
    late: float, autojump_clock: trio.testing.MockClock
) -> None:
    places = FairQueue(1, tell=lambda: None)
    await places.take("a")
    with trio.move_on_after(late):
        await places.take("b")
    assert places.statistics().waiting == 0
    places.give_back("a")
    with trio.fail_after(1):
        await places.take("c")


async def test_places_forget_services_that_ask_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    places = FairQueue(4, tell=lambda: None)
    for number in range(100):
        await places.take(f"s{number}")
        places.give_back(f"s{number}")
        await trio.sleep(RECENT / 10)
    assert places.statistics().asking <= 11  # those of the last minute


async def test_places_forget_who_held_or_waited_for_one_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    places = FairQueue(1, tell=lambda: None)
    await places.take("long")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(places.take, "late")
        await trio.sleep(2 * RECENT)  # virtual
        nursery.start_soon(places.take, "third")
        await trio.testing.wait_all_tasks_blocked()
        assert places.statistics().asking == 3
        places.give_back("long")
        await trio.sleep(2 * RECENT)
        places.give_back("late")
    assert places.statistics().asking == 1
    places.give_back("third")
    await places.take("fourth")
    places.give_back("fourth")
    assert places.statistics().asking == 1
