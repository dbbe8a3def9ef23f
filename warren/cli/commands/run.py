"""`warren manager run` and `warren node run`: the two programs, each in a process of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from warren.cli.logging_setup import LogLevel, set_up_logging
from warren.wiring.data_dir import default_data_dir, given_data_dir

if TYPE_CHECKING:
    from warren.model.address import Address

AT_LEAST_ONE = Number(gte=1)
DataDir = Annotated[
    Path | None, Parameter(env_var="WARREN_DATA_DIR", metavar="DIR", converter=given_data_dir)
]
Listen = Annotated[list[str] | None, Parameter(negative=())]
Engine = Annotated[
    list[str] | None, Parameter(env_var="WARREN_ENGINE", negative=(), metavar="SOCKET")
]
Flag = Parameter(negative=())


def run(
    *,
    data_dir: DataDir = None,
    listen: Listen = None,
    insecure: Annotated[bool, Flag] = False,
    log_level: LogLevel = "info",
    json_log: Annotated[bool, Flag] = False,
) -> int:
    """Run the manager until it is stopped. Tasks go on without it.

    It listens at DATA_DIR/warren.sock.

    Parameters
    ----------
    data_dir
        The directory that holds its state
        [default: /var/lib/warren for root, else ~/.local/share/warren].
    listen
        A further address, tcp:HOST:PORT or unix:PATH, may be repeated.
    insecure
        Allow tcp, on loopback only: any client that can connect may start processes.
    log_level
        How much of its log to show on standard error.
    json_log
        One JSON object per log record.
    """
    from warren.process.defaults import settle

    directory, addresses = places(data_dir, listen, insecure=insecure)
    settle()
    _log_to_stderr(log_level, as_json=json_log)

    async def program(stopped: Callable[[], Awaitable[None]]) -> None:
        from warren.wiring.programs import open_manager_program

        async with open_manager_program(directory, addresses, insecure=insecure):
            await stopped()

    return until_stopped(program)


def run_node(
    *,
    manager: Annotated[str | None, Parameter(env_var="WARREN_ADDR")] = None,
    data_dir: DataDir = None,
    name: str | None = None,
    stop_tasks: Annotated[bool, Flag] = False,
    network_checks: Annotated[int, Parameter(validator=AT_LEAST_ONE)] = 256,
    exec_checks: Annotated[int | None, Parameter(validator=AT_LEAST_ONE)] = None,
    label: Annotated[list[str] | None, Parameter(negative=(), metavar="NAME=VALUE")] = None,
    address: str | None = None,
    engine: Engine = None,
    new_manager: Annotated[bool, Flag] = False,
    log_level: LogLevel = "info",
    json_log: Annotated[bool, Flag] = False,
) -> int:
    """Run this machine as a node until it is stopped. It leaves its tasks running.

    The next `node run` on the same data directory adopts them.

    Parameters
    ----------
    manager
        unix:PATH or tcp:HOST:PORT [default: DATA_DIR/warren.sock].
    data_dir
        The directory that holds what the next start needs
        [default: /var/lib/warren for root, else ~/.local/share/warren].
    name
        The node's name [default: the machine's].
    stop_tasks
        Stop the tasks before it ends.
    network_checks
        HTTP and TCP checks that may be in flight at once.
    exec_checks
        Exec checks that may be in flight at once [default: two per core].
    label
        A label of the node, shown by `node ls` and `node inspect`, may be repeated.
    address
        The IP address at which others reach this node [default: the one it comes from, where it
        connects by TCP].
    engine
        A container engine: unix:PATH, or none; may be repeated, as docker=unix:PATH and
        podman=unix:PATH [default: DOCKER_HOST, and the usual sockets of Docker and Podman].
    new_manager
        Belong to the next manager reached: accept its tasks, and end those here that are not
        its own. Needed once, where the manager this node belonged to is gone for good.
    log_level
        How much of its log to show on standard error.
    json_log
        One JSON object per log record.
    """
    from warren.engine.places import parse_engines
    from warren.model.address import parse_address
    from warren.model.node_description import parse_labels
    from warren.process.defaults import settle
    from warren.wiring.node_name import node_name

    directory, (here, *_) = places(data_dir, None, insecure=False)
    gate = parse_address(manager, field="--manager") if manager else here
    labels = parse_labels("--label", label or ())
    reached_at = _ip_address(address)
    engines = parse_engines(engine or ())
    node = node_name(name)
    soft_limit = settle()
    _log_to_stderr(log_level, as_json=json_log)

    async def program(stopped: Callable[[], Awaitable[None]]) -> None:
        from warren.wiring.parts import NodeOptions
        from warren.wiring.programs import open_node_program

        options = NodeOptions(
            node=node,
            network_checks=network_checks,
            exec_checks=exec_checks,
            new_manager=new_manager,
            soft_limit=soft_limit,
            labels=labels,
            address=reached_at,
            engines=engines,
        )
        async with open_node_program(directory, gate, options, stops_tasks=stop_tasks):
            await stopped()

    return until_stopped(program)


def places(
    data_dir: Path | None, listen: list[str] | None, *, insecure: bool
) -> tuple[Path, list[Address]]:
    """The data directory, and where a manager listens: its own socket first."""
    from warren.cli.options.common import SOCKET
    from warren.model.address import TcpAddress, parse_address
    from warren.model.errors import SpecError

    directory = data_dir or default_data_dir()
    further = [parse_address(one, field="--listen") for one in listen or []]
    for address in further:
        if isinstance(address, TcpAddress) and not insecure:
            wanted = "want --insecure beside it: any client of TCP may start processes"
            raise SpecError("--listen", wanted, value=str(address))
    return directory, [parse_address(f"unix:{directory / SOCKET}"), *further]


def _ip_address(given: str | None) -> str:
    """An address as it was given; empty where none was. Raises SpecError."""
    from warren.model.check import is_address
    from warren.model.errors import SpecError

    if given is not None and not is_address(given):
        raise SpecError("--address", "want an IP address such as 10.0.0.7", value=given)
    return given or ""


def until_stopped(program: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> int:
    """Run a program until INT, TERM or HUP; a second INT or TERM kills it. Returns the status."""
    import trio

    from warren.cli.signals import Stopping
    from warren.resilience.collector import spread_collections
    from warren.resilience.exception_groups import unwrapped

    with unwrapped(), spread_collections():
        return trio.run(Stopping().run, program)


def _log_to_stderr(level: LogLevel, *, as_json: bool) -> None:
    set_up_logging(level, as_json=as_json, handler=logging.StreamHandler(sys.stderr))
