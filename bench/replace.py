"""From a task FAILED to its replacement running, through manager and node, with real processes.

    python bench/replace.py [--samples 30] [--json FILE]

    FAILED --report--> commit -> plan -> commit --push--> journal -> process -> STARTED
    `finished`         (the manager's `replaced`)                               `started`

The program exits with 1 by itself, `max_attempts` is 1, and it has run well before (`reset_after`),
so that every second exit is a task's end and its replacement is due at once. Times are those of
Warren's own events: the node's `finished` and `started`, the manager's `replaced`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import trio
from children import wait_listening, warren
from section import Section, milliseconds, percentile, table

from warren.model.address import UnixAddress
from warren.model.check import Argv
from warren.model.cluster import Entry
from warren.model.duration import Duration
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.rpc import ClusterView
from warren.model.service import Restart, ServiceSpec
from warren.transport.client import open_gate

LIFE = 0.3  # seconds the program runs
SAMPLE_WITHIN = 20.0  # seconds
ONE, TWO = "`up`: one process, memory link", "`manager run` and `node run`: Unix socket"
SPEC = ServiceSpec(
    name="failing",
    command=Argv(("sh", "-c", f"sleep {LIFE}; exit 1")),
    restart=Restart(max_attempts=1, reset_after=Duration(LIFE / 3)),
)


class Replacement(msgspec.Struct):
    """Wall times of one replacement."""

    finished: float
    decided: float = 0.0
    started: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    taken = {how: taken_by(how, options.samples) for how in (ONE, TWO)}
    section(taken).save(options.json)


def taken_by(how: str, samples: int) -> list[Replacement]:
    print(f"{how}: {samples} replacements", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        directory = Path(name)
        path = directory / "warren.sock"
        programs = (
            [("up", "--plain")]
            if how == ONE
            else [("manager", "run"), ("node", "run", "--stop-tasks")]
        )
        for arguments in programs:
            # The manager first: a node that finds none waits before it tries again.
            quiet = (*arguments, "--log-level", "warning")
            running.enter_context(warren(*quiet, data_dir=directory))
            wait_listening(path)
        return trio.run(watch, path, samples)


async def watch(path: Path, samples: int) -> list[Replacement]:
    found: dict[TaskId, Replacement] = {}
    async with open_gate(UnixAddress(str(path))) as gate:
        cluster = await gate.login()
        await cluster.create(SPEC)
        with trio.fail_after(SAMPLE_WITHIN * samples):
            await follow(cluster, found, samples)
    return [one for one in found.values() if one.started][:samples]


async def follow(cluster: ClusterView, found: dict[TaskId, Replacement], samples: int) -> None:
    """Read events until so many tasks have been replaced."""
    after = 0
    while sum(bool(one.started) for one in found.values()) < samples:
        for entry in await cluster.events(after=after, wait=True):
            after = entry.seq
            if entry.service == SPEC.name and "#" in entry.subject:
                note(entry, TaskId.parse(entry.subject), found)


def note(entry: Entry, task: TaskId, found: dict[TaskId, Replacement]) -> None:
    """`found` is by the task that has ended; only its successor's first start counts."""
    before = found.get(TaskId(task.service, task.slot, task.number - 1))
    if entry.kind is EventKind.FINISHED:
        found[task] = Replacement(entry.at)
    elif entry.kind is EventKind.REPLACED and before is not None:
        before.decided = entry.at
    elif entry.kind is EventKind.STARTED and before is not None and not before.started:
        before.started = entry.at


def section(taken: dict[str, list[Replacement]]) -> Section:
    rows: list[Sequence[str]] = []
    for how, found in taken.items():
        whole = [one.started - one.finished for one in found]
        rows.append((how, *(milliseconds(percentile(whole, at)) for at in (0.5, 0.99, 1.0)),
                     milliseconds(percentile([one.decided - one.finished for one in found], 0.5)),
                     str(len(found))))  # fmt: skip
    return Section(
        title="From FAILED to its replacement running",
        text=(
            "A process that exits with 1 after its task's last attempt: from the node's event that "
            "the task has FAILED to its event that the new task's process runs. In between are the "
            "report and its commit, the plan and its commit, the push, the node's journal and the "
            "start of a process, that by its cgroup included. `decided` is until the manager has "
            "made the plan."
        ),
        table=table(("how", "p50", "p99", "worst", "decided p50", "samples"), rows),
    )


if __name__ == "__main__":
    main()
