"""10,000 tasks with scripted instances in one supervisor: memory, start and stop time, lateness.

    python bench/fleet.py [--tasks 10000] [--seconds 25] [--json FILE]

Real clock, no sockets: checks are answered at once, every 10 s, so all that is measured is Warren's
own. Memory is this process's resident set, before and after, by the number of tasks.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from pathlib import Path

import trio
from measure import cpu_seconds
from scripted import PORT, Meter, supervision
from section import Section, milliseconds, percentile, table

from warren.model.check import Argv, Check, Outcome, Result, Sample, TcpCheck
from warren.model.duration import Duration
from warren.model.interfaces import Target
from warren.model.probe import Probe
from warren.model.service import ServiceSpec
from warren.resilience.collector import begin_spreading

REPLICAS = 100
INTERVAL = 10.0
SETTLING = 1.0
HISTORY = 20  # outcomes kept of a probe


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    begin_spreading()
    trio.run(measure, options.tasks, options.seconds).save(options.json)


async def measure(tasks: int, seconds: int) -> Section:
    meter = Meter(answered, interval=INTERVAL)
    async with supervision(meter) as supervisor:
        empty = resident()
        begun = time.perf_counter()
        services = [await supervisor.start(spec(number)) for number in range(tasks // REPLICAS)]
        for service in services:
            await service.wait_ready()
        starting = time.perf_counter() - begun
        each = (resident() - empty) / tasks
        print(f"{tasks} tasks are ready; measuring for {seconds} s", file=sys.stderr)
        # From half an interval after its first pass on, a probe is on its grid.
        await trio.sleep(INTERVAL / 2 + SETTLING)
        cpu, meter.is_on = cpu_seconds(), True
        await trio.sleep(seconds)
        cpu, meter.is_on = cpu_seconds() - cpu, False
        history = history_of(tasks) / tasks
        begun = time.perf_counter()
    stopping = time.perf_counter() - begun
    late = meter.lateness
    rows = [
        ("memory per task", f"{each / 1024:.1f} KiB"),
        (f"a full history of {HISTORY} outcomes adds", f"{history / 1024:.1f} KiB"),
        ("start until all are ready", f"{starting:.2f} s"),
        ("stop until nothing is left", f"{stopping:.2f} s"),
        ("probes made", f"{len(late)} in {seconds} s"),
        ("points of the grid missed", str(meter.dropped)),
        ("lateness p50", milliseconds(percentile(late, 0.5))),
        ("lateness p99", milliseconds(percentile(late, 0.99))),
        ("lateness, the worst", milliseconds(max(late))),
        ("share of a core", f"{cpu / seconds:.0%}"),
    ]
    return Section(
        title=f"{tasks:,} tasks on one node",
        text=(
            "One supervisor, its manager's state in memory, "
            f"{tasks // REPLICAS} services of {REPLICAS} replicas, scripted "
            f"instances, one liveness probe each every {INTERVAL:.0f} s, answered at once and "
            "without a socket. Real clock. Of a task's memory some 10 KiB are Trio's: four "
            "tasks and two nurseries. The cyclic garbage collector's thresholds are those that "
            "`warren up` sets; at Python's own, the start takes more than twice as long."
        ),
        table=table(("what", "measured"), rows),
    )


async def answered(check: Check, target: Target, *, timeout: float) -> Outcome:
    await trio.lowlevel.checkpoint()
    return passed()


def passed() -> Outcome:
    # New every time, its text too, as that of a real check.
    return Outcome(Result.PASS, " ".join(("200", "OK")), time.perf_counter())


def spec(number: int) -> ServiceSpec:
    return ServiceSpec(
        name=f"s{number}",
        command=Argv(("played",)),
        replicas=REPLICAS,
        ports={PORT: 0},
        health=Probe(tcp=TcpCheck(), interval=Duration(INTERVAL)),
    )


def history_of(tasks: int) -> int:
    """Bytes that the histories of as many probes take once they are full."""
    before = resident()
    kept = [[Sample(time.time(), passed()) for _ in range(HISTORY)] for _ in range(tasks)]
    taken = resident() - before
    kept.clear()
    return taken


def resident() -> int:
    """Bytes of this process in memory, without its garbage."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
