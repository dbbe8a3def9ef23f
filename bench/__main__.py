"""Every benchmark, one after another; each measures in a process of its own.

    python -m bench [NAME...] [--quick] [--json FILE] [--write docs/benchmarks.md]

The tables go to stdout, progress to stderr. Exits with 1 where a bound does not hold or a
benchmark fails. `--quick` shows that all of it runs; its numbers mean little.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.measure import Series, machine, markdown, ratio, ratios
from bench.section import Bound, Section, load, told

HERE = Path(__file__).parent
LONGEST = 300  # seconds one benchmark may take
GO_BOUND = 1.5  # times Go's CPU, at most
HTTPX_BOUND = 4.0  # times Warren's CPU that httpx takes, at least
EXEC_BOUND = 1.1  # times the CPU of `trio.run_process`, at most; from run to run it is 0.93 to 1.01
# Times a bare socket's CPU, at most, where httpx takes less than four times ours; from machine to
# machine it is 1.1 to 1.5.
FLOOR_BOUND = 1.6


@dataclass(frozen=True)
class Benchmark:
    """A script, and its arguments for a full and for a quick run."""

    script: str
    full: str
    quick: str


BENCHMARKS = {
    "http": Benchmark("http_cpu.py", "--runs 3 --seconds 8", "--runs 1 --seconds 2"),
    "exec": Benchmark("exec_cpu.py", "--runs 5", "--runs 1 --probes 50"),
    "load": Benchmark("load.py", "--seconds 60", "--seconds 5"),
    "fleet": Benchmark("fleet.py", "--seconds 25", "--tasks 2000 --seconds 10"),
    "storm": Benchmark("storm.py", "", "--starts 300 --tasks 1000 --seconds 3"),
    "restart": Benchmark("restart.py", "", "--samples 3 --slow-samples 1"),
    "starts": Benchmark("starts.py", "", "--starts 10 --seconds 1"),
    "replace": Benchmark("replace.py", "", "--samples 3"),
    "rpc": Benchmark("rpc.py", "", "--runs 1 --seconds 0.5"),
    "reports": Benchmark("reports.py", "", "--seconds 0.5"),
    "watching": Benchmark("watching.py", "", "--rounds 1 --changes 5"),
    "cold": Benchmark("cold.py", "", "--runs 3"),
    "planning": Benchmark("planning.py", "", "--rounds 1 --scales 3"),
}

GO_NAMES = ("http", "load")  # what compiles its server with Go
GO_LEAST = (1, 22)  # as go_probe/go.mod says
GO_SAID = "go" + ".".join(map(str, GO_LEAST))

INTRO = """# Benchmarks

`just bench` takes all of this in one run and writes nothing; `just bench --write
docs/benchmarks.md` writes this page. Ratios are of contenders that took turns on one machine in one
run: read them rather than the absolute numbers, which are the machine's.
"""

HTTP_TEXT = """\
CPU, user and system, of the process that asks, per HTTP probe of a Go server on loopback, with a
new connection for every probe. `go` is `net/http` set up as kubelet sets it up; httpx is an
`AsyncClient` on Trio, one for all probes or one per probe; `bare socket` is the floor that the
kernel sets. Saturated: 8 at once, as fast as it can; paced: 600 a second."""

EXEC_TEXT = """\
CPU, user and system, the command's own included, per exec check of `true`. Warren's check runs in
the task's directory, environment, user and cgroup, and everything it starts is killed and reaped;
`trio.run_process` does none of that."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    names: list[str] = options.names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"{', '.join(unknown)}: no such benchmark; want {', '.join(BENCHMARKS)}")
    needy = [name for name in names if name in GO_NAMES]
    if needy and (lacking := go_lacking()):
        wanted = "pip install -e '.[bench]', or another Go; or name other benchmarks"
        parser.exit(2, f"bench: {', '.join(needy)}: {lacking}: want {wanted}\n")
    sections = {name: run(name, is_quick=options.quick) for name in names}
    text = document(list(sections.values()))
    print(text)
    if options.write:
        options.write.write_text(f"{INTRO}\n{text}", encoding="utf-8")
    if options.json:
        content = {"machine": asdict(machine()), "sections": msgspec.to_builtins(sections)}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    sys.exit(any(not bound.holds for one in sections.values() for bound in one.bounds))


