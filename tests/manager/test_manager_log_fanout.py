"""A node's output through the manager: the node is asked once, however many want the same."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from warren.manager.log_fanout import KEPT, READ_WITHIN, LogFanout
from warren.model.errors import DeniedError, LinkLostError, OverloadedError
from warren.model.rpc import LOGS_AT_ONCE, Agent
from warren.model.view import LogChunk, LogPiece, LogWanted


@dataclass
class FakeNode:
    """Plays an `Agent`'s `output`. `calls` has how many were in flight when each began."""

    texts: dict[int, bytes] = field(default_factory=dict[int, bytes])
    calls: list[int] = field(default_factory=list[int])
    in_flight: int = 0
    is_silent: bool = False
    refusal: Exception | None = None
    news: trio.Event = field(default_factory=trio.Event)

    def write(self, slot: int, text: bytes) -> None:
        self.texts[slot] = self.texts.get(slot, b"") + text
        self.news.set()
        self.news = trio.Event()

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        assert 0 < len(wanted) <= LOGS_AT_ONCE
        self.calls.append(self.in_flight)
        self.in_flight += 1
        try:
            await trio.sleep(0.001)
            if self.refusal is not None:
                raise self.refusal
            if self.is_silent:
                await trio.sleep_forever()
            while True:
                pieces = [p for i, one in enumerate(wanted) if (p := self._piece(i, one))]
                if pieces or not wait:
                    return pieces
                await self.news.wait()
        finally:
            self.in_flight -= 1

    def _piece(self, index: int, one: LogWanted) -> LogPiece | None:
        assert one.node == ""
        data = self.texts.get(one.slot, b"")[int(one.cursor or 0) :]
        cursor = str(int(one.cursor or 0) + len(data))
        chunk = LogChunk(data=data, cursor=cursor)
        return LogPiece(index=index, chunk=chunk) if data or not one.cursor else None


async def follow(fanout: LogFanout, slot: int, heard: list[bytes]) -> None:
    """Keep on asking, as a follower does."""
    one = LogWanted(service="web", slot=slot, node="n1")
    while True:
        (piece,) = (await fanout.ask([one], wait=True)).values()
        assert not piece.absent
        if piece.chunk.data:
            heard.append(piece.chunk.data)
        one = LogWanted(service="web", slot=slot, node="n1", cursor=piece.chunk.cursor)


def tapping(node: FakeNode) -> LogFanout:
    return LogFanout("n1", cast("Agent", node))


async def test_thousand_followers_of_a_slot_are_one_call_at_its_node(
    autojump_clock: MockClock,
) -> None:
    node, heard = FakeNode({1: b"one\n"}), list[bytes]()
    fanout = tapping(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        for _ in range(1000):
            nursery.start_soon(follow, fanout, 1, heard)
        await trio.sleep(10)
        assert heard == [b"one\n"] * 1000
        assert node.in_flight == 1
        node.calls.clear()
        node.write(1, b"two\n")
        await trio.sleep(10)
        assert heard[1000:] == [b"two\n"] * 1000
        assert node.in_flight == 1
        assert len(node.calls) <= 3
        nursery.cancel_scope.cancel()


async def test_followers_of_1100_slots_wait_in_one_call_for_every_64(
    autojump_clock: MockClock,
) -> None:
    node, heard = FakeNode(), list[bytes]()
    fanout = tapping(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        for slot in range(1, 1101):
            nursery.start_soon(follow, fanout, slot, heard)
        await trio.sleep(10)
        assert node.in_flight == -(-1100 // LOGS_AT_ONCE)
        for slot in range(1, 1101):
            node.write(slot, b"%d\n" % slot)
        await trio.sleep(10)
        assert sorted(map(int, heard)) == [*range(1, 1101)]
        assert max(node.calls) <= 2 * -(-1100 // LOGS_AT_ONCE)
        nursery.cancel_scope.cancel()


async def test_followers_that_go_leave_no_call_behind(autojump_clock: MockClock) -> None:
    node = FakeNode()
    fanout = tapping(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        with trio.move_on_after(10):
            await follow(fanout, 1, [])
        await trio.sleep(1)
        assert node.in_flight == 0
        nursery.cancel_scope.cancel()


async def test_readers_take_turns_and_share_an_answer(autojump_clock: MockClock) -> None:
    node, answers = FakeNode({1: b"one\n"}), list[bytes]()
    fanout = tapping(node)

    async def read() -> None:
        one = LogWanted(service="web", slot=1, tail=3)
        answers.append((await fanout.ask([one], wait=False))[one].chunk.data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        for _ in range(500):
            nursery.start_soon(read)
        await trio.sleep(1)
        assert answers == [b"one\n"] * 500
        assert len(node.calls) <= 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("wait", [True, False])
async def test_what_a_node_refuses_is_told_to_who_asked(
    autojump_clock: MockClock, wait: bool
) -> None:
    node = FakeNode()
    fanout = tapping(node)
    one = LogWanted(service="web", slot=1, cursor="0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        for refusal, said in (
            (LinkLostError("cut"), "node n1, which has the output, does not answer"),
            (OverloadedError("too many"), "too many"),
            (DeniedError("output: no"), "node n1 denied it to the manager: output: no"),
        ):
            node.refusal = refusal
            assert (await fanout.ask([one], wait=wait))[one].absent == said
        node.refusal, node.is_silent = None, True
        if not wait:
            with trio.fail_after(READ_WITHIN + 1):
                assert "does not answer" in (await fanout.ask([one], wait=False))[one].absent
        nursery.cancel_scope.cancel()


async def test_end_of_a_session_answers_who_waits_and_who_comes_after(
    autojump_clock: MockClock,
) -> None:
    fanout = tapping(FakeNode())
    one = LogWanted(service="web", slot=1, cursor="0")
    answers = list[str]()

    async def ask() -> None:
        answers.append((await fanout.ask([one], wait=True))[one].absent)

    async with trio.open_nursery() as nursery, trio.open_nursery() as session:
        session.start_soon(fanout.run)
        nursery.start_soon(ask)
        await trio.sleep(1)
        session.cancel_scope.cancel()
    await ask()
    assert answers == ["node n1, which has the output, does not answer"] * 2


async def test_what_is_kept_counts_with_its_cursors(autojump_clock: MockClock) -> None:
    """A node whose every answer is one byte fills no memory."""
    count, cursor = 1000, "0" * 4000
    node = FakeNode(dict.fromkeys(range(count), b"x"))
    fanout = tapping(node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        for slot in (*range(count), *reversed(range(count))):  # the latest first
            one = LogWanted(service="web", slot=slot, cursor=cursor)
            assert (await fanout.ask([one], wait=False))[one].chunk.data == b"x"
        nursery.cancel_scope.cancel()
    kept = 2 * count - len(node.calls)
    assert 0 < kept * len(cursor) <= KEPT


async def test_what_is_kept_costs_an_answer_nothing(autojump_clock: MockClock) -> None:
    node = FakeNode(dict.fromkeys(range(1000), b"x"))
    fanout = tapping(node)
    steps = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal steps
        steps += 1

    async def cost(slot: int) -> int:
        nonlocal steps
        steps = 0
        one = LogWanted(service="web", slot=slot, cursor="0")
        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            await fanout.ask([one], wait=False)
        finally:
            sys.setprofile(before)
        return steps

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        costs = [await cost(slot) for slot in range(500)]
        nursery.cancel_scope.cancel()
    assert max(costs[-10:]) < 1.5 * max(costs[:10])
