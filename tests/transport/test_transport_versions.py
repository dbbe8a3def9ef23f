"""Peers of other versions: a node of a made-up later schema, and clients of the first one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from tests.transport.later_schema import later_schema
from tests.transport.stock_clients import HERE
from tests.transport.wire_links import serving
from warren.manager.program import Manager, open_manager
from warren.manifest.service_file import load_text
from warren.model.address import UnixAddress
from warren.model.check import Result
from warren.model.event import EventFacts, EventKind
from warren.model.identity import TaskId
from warren.model.node_description import UNDESCRIBED, NodeDescription, RuntimeInfo
from warren.model.probe import ProbeKind, Verdict
from warren.model.rpc import Cluster
from warren.model.task import Phase, Reason
from warren.model.view import TaskView
from warren.store.state import StateStore
from warren.transport.client import open_gate

PATIENCE = 20.0
NOW = time.time()
OLD = Path(__file__).parent / "old" / "warren-0.1.capnp"
WEB = {"service": "web", "slot": 1, "number": 1}


class StockNode:
    """tests/transport/stock/node.py, running."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin
        assert process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self._read = b""
        self._given = deque[str]()

    async def given(self) -> dict[str, Any]:
        """A task that it has been given."""
        while not self._given:
            await self._hear()
        return json.loads(self._given.popleft())

    async def _hear(self) -> str | None:
        """What it says next; None where that is a task it was given."""
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._read:
                more = await self._stdout.receive_some()
                assert more, "the node has ended"
                self._read += more
        line, _, self._read = self._read.partition(b"\n")
        if not line.startswith(b"{"):
            return line.decode()
        self._given.append(line.decode())
        return None

    async def call(self, method: str, **parameters: Any) -> str:
        """Have it call its session; what it is answered."""
        await self._send(method, parameters)
        while (said := await self._hear()) is None:
            pass
        return said

    async def report(self, *statuses: Any, events: tuple[Any, ...] = (), **more: Any) -> str:
        report = {"statuses": [*statuses], "events": [*events], **more}
        return await self.call("reportTaskHealth", report=report)

    async def answer_looks_with(self, *statuses: Any) -> None:
        """What it says of its tasks from now on to who asks. Silent: it says nothing of them."""
        await self._send("look", [*statuses])
        assert await self.call("renew", conditions=[], places=[]) == "acknowledged"

    async def _send(self, method: str, parameters: object) -> None:
        await self._stdin.send_all(json.dumps([method, parameters]).encode() + b"\n")


@asynccontextmanager
async def managed(folder: Path, *, replicas: int = 1) -> AsyncGenerator[Manager, None]:
    """A real manager at a real socket, with a service `web`."""
    store = StateStore.open(None)
    try:
        async with (
            open_manager(store, wall=time.time) as manager,
            serving("unix", folder, lambda connection: manager.gate(connection)),
        ):
            service = {"command": ["x"], "replicas": replicas}
            (spec,) = load_text(yaml.safe_dump({"services": {"web": service}}))
            await manager.operator.create(spec)
            yield manager
    finally:
        store.close()


@asynccontextmanager
async def node(
    schema: Path, folder: Path, name: str = "n1", **hello: Any
) -> AsyncGenerator[StockNode, None]:
    command = [sys.executable, str(HERE / "node.py"), str(schema), str(folder / "w.sock"), name]
    command.append(json.dumps(hello))
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process: trio.Process = await nursery.start(run, command)
        yield StockNode(process)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def assigned(tmp_path: Path) -> AsyncGenerator[tuple[Manager, StockNode], None]:
    """A manager, and a node of the later schema that has been given `web.1#1`."""
    async with managed(tmp_path) as manager, node(later_schema(tmp_path), tmp_path) as later:
        assert await later.given() == {**WEB, "lastEnd": False}
        yield manager, later


def status(sequence: int, *, slot: int = 1, phase: str = "running", **more: Any) -> dict[str, Any]:
    return {"id": {**WEB, "slot": slot}, "phase": phase, "sequence": sequence, **more}


def told(sequence: int, kind: str, message: str = "said", **more: Any) -> dict[str, Any]:
    event = {"at": NOW, "task": WEB, "kind": kind, "message": message, **more}
    return {"sequence": sequence, "event": event}


async def shown(cluster: Cluster) -> TaskView:
    (task,) = (await cluster.service("web")).tasks
    return task


async def unread(manager: Manager) -> str:
    """What the one condition of the node says; empty where there is none."""
    (view,) = await manager.operator.nodes()
    found = {one.kind: one.message for one in view.conditions}
    assert found.keys() <= {"reports unread"}
    return found.get("reports unread", "")


