"""The command's words, and what its errors look like: one line, and an exit status.

0 done, 1 failed, 2 not understood; `warren check` has more, see `check.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from warren import __version__
from warren.model.errors import SpecError, WarrenError

FAILED = 1
MISUSED = 2

app = App(
    name="warren",
    help="Keep services alive: probes, restarts, and nothing left behind.",
    version=f"warren {__version__}",
    help_format="plaintext",
)
app.command("warren.cli.up:up", name="up", help="Run the services of a file until Ctrl-C.")
app.command(
    "warren.cli.check:app", name="check", help="Ask one check by hand, as a probe would ask it."
)


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; gives the exit status."""
    if sys.platform != "linux":
        return _refuse(f"Warren runs on Linux; this is {sys.platform}", FAILED)
    try:
        status = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        return _refuse(str(error), MISUSED)
    except SpecError as error:
        return _refuse(str(error), MISUSED)
    except WarrenError as error:
        return _refuse(str(error), FAILED)
    return status if isinstance(status, int) else 0


def _refuse(said: str, status: int) -> int:
    print(f"warren: {' '.join(said.split())}", file=sys.stderr)  # noqa: T201 - to a person
    return status
