"""`warren up`: its options, and its reporter. The rest is loaded when it is called."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.commands.run import AT_LEAST_ONE, DataDir, Engine, Listen, places
from warren.cli.logging_setup import CallHandler, LogLevel, set_up_logging
from warren.cli.options.common import SERVICE_FILE
from warren.model.service import ServiceSpec

if TYPE_CHECKING:
    from warren.cli.live.reporter import Reporter
    from warren.wiring.up import UpOptions


def up(
    file: Path | None = None,
    /,
    *,
    data_dir: DataDir = None,
    name: str | None = None,
    listen: Listen = None,
    insecure: Annotated[bool, Parameter(negative=())] = False,
    plain: Annotated[bool, Parameter(name=["--plain", "--no-table"], negative=())] = False,
    json_log: Annotated[bool, Parameter(negative=())] = False,
    log_level: LogLevel = "warning",
    network_checks: Annotated[int, Parameter(validator=AT_LEAST_ONE)] = 256,
    exec_checks: Annotated[int | None, Parameter(validator=AT_LEAST_ONE)] = None,
    engine: Engine = None,
    new_manager: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run manager and node in one process until Ctrl-C, which stops every task; a second kills.

    With a file its services are made to match it; those of the last file that are no longer in it
    are removed, and services created by command stay. It then exits by itself when every service
    has ended for good or was removed: with 0 if all that remain are complete, else 1.

    Parameters
    ----------
    file
        The service file [default: warren.yaml, where there is one].
    data_dir
        The directory that holds the state, and what the next start needs to adopt running tasks
        [default: /var/lib/warren for root, else ~/.local/share/warren].
    name
        The node's name [default: the machine's].
    listen
        A further address besides DATA_DIR/warren.sock: tcp:HOST:PORT or unix:PATH, may be
        repeated.
    insecure
        Allow tcp, on loopback only: any client that can connect may start processes.
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
    engine
        A container engine: unix:PATH, or none; may be repeated, as docker=unix:PATH and
        podman=unix:PATH [default: DOCKER_HOST, and the usual sockets of Docker and Podman].
    new_manager
        Begin anew where the manager's state was lost: tasks here that are not in the new one are
        ended.
    """
    specs = _specs(file)
    from warren.wiring.node_name import node_name

    node = node_name(name)
    directory, addresses = places(data_dir, listen, insecure=insecure)
    from warren.engine.places import parse_engines
    from warren.process.defaults import settle
    from warren.wiring.parts import NodeOptions
    from warren.wiring.up import UpOptions

    options = UpOptions(
        data_dir=directory,
        node=NodeOptions(
            node=node,
            network_checks=network_checks,
            exec_checks=exec_checks,
            new_manager=new_manager,
            soft_limit=settle(),
            engines=parse_engines(engine or ()),
        ),
        addresses=addresses,
        insecure=insecure,
        specs=specs,
    )
    as_table = not (plain or json_log) and _is_terminal()
    return _run(options, _reporter(log_level, as_table=as_table, as_json=json_log))


def _specs(file: Path | None) -> Sequence[ServiceSpec] | None:
    """The services of the file, refused here and not by the manager; None where there is none."""
    if file is None and not SERVICE_FILE.exists():
        return None
    from warren.manifest.service_file import load_file
    from warren.rules.admission import admit

    return load_file(file or SERVICE_FILE, admit=admit)


def _run(options: UpOptions, reporter: Reporter) -> int:
    import trio

    from warren.cli.live.up_session import UpSession
    from warren.resilience.collector import spread_collections
    from warren.resilience.exception_groups import unwrapped

    # At its default thresholds the cyclic collector walks every task again and again while they
    # start: two thirds of the start of 10,000, and pauses of 50 ms. A library may not set this.
    with unwrapped(), spread_collections():
        return trio.run(UpSession(options, reporter).run)


def _reporter(level: LogLevel, *, as_table: bool, as_json: bool) -> Reporter:
    from warren.cli.live.reporter import LineReporter
    from warren.cli.output_queue import Outlet

    outlet = Outlet(1)
    if not as_table:
        set_up_logging(level, as_json=as_json, handler=logging.StreamHandler(sys.stderr))
        return LineReporter(outlet, as_json=as_json)
    from warren.cli.live.screen import Screen

    screen = Screen(outlet)
    shares = os.isatty(2)  # lines of others would tear the table
    handler = CallHandler(screen.say) if shares else logging.StreamHandler(sys.stderr)
    set_up_logging(level, as_json=False, handler=handler)
    return screen


def _is_terminal() -> bool:
    return os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"
