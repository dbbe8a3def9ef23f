"""What one change costs the manager, by who else has a session or watches.

    python bench/watching.py [--rounds 5] [--changes 30] [--json FILE]

    one task becomes ready, or no longer --report--> commit -> wakes the watchers it concerns

Two managers, each a process of its own on a Unix socket: one has a single node and no watcher,
the other 200 nodes, and watchers of 50 services. They take turns; nodes and watchers are played.
What is compared is the manager's CPU time, all threads, as the kernel counts it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from children import child
from reports import PlayedNode, serve
from section import Bound, Section, table

from warren.client.watch import Watch
from warren.model.address import UnixAddress
from warren.model.check import Argv
from warren.model.identity import TaskId
from warren.model.report import Assignments, NodeHello, Report
from warren.model.rpc import Cluster, NodeSession
from warren.model.service import ServiceSpec
from warren.model.view import WatchWanted
from warren.resilience.collector import begin_spreading
from warren.transport.client import open_gate

SESSIONS, WATCHERS = 200, 50
WARM_UP = 5  # changes
OTHER, WATCHED = "s0", "s1"  # services of one task: one that nobody watches, one that is watched
# Nothing in the path of a change grows with those that it does not concern; where every session
# looks at every change it is 2 to 5 x.
BOUND = 1.3
ALONE, NONE, ONE, ALL = "alone", "none", "one", "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--changes", type=int, default=30, help="in a round, of each kind")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    begin_spreading()
    if options.serve:
        trio.run(serve, options.serve)
        return
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        child([sys.executable, __file__, "--serve", one]) as small,
        child([sys.executable, __file__, "--serve", other]) as large,
    ):
        taken = trio.run(measure, small, large, options.rounds, options.changes)
    section(taken).save(options.json)


class Node(PlayedNode):
    """Plays a node; `session` is its session. `crowd` is told of its assignments."""

    def __init__(self, crowd: Crowd) -> None:
        super().__init__()
        self.session: NodeSession | None = None
        self._crowd = crowd

    async def assign(self, assignments: Assignments) -> None:
        """Take it."""
        await super().assign(assignments)
        self._crowd.moved.set()

    async def tell(self, task: TaskId) -> None:
        """The task is ready, or no longer; durable when this returns."""
        assert self.session is not None
        await self.session.report_task_health(self.change([task]))


@dataclass
class Crowd:
    """One manager, its nodes and its watchers."""

    cluster: Cluster
    pid: int = 0
    nodes: list[Node] = field(default_factory=list[Node])
    answers: dict[str, int] = field(default_factory=dict[str, int])  # to all watchers of a service
    moved: trio.Event = field(default_factory=trio.Event)  # an answer, or an assignment

    def cpu(self) -> float:
        """CPU seconds of the manager so far."""
        files = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9

    async def renew(self) -> None:
        """Every session, so that none is silent for its lease."""
        for node in self.nodes:
            assert node.session is not None
            await node.session.renew()

    async def watch(self, name: str, cluster: Cluster) -> None:
        """Watch a service, for ever."""
        watch = Watch(WatchWanted(service=name))
        while True:
            await watch.next(cluster)
            self.answers[name] = self.answers.get(name, 0) + 1
            self.moved.set()

    async def wait_answers(self, name: str, count: int) -> None:
        """Until watchers of a service have had so many answers."""
        while self.answers.get(name, 0) < count:
            await self.wait_moved()

    async def wait_moved(self) -> None:
        self.moved = trio.Event()
        await self.moved.wait()

    async def change(self, name: str, times: int, *, watchers: int) -> float:
        """CPU seconds of the manager for one change of a service's task; each is awaited by its
        watchers, so that no answer has two."""
        (node, task) = next(
            (node, task) for node in self.nodes for task in node.tasks if task.service == name
        )
        seen, before = self.answers.get(name, 0), self.cpu()
        for number in range(1, times + 1):
            await node.tell(task)
            await self.wait_answers(name, seen + number * watchers)
        return (self.cpu() - before) / times


@asynccontextmanager
async def open_crowd(path: str, sessions: int, services: int) -> AsyncGenerator[Crowd]:
    """So many nodes, and services of one task."""
    address = UnixAddress(path)
    async with AsyncExitStack() as stack:
        cluster = await (await stack.enter_async_context(open_gate(address))).login()
        crowd = Crowd(cluster, (await cluster.status()).pid)
        for number in range(sessions):
            gate, node = await stack.enter_async_context(open_gate(address)), Node(crowd)
            hello = NodeHello(name=f"n{number}", id=f"id-{number}")
            node.session = await gate.enroll(hello, node)
            await node.session.report_task_health(Report(is_whole=True))
            crowd.nodes.append(node)
        for number in range(services):
            spec = ServiceSpec(name=f"s{number}", command=Argv(("x",)))
            await cluster.create(spec)
        while sum(len(node.tasks) for node in crowd.nodes) < services:
            await crowd.wait_moved()
        for node in crowd.nodes:
            for task in node.tasks:
                await node.tell(task)
        yield crowd


async def measure(small: str, large: str, rounds: int, changes: int) -> Mapping[str, list[float]]:
    """CPU seconds a change, by round."""
    taken: dict[str, list[float]] = {ALONE: [], NONE: [], ONE: [], ALL: []}
    async with (
        open_crowd(small, 1, 2) as few,
        open_crowd(large, SESSIONS, WATCHERS + 1) as many,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):

        async def add(names: Sequence[str]) -> None:
            for name in names:
                gate = await stack.enter_async_context(open_gate(UnixAddress(large)))
                before = many.answers.get(name, 0)
                nursery.start_soon(many.watch, name, await gate.login())
                await many.wait_answers(name, before + 1)

        async def turn(kind: str, crowd: Crowd, name: str, watchers: int) -> None:
            await crowd.renew()
            await trio.sleep(0.2)  # what that leaves to be done is done
            await crowd.change(name, WARM_UP, watchers=watchers)
            taken[kind].append(await crowd.change(name, changes, watchers=watchers))

        await add([f"s{number}" for number in range(1, WATCHERS + 1)])
        for number in range(rounds):
            print(f"watching, round {number + 1} of {rounds}", file=sys.stderr)
            await turn(ALONE, few, OTHER, 0)
            await turn(NONE, many, OTHER, 0)
            await turn(ONE, many, WATCHED, 1)
        await add([OTHER] * WATCHERS)
        await turn(ALL, many, OTHER, WATCHERS)
        nursery.cancel_scope.cancel()
    return taken


def section(taken: Mapping[str, list[float]]) -> Section:
    medians = {kind: statistics.median(samples) for kind, samples in taken.items()}
    names = {
        ALONE: "1 session, no watcher",
        NONE: f"{SESSIONS} sessions, {WATCHERS} watchers: of other services",
        ONE: f"{SESSIONS} sessions, {WATCHERS} watchers: one of this service",
        ALL: f"{SESSIONS} sessions, {2 * WATCHERS} watchers: {WATCHERS} of this service",
    }
    rows = [
        (name, f"{medians[kind] * 1e6:.0f} µs", f"{medians[kind] / medians[ALONE]:.2f} x")
        for kind, name in names.items()
    ]
    rounds = [many / few for many, few in zip(taken[NONE], taken[ALONE], strict=True)]
    grown = statistics.median(rounds)
    promise = (
        f"{SESSIONS} sessions and {WATCHERS} watchers that a change does not concern: at most "
        f"{BOUND} x what it costs beside one session and no watcher"
    )
    measured = f"{grown:.2f} x, by round {min(rounds):.2f}-{max(rounds):.2f}"
    return Section(
        title="One change among many sessions and watchers",
        text=(
            "One task becomes ready, or no longer: its node reports it, the manager commits it "
            "and answers the watchers of its service. CPU of the manager's process for each "
            "change, medians of rounds taken in turn; a Unix socket for every node and watcher."
        ),
        table=table(("beside", "CPU a change", "ratio"), rows),
        bounds=(Bound(promise, measured, holds=grown <= BOUND),),
    )


if __name__ == "__main__":
    main()
