"""An engine that tells what cannot be: Warren believes none of it, and lives on (S29)."""

from __future__ import annotations

import json
import logging
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.engine.engine_double import engine_double
from tests.processes import wait_until
from tests.runtime.engine_kit import launch
from warren.engine.answers import Container, State
from warren.engine.client import EngineClient
from warren.engine.places import EnginePlaces
from warren.logs.appending import SlotAppender
from warren.logs.files import LogFiles
from warren.model.check import Argv
from warren.model.identity import TaskId
from warren.model.task import Instance, Reason
from warren.resilience.conditions import Conditions
from warren.runtime import engine_link
from warren.runtime.engine import EngineRuntime
from warren.runtime.engine_exec import EngineExec, Inside
from warren.runtime.engine_instance import EngineInstance, end_of_container
from warren.runtime.engine_link import EngineLink
from warren.runtime.engine_output import CursorFile, OutputCopy

ID = "c" * 64
VERSION = {"Version": "v" * 1000 + "\x1b[31m", "ApiVersion": "1.45", "MinAPIVersion": "1.24"}


class Liar:
    """An engine with one container. `held` keeps its streams open."""

    def __init__(self) -> None:
        self.pid = b"0"
        self.stats = b"{}"
        self.streams = 0
        self.held = True
        self.entry = b""

    async def answer(self, method: str, target: str) -> AsyncGenerator[bytes]:
        path = urlsplit(target).path.removeprefix("/v1.45")
        if path == "/version":
            yield b"200 " + json.dumps(VERSION).encode()
        elif path == "/events" or path.endswith("/logs"):
            yield b"200 "
            self.streams += 1
            if self.entry:
                yield struct.pack(">BxxxI", 1, len(self.entry)) + self.entry
            if self.held:
                await trio.sleep_forever()
        elif path == "/containers/json":
            yield b"200 []"
        elif path.startswith("/exec/") and path.endswith("/json"):
            yield b'200 {"Running": true, "Pid": %s}' % self.pid
        elif path.startswith("/exec/"):
            yield b"200 "
            await trio.sleep_forever()
        elif path.endswith("/stats"):
            yield b"200 " + self.stats
        elif path.startswith("/containers/") and path.endswith("/json"):
            state = b'{"Status": "running", "Running": true, "Pid": %s}' % self.pid
            yield b'200 {"Id": "%s", "State": %s}' % (ID.encode(), state)
        elif method == "DELETE" or path.endswith("/kill"):
            yield b'404 {"message": "no such container"}'
        else:
            yield b'200 {"Id": "%s"}' % ID.encode()


@asynccontextmanager
async def started(liar: Liar, directory: Path) -> AsyncGenerator[EngineInstance]:
    async def record(instance: Instance) -> None:
        await trio.lowlevel.checkpoint()

    async with engine_double(liar.answer) as double, trio.open_nursery() as nursery:
        runtime = EngineRuntime(
            EnginePlaces("docker", (double.path,)),
            token="t",
            data_dir=directory,
            logs=LogFiles(directory / "logs"),
            conditions=Conditions(),
        )
        await nursery.start(runtime.serve)
        yield await runtime.start(launch("true"), record=record)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("pid", [b"1", b"ours", b"0", b"-7", b"2147483648", b"1" * 30])
async def test_a_pid_that_is_not_the_containers_is_not_known(tmp_path: Path, pid: bytes) -> None:
    liar = Liar()
    liar.pid = b"%d" % os.getpid() if pid == b"ours" else pid
    async with started(liar, tmp_path) as running:
        assert running.instance.pid is None
        assert running.instance.handle["start"] == "0"
        running.leave()


async def test_a_check_ends_no_process_that_is_not_in_its_container() -> None:
    liar = Liar()
    async with trio.open_nursery() as nursery:
        asked = partial(trio.run_process, ["sleep", "1000"], start_new_session=True)
        other: trio.Process = await nursery.start(asked)
        liar.pid = b"%d" % other.pid
        async with (
            engine_double(liar.answer) as double,
            aclosing(EngineClient(double.path)) as client,
        ):
            inside = Inside(ID, other.pid, "docker")
            result = await EngineExec(client, inside, Argv(("true",)), 100).run(timeout=0.1)
        assert result.timed_out
        assert other.poll() is None
        nursery.cancel_scope.cancel()


