"""The command `warren`.

Nothing is imported before it is needed: users wait for `--version` and `--help`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from warren import __version__

INTERRUPTED = 130  # as a shell has it: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        print(f"warren {__version__}")  # noqa: T201 - what was asked for
        return 0
    try:
        from warren.cli.app import run

        return run(given)
    except KeyboardInterrupt:
        return INTERRUPTED
