"""How long the event loop stands still while it starts tasks.

    python bench/starts.py [--starts 100] [--seconds 10] [--json FILE]

Services of one real process each are started, spread evenly over the time, by a supervisor with
the process runtime and a SQLite journal. Every pass of Trio's loop is measured, from when the
kernel's answer is there to when it is asked again. Time in which this thread could not have the
processor (others ran, or the hypervisor's steal) is taken out: it is the machine's, not ours. Time
in which the kernel made us wait stays in.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import closing
from pathlib import Path

import trio
from processes import supervising
from section import Bound, Section, milliseconds, percentile, table

from warren.model.check import Argv
from warren.model.event import TaskEvent
from warren.model.service import ServiceSpec, Stop
from warren.model.task import TaskStatus

BOUND = 0.002  # seconds, at p99.9
SHARE = 0.999
TICKS = os.sysconf("SC_CLK_TCK")


class Passes(trio.abc.Instrument):
    """Keeps how long every pass of the loop took. A few µs for each are its own."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self._queue = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._stat = os.open("/proc/stat", os.O_RDONLY)
        self._began: tuple[float, float] | None = None

    def after_io_wait(self, timeout: float) -> None:
        self._began = (time.perf_counter(), self._kept_waiting())

    def before_io_wait(self, timeout: float) -> None:
        if self._began is not None:
            began, waited = self._began
            took = time.perf_counter() - began
            self.taken.append(max(0.0, took - (self._kept_waiting() - waited)))

    def _kept_waiting(self) -> float:
        """Seconds so far in which somebody else had the processor."""
        queued = int(os.pread(self._queue, 100, 0).split()[1]) / 1e9
        steal = int(os.pread(self._stat, 200, 0).split()[8]) / TICKS
        return queued + steal

    def close(self) -> None:
        os.close(self._queue)
        os.close(self._stat)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        taken = trio.run(measure, Path(directory), options.starts, options.seconds)
    section(taken, options.starts, options.seconds).save(options.json)


async def measure(directory: Path, starts: int, seconds: float) -> list[float]:
    specs = [spec(number) for number in range(1, starts + 1)]
    with closing(Passes()) as passes:
        async with supervising(directory, tell_nobody) as supervisor:
            await (await supervisor.start(spec(0))).wait_ready()  # everything is loaded then
            trio.lowlevel.add_instrument(passes)
            began = trio.current_time()
            for number, each in enumerate(specs, 1):
                await trio.sleep_until(began + number * seconds / starts)
                await supervisor.start(each)
            for service in supervisor.services.values():
                await service.wait_ready()
            trio.lowlevel.remove_instrument(passes)
    return passes.taken


def spec(number: int) -> ServiceSpec:
    command = Argv(("sleep", "1000"))
    return ServiceSpec(name=f"s{number}", command=command, stop=Stop(signal="KILL"))


def tell_nobody(_status: TaskStatus, _event: TaskEvent) -> None:
    pass


def section(taken: list[float], starts: int, seconds: float) -> Section:
    stalls = [percentile(taken, share) for share in (0.5, 0.99, SHARE)]
    rows = [("a pass of the loop", *map(milliseconds, [*stalls, max(taken)]), str(len(taken)))]
    promise = f"no pass over {milliseconds(BOUND)} at p99.9"
    return Section(
        title="The event loop while tasks start",
        text=(
            f"{starts} real processes started over {seconds:.0f} s, journal and cgroups included. "
            "A pass is what the loop does between two questions to the kernel; time in which the "
            "thread could not have the processor, steal included, is taken out."
        ),
        table=table(("what", "p50", "p99", "p99.9", "worst", "passes"), rows),
        bounds=(Bound(promise, milliseconds(stalls[2]), holds=stalls[2] <= BOUND),),
    )


if __name__ == "__main__":
    main()
