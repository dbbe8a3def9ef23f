"""What every benchmark shares: contenders run in turn, medians, ratios, the machine, the report.

Contenders run interleaved (A B C A B C), so that a machine that warms up or is disturbed does so
to all of them. A number without the machine it was taken on means nothing, so a report has both.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Where a number was taken."""

    cpu: str
    cores: int
    kernel: str
    python: str

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, Linux {self.kernel}, Python {self.python}"


@dataclass
class Series:
    """One contender's numbers in one mode, all in `unit`."""

    mode: str
    name: str
    unit: str
    samples: list[float] = field(default_factory=list[float])

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


def machine() -> Machine:
    """This machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(
        cpu=models[0] if models else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
    )


def cpu_seconds(*, children: bool = False) -> float:
    """User and system time of this process so far, with its reaped children's if asked for."""
    whose = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if children else [])]
    usages = [resource.getrusage(who) for who in whose]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def interleaved(
    mode: str, unit: str, contenders: Mapping[str, Callable[[], float]], runs: int
) -> list[Series]:
    """Run every contender `runs` times, in turn; each call gives one number in `unit`."""
    series = [Series(mode, name, unit) for name in contenders]
    for _ in range(runs):
        for one in series:
            one.samples.append(contenders[one.name]())
    return series


def ratio(series: Sequence[Series], mode: str, name: str, to: str) -> float:
    """How many times the median of `to` the median of `name` is."""
    medians = {one.name: one.median for one in series if one.mode == mode}
    return medians[name] / medians[to]


def ratios(series: Sequence[Series], mode: str, name: str, to: str) -> list[float]:
    """The same, round by round: what ran one after the other is compared."""
    samples = {one.name: one.samples for one in series if one.mode == mode}
    return [mine / other for mine, other in zip(samples[name], samples[to], strict=True)]


def markdown(series: Sequence[Series], *, baseline: str) -> str:
    """A table: one row per mode and contender, with the ratio to `baseline` in the same mode."""
    rows = [
        "| mode | contender | median | range | ratio to " + baseline + " |",
        "|---|---|---:|---:|---:|",
    ]
    for one in series:
        times = ratio(series, one.mode, one.name, baseline)
        spread = f"{min(one.samples):.0f}-{max(one.samples):.0f}"
        rows.append(
            f"| {one.mode} | {one.name} | {one.median:.0f} {one.unit} | {spread} | {times:.2f} |"
        )
    return "\n".join(rows)


def report(series: Sequence[Series], *, baseline: str, json_file: Path | None) -> None:
    """Print the machine and the table; write everything, each sample too, to `json_file`."""
    here = machine()
    print(f"{here}\n\n{markdown(series, baseline=baseline)}", flush=True)
    if json_file is not None:
        content = {
            "machine": asdict(here),
            "series": [{**asdict(one), "median": one.median} for one in series],
        }
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