async def test_numbers_that_cannot_be_are_dropped_one_by_one(tmp_path: Path) -> None:
    liar = Liar()
    async with started(liar, tmp_path) as running:
        liar.stats = (
            b'{"cpu_stats": {"cpu_usage": {"total_usage": 2000000000},'
            b' "throttling_data": {"throttled_time": -1}}, "memory_stats": {"usage": 1e300,'
            b' "max_usage": 18446744073709551616}, "pids_stats": {"current": 3}}'
        )
        usage = await running.usage()
        assert usage is not None
        assert (usage.cpu_seconds, usage.processes) == (2.0, 3)
        assert usage.memory_used is usage.memory_peak is usage.throttled_seconds is None
        for liar.stats in (b"[" * 100_000, b'{"cpu_stats": 7}', b"no"):
            assert await running.usage() is None
        running.leave()


@pytest.mark.parametrize("code", [-1, 256, 1 << 31, 10**18])
def test_an_exit_code_that_cannot_be_is_one_that_can(code: int) -> None:
    for error in ("", "it failed"):
        found = Container(id=ID, state=State(status="exited", exit_code=code, error=error))
        end = end_of_container(found)
        assert end.reason is Reason.EXITED
        assert end.exit_code == code & 0xFF
        assert end.message.startswith(f"exited with code {code & 0xFF}")


async def test_output_that_always_breaks_off_is_asked_for_ever_less_often(tmp_path: Path) -> None:
    liar = Liar()
    liar.held = False
    async with (
        engine_double(liar.answer) as double,
        aclosing(EngineClient(double.path)) as client,
        trio.open_nursery() as nursery,
    ):

        @asynccontextmanager
        async def here() -> AsyncGenerator[EngineClient]:
            yield client

        task = TaskId("web", 1, 1)
        copy = OutputCopy(
            Instance(id="web.1-1.1-ab", task=task, started_at=0.0, ports={}, handle={}),
            ID,
            SlotAppender(LogFiles(tmp_path / "logs"), task),
            CursorFile(tmp_path / "cursor"),
            here=here,
            ended=trio.Event(),
            is_new=True,
        )
        began = trio.current_time()
        nursery.start_soon(copy.run)
        await wait_until(lambda: liar.streams == 6)
        assert trio.current_time() - began > 0.02 + 0.04 + 0.08 + 0.16 + 0.32 - 0.01
        copy.cancel()


async def test_an_engine_that_comes_and_goes_is_soon_told_no_more_and_dialled_ever_less_often(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(words: str) -> int:
        return sum(words in one.getMessage() for one in caplog.records)

    async def nothing(client: EngineClient) -> None:
        await trio.lowlevel.checkpoint()

    caplog.set_level(logging.INFO, "warren")
    monkeypatch.setattr(engine_link, "FIRST_PAUSE", 0.02)
    liar = Liar()
    liar.held = False
    async with engine_double(liar.answer) as double, trio.open_nursery() as nursery:
        conditions = Conditions()
        link = EngineLink(
            EnginePlaces("docker", (double.path,)),
            conditions,
            label="l",
            used=lambda: 1,
            catch_up=nothing,
            hear=lambda event: None,
        )
        began = trio.current_time()
        await nursery.start(link.serve)
        await wait_until(lambda: liar.streams == 6)
        assert trio.current_time() - began > 0.02 + 0.04 + 0.08 + 0.16 + 0.32 - 0.01
        assert said("is there") == said("does not answer: it has closed") == 2
        assert said("over") == 1
        assert link.version == "v" * 100
        monkeypatch.setattr(engine_link, "STEADY", 0.05)
        liar.held = True
        await wait_until(lambda: not conditions.current())
        assert (said("is there"), said("over")) == (3, 2)
        nursery.cancel_scope.cancel()
