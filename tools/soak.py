"""Soaks Warren in chaos for a time, and kills it under load for as often as is asked.

    python tools/soak.py [--minutes 10] [--kills 0] [--seed N]

First `--minutes` of tests/survival/chaos.py, which prints figures after every round. Then rounds of
twenty kills of managers under load, and of `node run` and `up`, each with a seed of its own. What
fails says its seed and ends it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUND = 20  # kills
PATIENCE = 1200.0  # seconds for one of them


def main() -> int:
    asked = _arguments()
    if asked.minutes and (status := _chaos(asked.minutes, asked.seed)):
        return status
    left, seed = asked.kills, asked.seed
    while left > 0:
        kills = min(left, ROUND)
        print(f"seed {seed}: {kills} kills, {left} left", flush=True)
        if status := _round(kills, seed):
            print(f"failed; again: WARREN_KILLS={kills} WARREN_SEED={seed} just test -k killed")
            return status
        left -= kills
        seed += 1
    return 0


def _chaos(minutes: float, seed: int) -> int:
    script = ROOT / "tests" / "survival" / "chaos.py"
    command = [sys.executable, str(script), "--minutes", str(minutes), "--seed", str(seed)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _round(kills: int, seed: int) -> int:
    """One run of the tests; gives its status."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/survival", "-k", "killed"]
    env = {**os.environ, "WARREN_KILLS": str(kills), "WARREN_SEED": str(seed)}
    try:
        return subprocess.run(command, cwd=ROOT, env=env, check=False, timeout=PATIENCE).returncode
    except subprocess.TimeoutExpired:
        print(f"out of time: {PATIENCE:.0f} s for a round")
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
