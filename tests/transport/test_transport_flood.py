"""What costs more than it says: lists that take no room, and answers that nobody reads."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.transport.raw_wire import Talk, amplified, logged_in, messages, numbered, spoken
from tests.transport.wire_links import Played, gate_to, serving
from warren.model.check import Argv
from warren.model.decode import DecodeError
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.model.view import LogChunk
from warren.transport.connection import Limits
from warren.transport.frames import BOOTSTRAP, CALL, FINISH, RETURN, Frame, FrameError, Frames
from warren.transport.peer_budget import Budget, PeerBudget, UnreadError

TASK = TaskId("web", 1, 1)
SPEC = ServiceSpec(name="web", command=Argv(["run"]))
SMALL = Limits(calls=100, unread=8 << 20)


@asynccontextmanager
async def attacked(
    folder: Path, cluster: Played, talk: Talk, limits: Limits
) -> AsyncGenerator[trio.SocketStream, None]:
    """A raw connection to a server with another client, who notices nothing."""
    serve = serving("unix", folder, gate_to(cluster), limits=limits)
    async with serve as (dial, _), dial() as gate:
        far = await gate.login()
        async with await logged_in(str(folder / "w.sock"), talk) as stream:
            yield stream
        with trio.fail_after(5):
            assert await far.last_event() == 1


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def test_list_whose_items_take_no_room_is_refused_before_it_is_walked(tmp_path: Path) -> None:
    cluster = Played(last_event=1, apply=[])
    talk = await spoken(tmp_path, cluster, lambda far: far.apply([SPEC]))
    hostile = amplified(talk[-1][1], "ServiceSpec", 7_000_000)
    assert len(hostile) < 600
    small = numbered(amplified(talk[-1][1], "ServiceSpec", 90_000), 100)
    cluster.calls.clear()
    async with attacked(tmp_path, cluster, talk, SMALL) as stream:
        for message, wanted in (
            (hostile, b"specs: '7000000 items': want at most 100000"),
            (small, b"specs: '90000 items': want lists that take no less room in a message"),
        ):
            await stream.send_all(message)
            said = b""
            with trio.fail_after(5):
                while wanted not in said:
                    said += await stream.receive_some(65536)
    assert "apply" not in [name for name, _ in cluster.calls]


def test_budget_is_what_came_in_and_never_more() -> None:
    budget = Budget(0, most=100)
    budget.grow(30)
    budget.take(20)
    with pytest.raises(DecodeError, match="11 items"):
        budget.take(11)
    budget.grow(1000)
    assert budget.left == 100


@pytest.mark.parametrize("chunk", [0, 256 << 10], ids=["small", "large"])
async def test_answers_that_nobody_reads_end_their_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, chunk: int
) -> None:
    cluster = Played(last_event=1, log=LogChunk(data=b"x" * chunk, cursor="1"))
    talk = await spoken(tmp_path, cluster, lambda far: far.log(TASK))
    before = resident()
    async with attacked(tmp_path, cluster, talk, SMALL) as stream:
        with trio.fail_after(20), contextlib.suppress(trio.BrokenResourceError):
            for question in itertools.count(10):
                await stream.send_all(numbered(talk[-1][1], question))
        assert resident() - before < 100 << 20
    assert "is closed: it has " in caplog.text or "MiB of answers wait for it" in caplog.text


async def test_answers_that_are_read_and_never_finished_end_their_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Played(last_event=1, log=LogChunk(data=b"x" * 200_000, cursor="1"))
    talk = await spoken(tmp_path, cluster, lambda far: far.log(TASK))
    async with attacked(tmp_path, cluster, talk, SMALL) as stream:
        got = 0
        with trio.fail_after(20), contextlib.suppress(trio.BrokenResourceError):
            for question in itertools.count(10):
                await stream.send_all(numbered(talk[-1][1], question))
                wanted = (question - 9) * 200_000
                while got < wanted:
                    data = await stream.receive_some(1 << 20)
                    if not data:
                        break
                    got += len(data)
                else:
                    continue
                break
    assert got < 3 * SMALL.unread
    assert "MiB of answers wait for it; want them read" in caplog.text


async def test_client_that_reads_may_ask_for_as_much_as_it_likes(tmp_path: Path) -> None:
    cluster = Played(log=LogChunk(data=b"x" * (256 << 10), cursor="1"), last_event=1)
    serve = serving("unix", tmp_path, gate_to(cluster), limits=SMALL)
    async with serve as (dial, _), dial() as gate:
        far = await gate.login()
        for _ in range(100):  # three times what may be unread
            assert len((await far.log(TASK)).data) == 256 << 10
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(far.last_event)


async def test_messages_are_followed_however_they_are_cut(tmp_path: Path) -> None:
    talk = await spoken(tmp_path, Played(last_event=1), lambda far: far.last_event())
    said = b"".join(message for _, message in talk)
    kinds = [frame.kind for frame, _ in talk]
    assert (kinds[0], kinds[-1]) == (BOOTSTRAP, CALL)
    assert FINISH in kinds
    for step in (1, 7, 8, 33, len(said)):
        met = list[Frame]()
        frames = Frames(met.append, most=1 << 20)
        for at in range(0, len(said), step):
            frames.feed(said[at : at + step])
        assert met == [frame for frame, _ in messages(said)]
    with pytest.raises(FrameError, match="want at most 8"):
        Frames(met.append, most=8).feed(said)


def test_question_is_held_until_it_is_finished() -> None:
    unsent = [0]
    traffic = PeerBudget(lambda: unsent[0], questions=2, held=10_000, message=1 << 20)
    traffic.came(Frame(CALL, 1, 5_000))
    traffic.went(Frame(RETURN, 1, 9_000))
    traffic.came(Frame(CALL, 2, 100))
    with pytest.raises(UnreadError, match="MiB of answers wait"):
        traffic.came(Frame(CALL, 3, 100))
    traffic.came(Frame(FINISH, 1, 48))
    traffic.came(Frame(CALL, 3, 100))
    unsent[0] = 10_000
    with pytest.raises(UnreadError, match="MiB of answers wait"):
        traffic.went(Frame(RETURN, 2, 100))
