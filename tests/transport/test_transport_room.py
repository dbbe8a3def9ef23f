"""Nobody takes all the room: of an address, or of a connection's calls."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.transport.wire_links import KINDS, Played, gate_of, gate_to, serving
from warren.model.errors import LinkLostError, NotFoundError, OverloadedError
from warren.model.identity import TaskId
from warren.model.report import Assignments, NodeHello
from warren.transport.call_limits import KINDS as CALLS
from warren.transport.capnp_link import OBJECTS
from warren.transport.connection import Limits
from warren.transport.connection_limits import LEAST, OF_A_NODE, ConnectionLimits, Refusals
from warren.transport.methods import CAPABILITIES, interface

TASK = TaskId("web", 1, 1)
HELLO = NodeHello(name="n1", id="a")


@pytest.mark.parametrize("kind", KINDS)
async def test_followers_take_no_place_of_what_keeps_tasks_alive(kind: str, tmp_path: Path) -> None:
    begun = 0
    all_wait = trio.Event()

    async def wait(**_: Any) -> None:
        nonlocal begun
        begun += 1
        if begun == 20:
            all_wait.set()
        await trio.sleep_forever()

    node = Played(log=wait, samples=wait, assign=None, look=[])
    agents: list[Any] = []

    async def enroll(hello: NodeHello, agent: Any) -> Any:
        agents.append(agent)
        return Played(report_task_health=None, renew=None)

    limits = Limits(calls=20)
    serve = serving(kind, tmp_path, gate_of(enroll=enroll), limits=limits)
    async with serve as (dial, _), dial(limits=limits) as gate:  # type: ignore[call-arg]
        await gate.enroll(HELLO, node)  # type: ignore[arg-type]
        (agent,) = agents
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(agent.log, TASK)
                await all_wait.wait()
                with pytest.raises(OverloadedError, match="20 calls of this connection are in"):
                    await agent.samples(TASK)
                await agent.assign(Assignments(generation=1))
                assert await agent.look([TASK]) == []
                nursery.cancel_scope.cancel()


def test_calls_with_places_of_their_own_are_calls_that_there_are() -> None:
    assert set(CALLS) <= {name for one in CAPABILITIES for name in interface(one).methods}


async def test_stranger_who_asks_for_nothing_is_hung_up_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(asks_within=0.05)
    serve = serving("unix", tmp_path, gate_to(Played(last_event=1)), limits=limits)
    async with serve as (dial, _), dial() as gate:
        far = await gate.login()
        for _ in range(2):
            async with await trio.open_unix_socket(str(tmp_path / "w.sock")) as idle:
                with trio.fail_after(5):
                    assert await idle.receive_some() == b""
        assert await far.last_event() == 1  # who has asked may be silent for as long as he likes
    assert caplog.text.count("refused a connection: it was not let in within 0.05 s") == 1


async def test_stranger_who_is_refused_again_and_again_makes_room_for_others(
    tmp_path: Path,
) -> None:
    refused = NotFoundError("no such view")
    gate = gate_of(login=Played(last_event=1), view=refused)
    serve = serving("unix", tmp_path, gate, limits=Limits(connections=LEAST, asks_within=0.5))
    async with serve as (dial, _), AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(dial()) for _ in range(LEAST)]
        for stranger in crowd:
            with pytest.raises((NotFoundError, LinkLostError)):  # lost where that took long
                await stranger.view()
        with trio.fail_after(10):
            await _until_let_in(dial)
            for stranger in crowd:
                await stranger.lost.wait()


async def test_strangers_of_one_user_leave_room_for_those_who_are_known(tmp_path: Path) -> None:
    limits = Limits(connections=LEAST + 10)
    path = str(tmp_path / "w.sock")
    serve = serving("unix", tmp_path, gate_to(Played(last_event=1)), limits=limits)
    async with serve as (dial, _), trio.open_nursery() as nursery:
        async with dial() as gate:
            far = await gate.login()
            idle = [await trio.open_unix_socket(path) for _ in range(LEAST)]
            async with dial() as late:
                with pytest.raises(LinkLostError):
                    await late.login()
            await idle.pop().aclose()
            assert await far.last_event() == 1
            await _until_let_in(dial)
            for stream in idle:
                await stream.aclose()
        nursery.cancel_scope.cancel()


async def _until_let_in(dial: Any) -> None:
    with trio.fail_after(5):
        while True:  # that one has gone is on its way
            async with dial() as gate:
                try:
                    await gate.login()
                except LinkLostError:
                    continue
                return


def test_two_hundred_nodes_behind_one_address_have_their_places() -> None:
    connection_limits = ConnectionLimits(1024)
    for number in range(200):
        assert connection_limits.enter("10.0.0.1") is None
        assert connection_limits.become("10.0.0.1", f"n{number}") is None
    crowd = [connection_limits.enter("10.0.0.1") for _ in range(400)]
    assert crowd.count(None) == 256
    assert crowd[-1] == "there are 256 of stranger 10.0.0.1"
    assert connection_limits.enter("10.0.0.2") is None


def test_a_node_and_an_operator_have_a_share() -> None:
    connection_limits = ConnectionLimits(1024)
    refused = list[str | None]()
    for _ in range(OF_A_NODE + 1):
        assert connection_limits.enter("a") is None
        refused.append(connection_limits.become("a", "n1"))
    assert refused == [None] * OF_A_NODE + ["there are 16 of node a n1"]
    connection_limits.leave("a", is_known=False, node=None)
    connection_limits.leave("a", is_known=True, node="n1")
    assert connection_limits.enter("a") is None
    assert connection_limits.become("a", "n1") is None
    for _ in range(512):
        assert connection_limits.enter("a") is None
        assert connection_limits.become("a", None) is None
    assert connection_limits.enter("a") is None
    assert connection_limits.become("a", None) == "there are 512 of operator a"


async def test_refusals_are_one_line_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = Refusals()
    for _ in range(130):
        refusals.note("unix:w", "there are 4")
        await trio.sleep(1)
    assert [record.getMessage() for record in caplog.records] == [
        "unix:w: refused a connection: there are 4",
        "unix:w: refused a connection: there are 4; and 59 more since the last line",
        "unix:w: refused a connection: there are 4; and 59 more since the last line",
    ]


async def test_objects_that_nobody_lets_go_of_are_bounded(tmp_path: Path) -> None:
    limits = Limits(calls=20)
    serve = serving("unix", tmp_path, gate_to(Played(last_event=1)), limits=limits)
    async with serve as (dial, _), dial() as gate:
        held = [await gate.login() for _ in range(OBJECTS - 1)]  # beside the gate itself
        with pytest.raises(OverloadedError, match="holds 64 objects; want some let go"):
            await gate.login()
        assert await held[0].last_event() == 1
        held.clear()
        with trio.fail_after(5):
            while True:  # that they are let go of is on its way
                try:
                    await gate.login()
                except OverloadedError:
                    continue
                return
