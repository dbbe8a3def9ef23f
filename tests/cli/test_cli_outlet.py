"""Writing to where nobody reads."""

from __future__ import annotations

import os
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from warren.cli.output_queue import LineQueue, Outlet


async def test_outlet_writes_all_to_a_slow_and_non_blocking_reader() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = "line\n" * 50_000
    got = bytearray()

    def read() -> None:
        while len(got) < len(text):
            got.extend(os.read(reader, 65536))

    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, read)
                await Outlet(writer).write(text)
        assert got.decode() == text
    finally:
        os.close(reader)
        os.close(writer)


async def test_outlet_says_that_nobody_reads() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        outlet = Outlet(writer)
        await outlet.write("lost")
        assert outlet.closed.is_set()
        await outlet.write("lost too")
    finally:
        os.close(writer)


async def test_outlet_waits_for_a_thread(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    real, refusals = trio.to_thread.run_sync, [1, 2, 3]

    async def run_sync(*args: Any, **kwargs: Any) -> Any:
        if refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        return await real(*args, **kwargs)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    reader, writer = os.pipe()
    try:
        outlet = Outlet(writer)
        await outlet.write("said")
        assert os.read(reader, 10) == b"said"
        assert not outlet.closed.is_set()
    finally:
        os.close(reader)
        os.close(writer)


async def test_line_queue_loses_the_oldest_and_counts() -> None:
    queue = LineQueue(limit=3)
    for number in range(5):
        queue.put(str(number))
    with trio.fail_after(1):
        await queue.wait()
    assert queue.take() == (["2", "3", "4"], 2)
    assert queue.take() == ([], 0)
