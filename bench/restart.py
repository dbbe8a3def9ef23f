"""From a crash, and from a deciding probe failure, to the new instance's first line.

    python bench/restart.py [--samples 60] [--slow-samples 5] [--json FILE]

Every supervisor runs the same program, which writes the time and its pid, then sleeps:

    kill -9 PID  -> supervisor -> sh -> date       crash to running again
    PROBE_FAILED -> TERM, kill -> sh -> date       deciding failure to new instance (Warren only)

Warren runs in a process of its own, as it would on a node: process runtime, SQLite journal. runsv
restarts a program at once only if that ran for a second, else it waits for one; Warren restarts at
once after good running (`reset_after`, set to 0.5 s here). Of a program younger than 2 s Warren
knows all processes without looking at the others, which would flatter it. So kills are `SPACING`
seconds apart. Supervisors take turns, `TURN` seconds apart: much that the kernel does is quicker
where it has just been done for somebody. A peer that is not installed is said so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio
from processes import supervising
from section import Bound, Section, milliseconds, percentile, table

from warren.model.check import Argv, TcpCheck
from warren.model.duration import Duration
from warren.model.event import EventKind, TaskEvent
from warren.model.probe import Probe
from warren.model.service import Restart, ServiceSpec, Stop
from warren.model.task import TaskStatus
from warren.runtime.process import ProcessRuntime

SPACING = 2.1  # seconds a program runs before it is killed
TURN = 0.2  # seconds between two restarts
LONGEST = 10.0  # seconds a restart may take
STARTS = "starts"  # the file in which the program writes its starts
NO_PROBE = 0  # for a port
BACKLOG = 100
CRASH = "crash to running again"
FAILURE = "deciding failure to new instance"
RUNSV_BOUNDS = {0.5: 1.5, 0.95: 3}  # times runsv, at most, at that share of all
FAILURE_BOUND = 0.008  # seconds at p50
POLL = 0.001  # seconds; samples are taken from the files' contents, not from when they are seen
INTERVAL = 0.1  # seconds between the probe's attempts

Provoke = Callable[[int], float]
Taking = Callable[["Starts"], AbstractContextManager[Provoke]]


@dataclass
class Contender:
    """A supervisor with the program under it. `provoke` makes it restart: given the program's pid,
    it returns the wall time from which the restart is counted. Not `taking`: not installed."""

    what: str
    name: str
    starts: Starts
    taking: AbstractContextManager[Provoke] | None
    samples: int
    taken: list[float] = field(default_factory=list[float])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--slow-samples", type=int, default=5, help="of a peer that takes a second")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--supervise", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.supervise:
        port, directory = options.supervise
        trio.run(supervise, int(port), Path(directory))
        return
    with tempfile.TemporaryDirectory() as directory:
        contenders = contend(Path(directory), options.samples, options.slow_samples)
        measure([one for one in contenders if one.taking is not None], options.samples)
        alone = [without(Path(directory), number) for number in range(options.samples)]
        trees = type(ProcessRuntime(data_dir=Path(directory), node="bench").trees).__name__
    section(contenders, alone, trees.lower()).save(options.json)


def contend(directory: Path, samples: int, slow_samples: int) -> list[Contender]:
    def crash(name: str, taking: Taking, samples: int) -> Contender:
        starts = Starts(directory / name)
        is_there = name == "warren" or shutil.which(name) is not None
        return Contender(CRASH, name, starts, taking(starts) if is_there else None, samples)

    probed = Starts(directory / "probed")
    return [
        crash("warren", warren, samples),
        crash("runsv", runsv, samples),
        crash("supervisord", supervisord, slow_samples),
        Contender(FAILURE, "warren", probed, probed_warren(probed), samples),
    ]


def measure(contenders: list[Contender], rounds: int) -> None:
    """Let everybody restart once a round, in turn."""
    with ExitStack() as running:
        provoke = [running.enter_context(one.taking) for one in contenders if one.taking]
        alive = [one.starts.wait() for one in contenders]
        for number in range(rounds):
            print(f"restart {number + 1} of {rounds}", file=sys.stderr)
            for index, one in enumerate(contenders):
                if number >= one.samples:
                    continue
                began, pid = alive[index]
                time.sleep(max(TURN, began + SPACING - time.time()))
                since = provoke[index](pid)
                alive[index] = one.starts.wait()
                one.taken.append(alive[index][0] - since)


def without(directory: Path, number: int) -> float:
    """How long the program itself takes to write its line."""
    starts = Starts(directory / f"alone{number}")
    began = time.time()
    with subprocess.Popen(["sh", "-c", starts.script]) as program:
        at, _ = starts.wait()
        program.kill()
    return at - began


def section(contenders: Sequence[Contender], alone: Sequence[float], trees: str) -> Section:
    rows = [(one.what, one.name, *shown(one.taken)) for one in contenders]
    rows.append((CRASH, "no supervisor", *shown(alone)))
    return Section(
        title="From a failure to running again",
        text=(
            "The same program under each: `sh` that appends the time by `date`, then sleeps. "
            "Crash: from `kill -9` to the time the new program wrote; what `sh` and `date` take "
            f"themselves is the row `no supervisor`. Programs ran for {SPACING} s before each "
            "kill: runsv delays a restart within the first second. Deciding failure: from the "
            "outcome of a TCP probe (every 100 ms, `retries: 1`); TERM, the kill of the whole "
            "tree and the wait until nothing of it is left are in the time. Warren keeps trees "
            f"of processes by {trees} here."
        ),
        table=table(("what", "supervisor", "p50", "p95", "worst", "samples"), rows),
        bounds=tuple(bounds(contenders)),
    )


def bounds(contenders: Sequence[Contender]) -> Iterator[Bound]:
    """What is promised, of what could be measured here."""
    taken = {(one.what, one.name): one.taken for one in contenders}
    mine, peers = taken[CRASH, "warren"], taken[CRASH, "runsv"]
    for share, most in RUNSV_BOUNDS.items() if peers else ():
        times = percentile(mine, share) / percentile(peers, share)
        promise = f"crash to running again: at most {most} x runsv at p{share * 100:.0f}"
        yield Bound(promise, f"{times:.2f} x", holds=times <= most)
    middle = percentile(taken[FAILURE, "warren"], 0.5)
    promise = f"deciding failure to new instance: at most {milliseconds(FAILURE_BOUND)} at p50"
    yield Bound(promise, milliseconds(middle), holds=middle <= FAILURE_BOUND)


def shown(taken: Sequence[float]) -> tuple[str, str, str, str]:
    if not taken:
        return ("not installed", "", "", "0")
    ends = (percentile(taken, 0.5), percentile(taken, 0.95), max(taken))
    p50, p95, worst = map(milliseconds, ends)
    return (p50, p95, worst, str(len(taken)))


def script(directory: Path) -> str:
    """The program, for `sh -c`."""
    return f'echo "$(date +%s%N) $$" >> {directory / STARTS}; exec sleep 1000'


class Starts:
    """What the program writes: a line of nanoseconds and pid for every start."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.file = directory / STARTS
        self.file.touch()
        self.script = script(directory)
        self._seen = 0

    def wait(self) -> tuple[float, int]:
        """The next start's wall time in seconds, and its pid."""
        give_up = time.monotonic() + LONGEST
        while time.monotonic() < give_up:
            lines = self.file.read_text(encoding="ascii").split("\n")[:-1]
            if len(lines) > self._seen:
                nanoseconds, pid = lines[self._seen].split()
                self._seen += 1
                return int(nanoseconds) / 1e9, int(pid)
            time.sleep(POLL)
        raise TimeoutError(f"{self.directory.name}: not started within {LONGEST:.0f} s")

    def kill_last(self) -> None:
        """End a program that its supervisor has left behind."""
        lines = self.file.read_text(encoding="ascii").splitlines()
        for line in lines[-1:]:
            pid = int(line.split()[1])
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0" + b"1000\0":
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def foreground(
    argv: Sequence[str | Path], starts: Starts, stop: int = signal.SIGTERM
) -> Generator[subprocess.Popen[str]]:
    """A supervisor in a process group of its own; stopped by `stop`, and what is left killed."""
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(stop)
            with suppress(subprocess.TimeoutExpired):
                process.wait(LONGEST)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            starts.kill_last()


