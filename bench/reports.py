"""Status changes a second that the manager makes durable, and how many share a transaction.

    python bench/reports.py [--seconds 3] [--json FILE]

    reportTaskHealth --> wait --> merge -> one transaction (WAL) -> synced --> acknowledged

Every report is a change: a task becomes ready, or no longer. The node is played; manager, store and
wire are real, and over the socket the manager is a process of its own. `bare SQLite` is what one
row a transaction costs here: the floor that the disk sets.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import trio
from children import child
from section import Section, table

from warren.manager.program import Manager
from warren.model.address import Address, UnixAddress
from warren.model.check import Argv, Sample
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.report import Assignments, NodeHello, Report, Told
from warren.model.rpc import Gate, NodeSession
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.model.usage import TaskUsage
from warren.model.view import LogChunk, LogPiece, LogWanted
from warren.resilience.collector import begin_spreading
from warren.transport.client import open_gate
from warren.transport.memory import memory_gate
from warren.wiring.parts import open_manager_here
from warren.wiring.programs import open_manager_program

TASKS = 500
LOADS = ((1, 1), (64, 1), (1, TASKS))  # reports in flight, tasks in each


class Load(msgspec.Struct, frozen=True):
    """What was measured of one load."""

    link: str
    width: int
    each: int
    reports: float  # a second
    transactions: float  # a second


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    begin_spreading()
    if options.serve:
        trio.run(serve, options.serve)
        return
    with tempfile.TemporaryDirectory() as directory:
        floor = bare(Path(directory), options.seconds)
        loads = trio.run(in_process, Path(directory), options.seconds)
    with (
        tempfile.TemporaryDirectory() as directory,
        child([sys.executable, __file__, "--serve", directory]) as path,
    ):
        loads += trio.run(over_socket, UnixAddress(path), options.seconds)
    section(floor, loads).save(options.json)


def bare(directory: Path, seconds: float) -> float:
    """Transactions a second of one row."""
    with closing(sqlite3.connect(directory / "bare.sqlite", isolation_level=None)) as db:
        db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT)")
        begun, made = time.perf_counter(), 0
        while time.perf_counter() < begun + seconds:
            db.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (made % TASKS, "x" * 300))
            made += 1
        return made / (time.perf_counter() - begun)


# The manager


async def serve(directory: Path) -> None:
    path = directory / "bench.sock"
    addresses = [UnixAddress(str(path))]
    async with open_manager_program(directory, addresses, insecure=False):
        print(path, flush=True)
        await trio.sleep_forever()


async def in_process(directory: Path, seconds: float) -> list[Load]:
    async with open_manager_here(directory) as manager:
        return await through_memory(manager, seconds)


async def through_memory(manager: Manager, seconds: float) -> list[Load]:
    async with memory_gate(manager.gate) as gate:
        return await load_all("memory", gate, seconds)


async def over_socket(address: Address, seconds: float) -> list[Load]:
    async with open_gate(address) as gate:
        return await load_all("Unix socket", gate, seconds)


# The node


class PlayedNode:
    """Plays `Agent`: knows what it was told to hold, and runs none of it."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, TaskStatus] = {}
        self.has_all = trio.Event()

    async def assign(self, assignments: Assignments) -> None:
        await trio.lowlevel.checkpoint()
        for one in assignments.tasks:
            self.tasks[one.task] = TaskStatus(id=one.task, phase=Phase.RUNNING)
        if len(self.tasks) == TASKS:
            self.has_all.set()

    async def look(self, tasks: Sequence[TaskId]) -> list[TaskStatus]:
        await trio.lowlevel.checkpoint()
        return [self.tasks[task] for task in tasks if task in self.tasks]

    async def usage(self, tasks: Sequence[TaskId]) -> list[TaskUsage]:
        await trio.lowlevel.checkpoint()
        return []

    async def samples(self, task: TaskId) -> Mapping[ProbeKind, tuple[Sample, ...]]:
        await trio.lowlevel.checkpoint()
        return {}

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        await trio.lowlevel.checkpoint()
        return []

    async def kept(self, service: str) -> list[int]:
        await trio.lowlevel.checkpoint()
        return []

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        await trio.lowlevel.checkpoint()
        return LogChunk()

    def change(self, tasks: Sequence[TaskId]) -> Report:
        """Each of these is ready, or no longer."""
        statuses, events = list[TaskStatus](), list[Told]()
        for task in tasks:
            old = self.tasks[task]
            new = msgspec.structs.replace(old, ready=not old.ready, sequence=old.sequence + 1)
            kind = EventKind.READY if new.ready else EventKind.UNREADY
            event = TaskEvent(at=time.time(), task=task, kind=kind, message=kind.value)
            self.tasks[task] = new
            statuses.append(new)
            events.append(Told(new.sequence, event))
        return Report(statuses=tuple(statuses), events=tuple(events))


async def load_all(link: str, gate: Gate, seconds: float) -> list[Load]:
    cluster = await gate.login()
    node = PlayedNode()
    session = await gate.enroll(NodeHello(name="bench", id="bench"), node)
    await session.report_task_health(Report(is_whole=True))
    await cluster.create(ServiceSpec(name="s", command=Argv(("x",)), replicas=TASKS))
    await node.has_all.wait()
    loads: list[Load] = []
    for width, each in LOADS:
        print(f"{link}: {width} in flight, {each} tasks in each", file=sys.stderr)
        before = (await cluster.status()).generation
        begun = time.perf_counter()
        made = await report(node, session, width, each, begun + seconds)
        taken = time.perf_counter() - begun
        status = await cluster.status()
        shown = (await cluster.service("s")).tasks
        told = {task.id: task.status.ready for task in shown}
        if status.trouble or told != {t: s.ready for t, s in node.tasks.items()}:
            raise AssertionError(f"{link}: what was acknowledged is not so: {status.trouble}")
        transactions = (status.generation - before) / taken
        loads.append(Load(link, width, each, made / taken, transactions))
    return loads


async def report(node: PlayedNode, session: NodeSession, width: int, each: int, end: float) -> int:
    """Reports that were acknowledged until then."""
    tasks = sorted(node.tasks)
    made = 0

    async def go(own: Sequence[TaskId]) -> None:
        nonlocal made
        while time.perf_counter() < end:
            await session.report_task_health(node.change(own))
            made += 1

    async with trio.open_nursery() as nursery:
        for number in range(width):
            nursery.start_soon(go, tasks[number * each : (number + 1) * each])
    return made


def section(floor: float, loads: list[Load]) -> Section:
    rows: list[Sequence[str]] = [
        ("bare SQLite, a row a transaction", "1", "1", "", f"{floor:.0f}", "1")
    ]
    for one in loads:
        changes = one.reports * one.each
        rows.append(
            (
                one.link,
                str(one.width),
                str(one.each),
                f"{changes:.0f}",
                f"{one.transactions:.0f}",
                f"{changes / one.transactions:.1f}",
            )
        )
    columns = ("link", "in flight", "tasks each", "changes/s", "commits/s", "changes a commit")
    return Section(
        title="Status changes made durable",
        text=(
            "A node reports that tasks become ready or unready, every change with its event; "
            "acknowledged is what is in SQLite (WAL) and synced. Reports that wait are "
            "one transaction. A real node has one report in flight, with all that has changed. "
            "With the memory link both are in one process; over the socket the manager is its own."
        ),
        table=table(columns, rows),
    )


if __name__ == "__main__":
    main()
