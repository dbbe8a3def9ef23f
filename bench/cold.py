"""How long a command takes from its start to its end: `warren --help`, `warren service ls`.

    python bench/cold.py [--runs 15] [--json FILE]

`service ls` asks a running `up` with some services; what Python itself takes, and `docker --help`
where there is a docker, take turns with it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from children import wait_listening, warren
from measure import Series, interleaved, markdown
from section import Section

SERVICES = 10
PYTHON = "python -c pass"
MODE = "cold start"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        file = directory / "services.yaml"
        file.write_text(services(), encoding="utf-8")
        with warren("up", file, "--plain", data_dir=directory):
            wait_listening(directory / "warren.sock")
            series = interleaved(MODE, "ms", contenders(directory), options.runs)
    section(series).save(options.json)


def services() -> str:
    each = (f"  s{number}: {{command: [sleep, '1000']}}\n" for number in range(SERVICES))
    return "services:\n" + "".join(each)


def contenders(directory: Path) -> dict[str, Callable[[], float]]:
    own = [sys.executable, "-m", "warren"]
    argvs: dict[str, Sequence[str]] = {
        PYTHON: [sys.executable, "-c", "pass"],
        "warren --help": [*own, "--help"],
        "warren service ls": [*own, "service", "ls", "--data-dir", str(directory)],
    }
    if docker := shutil.which("docker"):
        argvs["docker --help"] = [docker, "--help"]
    return {name: running(argv) for name, argv in argvs.items()}


def running(argv: Sequence[str]) -> Callable[[], float]:
    def run() -> float:
        begun = time.perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        return (time.perf_counter() - begun) * 1e3

    run()  # what it reads is in the page cache, and compiled
    return run


def section(series: list[Series]) -> Section:
    return Section(
        title="Commands, from start to end",
        text=(
            "Wall time of a whole command, its files in the page cache. `service ls` asks an `up` "
            f"with {SERVICES} services of one process each. `docker --help` is there where a "
            "docker is."
        ),
        table=markdown(series, baseline=PYTHON),
    )


if __name__ == "__main__":
    main()