def kill(pid: int) -> float:
    now = time.time()
    os.kill(pid, signal.SIGKILL)
    return now


def warren_argv(port: int, starts: Starts) -> list[str]:
    return [sys.executable, __file__, "--supervise", str(port), str(starts.directory)]


@contextmanager
def warren(starts: Starts) -> Generator[Provoke]:
    with foreground(warren_argv(NO_PROBE, starts), starts, signal.SIGINT):
        yield kill


@contextmanager
def probed_warren(starts: Starts) -> Generator[Provoke]:
    listener = listening(0)
    port: int = listener.getsockname()[1]
    with foreground(warren_argv(port, starts), starts, signal.SIGINT) as process:
        assert process.stdout is not None
        failures = process.stdout

        def fail(_pid: int) -> float:
            nonlocal listener
            listener.close()
            failed = float(failures.readline())
            listener = listening(port)  # long before the new instance is asked: `initial_delay`
            return failed

        yield fail
    listener.close()


def listening(port: int) -> socket.socket:
    """What the probe asks. Nobody accepts: the backlog is enough for `SPACING` seconds."""
    return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)


@contextmanager
def runsv(starts: Starts) -> Generator[Provoke]:
    service = starts.directory / "service"
    service.mkdir()
    write_program(service / "run", starts)
    with foreground(["runsv", service], starts):
        yield kill


@contextmanager
def supervisord(starts: Starts) -> Generator[Provoke]:
    here = starts.directory
    write_program(here / "program", starts)
    config = here / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={here}/log\npidfile={here}/pid\n"
        f"childlogdir={here}\n[program:sleeper]\ncommand={here}/program\nautorestart=true\n",
        encoding="utf-8",
    )
    with foreground(["supervisord", "-c", config], starts):
        yield kill


def write_program(file: Path, starts: Starts) -> None:
    file.write_text(f"#!/bin/sh\n{starts.script}\n", encoding="utf-8")
    file.chmod(0o755)


async def supervise(port: int, directory: Path) -> None:
    """Be Warren on a node. Prints the time of every probe failure."""
    async with supervising(directory, print_failure) as supervisor:
        await supervisor.start(spec(port, directory))
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                break


def print_failure(_status: TaskStatus, event: TaskEvent) -> None:
    if event.kind is EventKind.PROBE_FAILED:
        print(event.at, flush=True)


def spec(port: int, directory: Path) -> ServiceSpec:
    probe = Probe(
        tcp=TcpCheck(port=port or None),
        interval=Duration(INTERVAL),
        initial_delay=Duration(3 * INTERVAL),
        retries=1,
    )
    return ServiceSpec(
        name="sleeper",
        command=Argv(("sh", "-c", script(directory).replace("$", "$$"))),
        health=None if port == NO_PROBE else probe,
        restart=Restart(max_attempts=1000, reset_after=Duration(0.5)),
        stop=Stop(grace=Duration(1)),
    )


if __name__ == "__main__":
    main()