async def test_what_only_a_later_version_knows_is_read_as_unknown(tmp_path: Path) -> None:
    sample = {"at": NOW, "outcome": {"result": "degraded", "detail": "slow"}}
    probes = [
        {"kind": "liveness", "verdict": "suspect", "last": sample},
        {"kind": "canary", "verdict": "healthy"},
        {"kind": "shadow", "verdict": "unhealthy"},
    ]
    end = {"reason": "evicted", "message": "it was evicted", "at": NOW}
    now = status(3, ready=True, probes=probes, lastEnd=end, mood="well")
    async with assigned(tmp_path) as (manager, later):
        await later.answer_looks_with(now)
        said = await later.report(
            now, events=(told(2, "moved", place="x", word="moved"),), weather="fair"
        )
        assert said == "acknowledged"
        (row,) = manager.commit_log.cluster.tasks.values()
        async with serving_client(tmp_path) as cluster:
            seen = (await shown(cluster)).status
            (entry,) = [e for e in await cluster.events() if e.message == "said"]
        for one in (row.status, seen):
            assert (one.phase, one.ready) == (Phase.RUNNING, True)
            assert one.last_end is not None
            assert one.last_end.reason is Reason.UNKNOWN
            assert one.probes.keys() == {ProbeKind.LIVENESS, ProbeKind.UNKNOWN}
            liveness = one.probes[ProbeKind.LIVENESS]
            assert liveness.verdict is Verdict.UNKNOWN
            assert liveness.last is not None
            assert liveness.last.outcome.result is Result.UNKNOWN
            assert one.probes[ProbeKind.UNKNOWN].verdict is Verdict.HEALTHY
        assert (entry.kind, entry.word, entry.subject) == (EventKind.UNKNOWN, "moved", "web.1#1")
        assert entry.facts == EventFacts(node="n1")
        assert await unread(manager) == ""


async def test_a_task_of_an_unknown_phase_is_shown_as_that_and_left_alone(tmp_path: Path) -> None:
    async with assigned(tmp_path) as (manager, later):
        assert await later.report(status(2, ready=True)) == "acknowledged"
        paused = status(5, phase="paused")
        await later.answer_looks_with(paused)
        assert await later.report(paused) == "acknowledged"
        async with serving_client(tmp_path) as cluster:
            task = await shown(cluster)
            assert (task.id, task.status.phase) == (TaskId("web", 1, 1), Phase.UNKNOWN)
            assert not task.status.ready
        await manager.operator.scale("web", 2)  # it is planned anew, and the first one stays
        assert (await later.given())["slot"] == 2
        rows = manager.commit_log.cluster.tasks
        assert {str(one): row.phase for one, row in rows.items()} == {
            "web.1#1": Phase.RUNNING,
            "web.2#1": Phase.ASSIGNED,
        }
        ended = status(6, phase="failed")  # what is understood again counts again
        assert await later.report(ended) == "acknowledged"
        assert rows[TaskId("web", 1, 1)].phase is Phase.FAILED


async def test_what_cannot_be_read_of_a_report_is_dropped_alone_and_counted(
    tmp_path: Path,
) -> None:
    end = {"reason": "exited", "message": "it ended", "at": NOW, "exitCode": {"code": "seven"}}
    async with assigned(tmp_path) as (manager, later):
        said = await later.report(
            status(3, ready=True),
            status(3, slot=2, lastEnd=end),
            events=(told(1, "started", "first"), told(-1, "ready"), told(2, "ready", "last")),
        )
        assert said == "acknowledged"
        (row,) = manager.commit_log.cluster.tasks.values()
        assert (row.phase, row.status.ready) == (Phase.RUNNING, True)
        kept = manager.commit_log.events(after=0, since=0, limit=1000, about="web.1#1")
        assert [entry.message for entry in kept][-2:] == ["first", "last"]
        assert await unread(manager) == (
            "2 items of its reports could not be read and were left out, the last:"
            " events[1].sequence: -1: want 0 to 9007199254740992"
        )
        assert await later.report(status(4, lastEnd=end), isWhole=True) == "acknowledged"
        assert await unread(manager) == (
            "3 items of its reports could not be read and were left out, the last:"
            " statuses[0].last_end.exit_code: '?': want one of unset, value"
            " (a newer peer may know more)"
        )
        trouble = (await manager.operator.status()).trouble
        assert [line for line in trouble if "node n1: reports unread: 3 items" in line]


