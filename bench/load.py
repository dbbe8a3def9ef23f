"""600 HTTP probes a second, kubelet's worst case, from one supervisor against a Go server.

    python bench/load.py [--seconds 60] [--json FILE]

The tasks' instances are scripted; all else is what a user has: supervisor, nurseries, probe loops,
caps, the lean HTTP check. This process does nothing beside it, so its CPU is the supervisor's.
Needs `go`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import trio
from http_cpu import build, go_server
from measure import cpu_seconds
from scripted import PORT, Meter, supervision
from section import Bound, Section, milliseconds, percentile, table

from warren.checks import run_check
from warren.model.check import Argv, HttpCheck
from warren.model.duration import Duration
from warren.model.probe import Probe
from warren.model.service import ServiceSpec
from warren.resilience.collector import begin_spreading

SERVICES = 60
REPLICAS = 10
RATE = SERVICES * REPLICAS  # probes a second: one a second for every task
INTERVAL = 1.0
SETTLING = 3.0  # seconds from the first pass until every probe is on its grid
SHORTFALL = 0.99  # of the rate: what the window's edges may cost


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, go_server(build(Path(directory))) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        begin_spreading()
        section = trio.run(measure, port, options.seconds)
    section.save(options.json)


async def measure(port: int, seconds: int) -> Section:
    meter = Meter(run_check, interval=INTERVAL)
    async with supervision(meter) as supervisor:
        services = [await supervisor.start(spec(number, port)) for number in range(SERVICES)]
        for service in services:
            await service.wait_ready()
        await trio.sleep(SETTLING)
        print(f"{RATE} tasks are ready; measuring for {seconds} s", file=sys.stderr)
        cpu, start, meter.is_on = cpu_seconds(), time.perf_counter(), True
        await trio.sleep(seconds)
        cpu, took, meter.is_on = cpu_seconds() - cpu, time.perf_counter() - start, False
    return section(meter, cpu=cpu, seconds=took)


def spec(number: int, port: int) -> ServiceSpec:
    check = HttpCheck(path="/healthz", port=port)
    probe = Probe(http=check, interval=Duration(INTERVAL), timeout=Duration(1))
    return ServiceSpec(
        name=f"s{number}",
        command=Argv(("played",)),
        replicas=REPLICAS,
        ports={PORT: 0},
        health=probe,
    )


def section(meter: Meter, *, cpu: float, seconds: float) -> Section:
    made = len(meter.lateness)
    late = meter.lateness
    rows = [
        ("probes made", f"{made} in {seconds:.1f} s, {made / seconds:.1f} a second"),
        ("false failures, the start included", str(len(meter.failures))),
        ("points of the grid missed", str(meter.dropped)),
        ("lateness p50", milliseconds(percentile(late, 0.5))),
        ("lateness p99", milliseconds(percentile(late, 0.99))),
        ("lateness, the worst", milliseconds(max(late))),
        ("share of a core", f"{cpu / seconds:.0%}"),
        ("CPU per probe, all of the supervisor", f"{cpu / made * 1e6:.0f} µs"),
    ]
    first = f": {meter.failures[0]}" if meter.failures else ""
    return Section(
        title=f"{RATE} HTTP probes a second",
        text=(
            f"One supervisor, {RATE} tasks with scripted instances, one HTTP probe a second each "
            "(timeout 1 s) of a Go server on loopback; a new connection for every probe. Lateness "
            "is from the probe's scheduled time to the start of its attempt."
        ),
        table=table(("what", "measured"), rows),
        bounds=(
            Bound("zero false failures", f"{len(meter.failures)}{first}", holds=not meter.failures),
            Bound(
                f"{RATE} probes a second are made",
                f"{made / seconds:.1f}",
                holds=made >= SHORTFALL * RATE * seconds,
            ),
        ),
    )


if __name__ == "__main__":
    main()
