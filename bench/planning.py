"""One failed task among 100, 1,000 and 10,000: what it costs to decide, and to do.

    python bench/planning.py [--rounds 5] [--scales 20] [--json FILE]

    decide   the failure applied to the state, plan, lint, the plan applied: pure, no disk
    do       `scale` by one: commit, plan, commit, push over a memory link, the new task started

Nothing runs: instances are scripted. Clusters of all sizes take turns.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import trio
from section import Bound, Section, percentile, table
from staging import open_staged

from warren.model.check import Argv
from warren.model.cluster import Change, NodeRow, PutNode, PutService, PutTask, ServiceRow, TaskRow
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.model.task import End, Phase, Reason, TaskStatus
from warren.resilience.collector import begin_spreading
from warren.scheduler.plan_lint import lint
from warren.scheduler.planner import plan
from warren.state.cluster_state import ClusterState

SIZES = (100, 1_000, 10_000)
START = 1_000_000.0  # wall time
NODES = ("n1", "n2")
FAILURES = 50  # in one cluster: each in a slot of its own, so that every one is its slot's first
BOUND = 3.0  # times the smallest cluster's cost, at most
SHAPES = ("one service", "services of one")
END = End(reason=Reason.EXITED, message="exited with code 1", at=START, exit_code=1)

Taken = dict[tuple[str, int], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help=f"of {FAILURES} failures")
    parser.add_argument("--scales", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    begin_spreading()
    decided = decide(options.rounds)
    done = trio.run(scale_all, options.scales)
    section(decided, done).save(options.json)


# Deciding


def decide(rounds: int) -> Taken:
    taken: Taken = {(shape, size): [] for shape in SHAPES for size in SIZES}
    for number in range(rounds):
        print(f"planning, round {number + 1} of {rounds}", file=sys.stderr)
        for (shape, size), samples in taken.items():
            cluster = cluster_of(shape, size)
            gc.collect()
            samples += [seconds_of(cluster, row) for row in victims(cluster)]
    return taken


def victims(cluster: ClusterState) -> list[TaskRow]:
    rows = list(cluster.tasks.values())
    return rows[:: len(rows) // FAILURES][:FAILURES]


def seconds_of(cluster: ClusterState, row: TaskRow) -> float:
    """What it takes to have decided on this task's failure."""
    status = msgspec.structs.replace(row.status, phase=Phase.FAILED, ready=False, last_end=END)
    failed = PutTask(msgspec.structs.replace(row, status=status))
    begun = time.perf_counter()
    touched = cluster.apply([failed], cluster.generation + 1)
    made = plan(cluster, touched, now=START, connected=NODES, lease=15.0)
    problems = lint(cluster, made, connected=NODES)
    cluster.apply(made.changes, cluster.generation + 1)
    taken = time.perf_counter() - begun
    placed = [c.row for c in made.changes if isinstance(c, PutTask) and c.row.node is not None]
    if problems or len(placed) != 1:
        raise AssertionError(f"{row.id} was not replaced once: {problems or made.changes}")
    return taken


def cluster_of(shape: str, size: int) -> ClusterState:
    changes: list[Change] = [PutNode(node_row(name)) for name in NODES]
    replicas = size if shape == SHAPES[0] else 1
    for number in range(size // replicas):
        wanted = spec(f"s{number}", replicas)
        row = ServiceRow(spec=wanted, version=1, revision=1, created_at=START, updated_at=START)
        changes.append(PutService(row))
        changes += running(wanted)
    cluster = ClusterState()
    cluster.apply(changes, 1)
    return cluster


def running(wanted: ServiceSpec) -> Iterator[PutTask]:
    for slot in range(1, wanted.replicas + 1):
        task = TaskId(wanted.name, slot, 1)
        status = TaskStatus(id=task, phase=Phase.RUNNING, ready=True)
        yield PutTask(
            TaskRow(
                id=task,
                revision=1,
                spec=wanted,
                status=status,
                created_at=START,
                node=NODES[slot % 2],
            )
        )


def spec(name: str, replicas: int) -> ServiceSpec:
    return ServiceSpec(name=name, command=Argv(("played",)), replicas=replicas)


def node_row(name: str) -> NodeRow:
    return NodeRow(name=name, id=f"id-{name}", epoch=1, joined_at=START)


# Doing


async def scale_all(samples: int) -> dict[int, Mapping[str, list[float]]]:
    return {size: await scale(size, samples) for size in SIZES}


async def scale(size: int, samples: int) -> Mapping[str, list[float]]:
    """Seconds until one task more has started: of a service of one beside so many tasks, and of
    the service that is so large; and how many seconds that took to be answered."""
    print(f"scaling among {size} tasks", file=sys.stderr)
    taken: dict[str, list[float]] = {"small": [], "large": [], "answer": []}
    with tempfile.TemporaryDirectory() as directory:
        async with open_staged(Path(directory)) as staged:
            await staged.create(spec("large", size - 1))
            await staged.create(spec("small", 1))
            gc.collect()
            for _ in range(samples):
                for name, few in (("small", 1), ("large", size - 1)):
                    begun = time.perf_counter()
                    answered, started = await staged.scale(name, few + 1)
                    taken[name].append(started - begun)
                    if name == "large":
                        taken["answer"].append(answered - begun)
                    await staged.scale_down(name, few)
    return taken


def section(decided: Taken, done: Mapping[int, Mapping[str, list[float]]]) -> Section:
    rows = [
        (f"decide: {shape}", *(micro(decided[shape, size]) for size in SIZES), times(per_size))
        for shape in SHAPES
        for per_size in [[percentile(decided[shape, size], 0.5) for size in SIZES]]
    ]
    what = {
        "small": "scale a service of 1 by one: started",
        "large": "scale the service of all by one: started",
        "answer": "scale the service of all by one: answered",
    }
    for key, words in what.items():
        medians = [percentile(done[size][key], 0.5) for size in SIZES]
        rows.append((words, *(micro(done[size][key]) for size in SIZES), times(medians)))
    bounds: list[Bound] = []
    for shape in SHAPES:
        grown = percentile(decided[shape, SIZES[-1]], 0.5) / percentile(
            decided[shape, SIZES[0]], 0.5
        )
        promise = f"{shape}: among {SIZES[-1]:,} at most {BOUND:.0f} x what it costs among 100"
        bounds.append(Bound(promise, f"{grown:.2f} x", grown <= BOUND))
    return Section(
        title="One change among many tasks",
        text=(
            "Decide: one task has failed; the state takes it, plan, lint, and the state takes the "
            "plan. Scale: from the call to the new task's start, through SQLite, planner, memory "
            "link and node, with scripted instances. The answer to `scale` shows every task of "
            "the service as its node has it now, so it grows with the service. Medians; the last "
            "column is the largest to the smallest."
        ),
        table=table(("what", *(f"{size:,} tasks" for size in SIZES), "growth"), rows),
        bounds=tuple(bounds),
    )


def micro(samples: list[float]) -> str:
    return f"{percentile(samples, 0.5) * 1e6:.0f} µs"


def times(medians: list[float]) -> str:
    return f"{medians[-1] / medians[0]:.2f} x"


if __name__ == "__main__":
    main()
