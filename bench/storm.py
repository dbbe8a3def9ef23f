"""Thousands of starts at once: how long the event loop stalls, and how soon a command is answered.

    python bench/storm.py [--starts 3000] [--tasks 10000] [--seconds 10] [--json FILE]

    storm   manager and node in one process, real processes: `--starts` replicas of `false`
    crowd   the same with scripted instances: `--tasks` of them start, and `services` is asked

A stall is one pass of the event loop, in CPU time of its thread: what other programs take from it
is not its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import trio
from section import Bound, Section, milliseconds, percentile, table
from staging import open_staged

from warren.model.check import Argv
from warren.model.service import ServiceSpec
from warren.resilience.collector import spread_collections
from warren.wiring.supervisor import open_supervisor

STALL_BOUND = 0.1  # seconds
ANSWER_BOUND = 1.0
ASK_EVERY = 0.2


class Passes(trio.abc.Instrument):
    """How long every pass of the loop was, in CPU time."""

    def __init__(self) -> None:
        self.lengths: list[float] = []
        self._began = time.thread_time()

    def after_io_wait(self, timeout: float) -> None:
        self._began = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        self.lengths.append(time.thread_time() - self._began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=3_000)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with spread_collections():
        storm = trio.run(storm_of, options.starts, options.seconds)
        crowd = trio.run(crowd_of, options.tasks, options.seconds)
    section(options.starts, storm, options.tasks, crowd).save(options.json)


async def storm_of(starts: int, seconds: float) -> list[float]:
    """The passes while so many tasks start, fail and start again."""
    spec = ServiceSpec(name="storm", command=Argv(("false",)), replicas=starts)
    with tempfile.TemporaryDirectory() as directory:
        node = f"storm-{os.getpid()}"
        async with open_supervisor(data_dir=Path(directory), node=node) as supervisor:
            print(f"{starts} replicas of false, for {seconds:.0f} s", file=sys.stderr)
            passes = Passes()
            trio.lowlevel.add_instrument(passes)
            await supervisor.cluster.create(spec)
            await trio.sleep(seconds)
            await supervisor.cluster.scale("storm", 0)
            trio.lowlevel.remove_instrument(passes)
    return passes.lengths


async def crowd_of(tasks: int, seconds: float) -> tuple[list[float], list[float]]:
    """The passes and the answers while so many scripted tasks start."""
    spec = ServiceSpec(name="crowd", command=Argv(("played",)), replicas=tasks)
    answers: list[float] = []
    passes = Passes()
    with tempfile.TemporaryDirectory() as directory:
        async with open_staged(Path(directory)) as staged:
            assert staged.manager is not None
            print(f"{tasks} scripted tasks, asked for {seconds:.0f} s", file=sys.stderr)
            trio.lowlevel.add_instrument(passes)
            await staged.manager.operator.create(spec)
            until = trio.current_time() + seconds
            while trio.current_time() < until:
                begun = time.perf_counter()
                await staged.manager.operator.services()
                answers.append(time.perf_counter() - begun)
                await trio.sleep(ASK_EVERY)
            trio.lowlevel.remove_instrument(passes)
    return passes.lengths, answers


def section(
    starts: int, storm: list[float], tasks: int, crowd: tuple[list[float], list[float]]
) -> Section:
    passes, answers = crowd
    rows = [
        (f"{starts:,} starts of `false`: the longest stall", milliseconds(max(storm))),
        ("stalls at p99.9", milliseconds(percentile(storm, 0.999))),
        (f"{tasks:,} scripted starts: the longest stall", milliseconds(max(passes))),
        ("`services` answered, p50", milliseconds(percentile(answers, 0.5))),
        ("`services` answered, the longest", milliseconds(max(answers))),
    ]
    return Section(
        title="Thousands of starts at once",
        text=(
            f"Manager and node in one process. {starts:,} replicas of `false` are created at once, "
            "with real processes, and start again as they fail; then as many as "
            f"{tasks:,} with scripted instances, while `services` is asked. A stall is one pass of "
            "the event loop, in CPU time."
        ),
        table=table(("what", "measured"), rows),
        bounds=(
            Bound(
                f"no stall over {STALL_BOUND * 1000:.0f} ms at {starts:,} starts",
                milliseconds(max(storm)),
                holds=max(storm) <= STALL_BOUND,
            ),
            Bound(
                f"answers within {ANSWER_BOUND:.0f} s at {tasks:,} tasks",
                milliseconds(max(answers)),
                holds=max(answers) <= ANSWER_BOUND,
            ),
        ),
    )


if __name__ == "__main__":
    main()
