"""`warren up`: its options, and who tells of it. The rest is loaded when it is called."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from warren.cli.logs import CallHandler, LogLevel, set_up_logging
from warren.model.service import ServiceSpec

if TYPE_CHECKING:
    from warren.cli.reporter import Reporter

GC_THRESHOLDS = (50_000, 10, 10)
_AT_LEAST_ONE = Number(gte=1)


def up(
    file: Path = Path("warren.yaml"),
    /,
    *,
    data_dir: Annotated[Path | None, Parameter(env_var="WARREN_DATA_DIR")] = None,
    plain: Annotated[bool, Parameter(name=["--plain", "--no-table"], negative=())] = False,
    json_log: Annotated[bool, Parameter(negative=())] = False,
    log_level: LogLevel = "warning",
    network_checks: Annotated[int, Parameter(validator=_AT_LEAST_ONE)] = 256,
    exec_checks: Annotated[int | None, Parameter(validator=_AT_LEAST_ONE)] = None,
) -> int:
    """Run the services of a file until Ctrl-C, which stops them; a second one kills them.

    Ends by itself when every service has ended for good: with 0 if all are complete, else 1.

    Parameters
    ----------
    file
        The service file.
    data_dir
        Where to keep what the next start needs to go on with running tasks
        [default: /var/lib/warren for root, else ~/.local/share/warren].
    plain
        Lines instead of a table, also on a terminal.
    json_log
        One JSON object per transition, and per log record on standard error.
    log_level
        How much of Warren's own log to show on standard error.
    network_checks
        HTTP and TCP checks that may be in flight at once.
    exec_checks
        Exec checks that may be in flight at once [default: two per core].
    """
    from warren.model.specfile import load_file
    from warren.rules.admission import admit

    specs = load_file(file)
    for spec in specs:
        admit(spec)
    _fill_standard_streams()
    as_table = not (plain or json_log) and _is_terminal()
    return _run(
        specs,
        _reporter(specs, log_level, as_table=as_table, as_json=json_log),
        data_dir,
        network_checks,
        exec_checks,
    )


def _run(
    specs: Sequence[ServiceSpec],
    reporter: Reporter,
    data_dir: Path | None,
    network_checks: int,
    exec_checks: int | None,
) -> int:
    import trio

    from warren.cli.compose import default_data_dir, open_supervisor, unwrapped
    from warren.cli.session import Session

    supervision = open_supervisor(
        data_dir=data_dir or default_data_dir(),
        publish=reporter.note,
        network_checks=network_checks,
        exec_checks=exec_checks,
    )
    # At its default thresholds the cyclic collector walks every task again and again while they
    # start: two thirds of the start of 10,000, and pauses of 50 ms. A library may not set this.
    gc.set_threshold(*GC_THRESHOLDS)
    with unwrapped():
        return trio.run(Session(specs, reporter).run, supervision)


def _reporter(
    specs: Sequence[ServiceSpec], level: LogLevel, *, as_table: bool, as_json: bool
) -> Reporter:
    from warren.cli.outlet import Outlet
    from warren.cli.reporter import LineReporter

    outlet = Outlet(1)
    if not as_table:
        set_up_logging(level, as_json=as_json, handler=logging.StreamHandler(sys.stderr))
        return LineReporter(specs, outlet, as_json=as_json)
    from warren.cli.screen import Screen

    screen = Screen(specs, outlet)
    shares = os.isatty(2)  # lines of others would tear the table
    handler = CallHandler(screen.say) if shares else logging.StreamHandler(sys.stderr)
    set_up_logging(level, as_json=False, handler=handler)
    return screen


def _is_terminal() -> bool:
    return os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"


def _fill_standard_streams() -> None:
    """Else a file opened next, the journal say, would get the number of a closed stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