def go_lacking() -> str:
    """What is wrong with the Go there is; nothing: empty."""
    if shutil.which("go") is None:
        return "no `go` on PATH"
    said = subprocess.run(["go", "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or tuple(map(int, found.groups())) < GO_LEAST:
        known = found[0] if found else "of no known version"
        return f"`go` on PATH is {known}, not {GO_SAID} or later"
    return ""


def document(sections: Sequence[Section]) -> str:
    parts = [f"Machine: {machine()}."]
    for one in sections:
        parts += [f"## {one.title}", wrapped(one.text), one.table]
        if one.bounds:
            parts.append(told(one.bounds).rstrip())
    return "\n\n".join(parts) + "\n"


def wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def run(name: str, *, is_quick: bool) -> Section:
    """Run one benchmark; where it fails, its section says so and its bound is broken."""
    benchmark = BENCHMARKS[name]
    print(f"== {name}", file=sys.stderr, flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "section.json"
        arguments = (benchmark.quick if is_quick else benchmark.full).split()
        argv = [sys.executable, str(HERE / benchmark.script), *arguments, "--json", str(file)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        try:
            subprocess.run(
                argv, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=LONGEST
            )
            found = READERS.get(name, load)(file)
        except subprocess.SubprocessError as error:
            bound = Bound("the benchmark runs", str(error).replace(str(HERE.parent), "."), False)
            found = Section(title=name, text="", table="Failed.", bounds=(bound,))
    print(f"== {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def http_section(file: Path) -> Section:
    series = read_series(file)
    bounds: list[Bound] = []
    for mode in dict.fromkeys(one.mode for one in series):
        to_go = ratio(series, mode, "warren", "go")
        peers = ("httpx shared", "httpx per probe")
        to_httpx = min(ratio(series, mode, name, "warren") for name in peers)
        promise = f"{mode}: at most {GO_BOUND} x Go's CPU"
        bounds.append(Bound(promise, f"{to_go:.2f} x", holds=to_go <= GO_BOUND))
        to_floor = ratio(series, mode, "warren", "bare socket")
        promise = (
            f"{mode}: at least {HTTPX_BOUND:.0f} x less CPU than httpx, the cheaper of the two, or "
            f"at most {FLOOR_BOUND} x the bare socket's (ADR 2)"
        )
        holds = to_httpx >= HTTPX_BOUND or to_floor <= FLOOR_BOUND
        bounds.append(Bound(promise, f"{to_httpx:.1f} x; {to_floor:.2f} x", holds=holds))
    return Section(
        title="CPU per HTTP probe",
        text=HTTP_TEXT,
        table=markdown(series, baseline="go"),
        bounds=tuple(bounds),
    )


def exec_section(file: Path) -> Section:
    series = read_series(file)
    bounds: list[Bound] = []
    for mode in dict.fromkeys(one.mode for one in series):
        rounds = ratios(series, mode, "warren", "trio.run_process")
        middle = statistics.median(rounds)
        promise = f"{mode}: at most {EXEC_BOUND} x the CPU of `trio.run_process`"
        measured = f"{middle:.2f} x, by round {min(rounds):.2f}-{max(rounds):.2f}"
        bounds.append(Bound(promise, measured, holds=middle <= EXEC_BOUND))
    return Section(
        title="CPU per exec check",
        text=EXEC_TEXT,
        table=markdown(series, baseline="trio.run_process"),
        bounds=tuple(bounds),
    )


def read_series(file: Path) -> list[Series]:
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return [Series(s["mode"], s["name"], s["unit"], s["samples"]) for s in told["series"]]


READERS = {"http": http_section, "exec": exec_section}

if __name__ == "__main__":
    main()
