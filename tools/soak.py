"""Kills managers under load for longer than CI does, 200 times; and `node run` and `up`, 50 each.

    python tools/soak.py [--kills 200] [--seed N] [--minutes 30]

Rounds of twenty kills, each with a seed of its own; a round that fails says its seed and ends it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUND = 20  # kills


def main() -> int:
    asked = _arguments()
    deadline = time.monotonic() + 60 * asked.minutes
    left, seed = asked.kills, asked.seed
    while left > 0:
        patience = deadline - time.monotonic()
        if patience <= 0:
            print(f"out of time: {asked.kills - left} of {asked.kills} kills done, all well")
            return 1
        kills = min(left, ROUND)
        print(f"seed {seed}: {kills} kills, {left} left", flush=True)
        if status := _round(kills, seed, patience):
            print(f"failed; again: WARREN_KILLS={kills} WARREN_SEED={seed} just test -k killed")
            return status
        left -= kills
        seed += 1
    return 0


def _round(kills: int, seed: int, patience: float) -> int:
    """One run of the tests; gives its status."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/survival", "-k", "killed"]
    env = {**os.environ, "WARREN_KILLS": str(kills), "WARREN_SEED": str(seed)}
    try:
        return subprocess.run(command, cwd=ROOT, env=env, check=False, timeout=patience).returncode
    except subprocess.TimeoutExpired:
        print("out of time within a round")
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--minutes", type=float, default=30.0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