async def test_what_cannot_be_read_of_a_sign_of_life_or_a_look_is_dropped_alone(
    tmp_path: Path,
) -> None:
    async with assigned(tmp_path) as (manager, later):
        assert await later.report(status(2)) == "acknowledged"
        conditions = [
            {"kind": "disk", "message": "x" * 20_000},
            {"kind": "lag", "message": "late", "since": 5.0},
        ]
        places = [{"kind": "exec", "cap": -1}, {"kind": "network", "cap": 7}]
        said = await later.call("renew", conditions=conditions, places=places)
        assert said == "acknowledged"
        (view,) = await manager.operator.nodes()
        assert [one.kind for one in view.conditions] == ["lag"]
        assert [one.cap for one in view.places] == [7]
        await later.answer_looks_with(status(-1, slot=2), status(3, ready=True))
        task = await shown(manager.operator)
        assert (task.is_stale, task.status.ready) == (False, True)


async def test_a_report_that_is_none_is_refused(tmp_path: Path) -> None:
    async with assigned(tmp_path) as (manager, later):
        for many in (100_001, 200_000):
            said = await later.report(*[{}] * many)
            assert "invalid: report.statuses: " in said
            assert await unread(manager) == ""


async def test_what_cannot_be_read_of_what_a_node_announces_it_does_not_have(
    tmp_path: Path,
) -> None:
    runtimes = [
        {"name": "process", "features": ["teleport"], "mood": "well"},
        {"name": "x" * 2000},
        {"name": "jar", "unavailable": "closed"},
    ]
    description = {"runtimes": runtimes, "cpus": 2.5, "planet": "earth"}
    later = later_schema(tmp_path)
    async with (
        managed(tmp_path) as manager,
        node(later, tmp_path, description=description) as n1,
    ):
        assert await n1.given() == {**WEB, "lastEnd": False}
        (view,) = await manager.operator.nodes()
        assert view.description == NodeDescription(
            runtimes=(
                RuntimeInfo(name="process", features=("teleport",)),
                RuntimeInfo(name="jar", unavailable="closed"),
            ),
            cpus=2.5,
        )


async def test_no_node_is_told_of_a_reason_that_is_not_known(tmp_path: Path) -> None:
    end = {"reason": "evicted", "message": "it was evicted", "at": NOW}
    async with assigned(tmp_path) as (_, later):
        failed = status(3, phase="failed", lastEnd=end, failedBefore=1)
        assert await later.report(failed) == "acknowledged"
        second = await later.given()
        assert (second["slot"], second["number"] > 1) == (1, True)
        assert second["lastEnd"] is False


async def test_a_client_and_a_node_of_the_first_schema_still_work(tmp_path: Path) -> None:
    client = [sys.executable, str(OLD.parent / "client.py"), str(OLD), str(tmp_path / "w.sock")]
    async with (
        managed(tmp_path) as manager,
        node(OLD, tmp_path, "n1") as first,
        trio.open_nursery() as nursery,
    ):

        async def run_all() -> None:
            while True:
                given = await first.given()
                task = {name: given[name] for name in ("service", "slot", "number")}
                now = {"id": task, "phase": "running", "sequence": 2, "ready": True}
                event = {"at": NOW, "task": task, "kind": "ready", "message": "ready"}
                said = await first.report(now, events=({"sequence": 1, "event": event},))
                assert said == "acknowledged"

        nursery.start_soon(run_all)
        with trio.fail_after(PATIENCE):
            ran = await trio.run_process([*client, "old", "sleep", "9"], capture_stdout=True)
        nursery.cancel_scope.cancel()
        *lines, events = ran.stdout.decode().splitlines()
        assert lines == [
            "services: web",
            "healthy: 1",
            "healthy: 2",
            "tasks: 1 running, 2 running",
            "nodes: ready",
        ]
        kinds = events.removeprefix("events: ").split(", ")
        assert {*kinds} - {"pending"} == {"created", "placed", "ready", "scaled"}
        assert manager.commit_log.cluster.services["old"].is_removing
        assert manager.commit_log.cluster.nodes["n1"].description == UNDESCRIBED


@pytest.mark.parametrize("schema", ["later", "old"])
def test_the_made_up_schema_and_the_old_one_differ_from_todays(schema: str, tmp_path: Path) -> None:
    today = (OLD.parents[3] / "schema" / "warren.capnp").read_text("utf-8")
    other = later_schema(tmp_path) if schema == "later" else OLD
    assert other.read_text("utf-8") != today


@asynccontextmanager
async def serving_client(folder: Path) -> AsyncGenerator[Cluster, None]:
    """Warren's own client at the socket there."""
    async with open_gate(UnixAddress(str(folder / "w.sock"))) as gate:
        yield await gate.login()
