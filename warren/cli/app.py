"""The command tree, and how its errors look: one line, and an exit status.

0 done, 1 failed, 2 not understood or refused as invalid, 3 not found, 4 no manager to be reached;
5, that a check could not run, is `check.py`'s own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError

from warren import __version__
from warren.cli.options import command_line
from warren.model.errors import (
    InvalidError,
    LinkLostError,
    NotFoundError,
    SpecError,
    WarrenError,
)

FAILED = 1
MISUSED = 2
NOT_FOUND = 3
UNREACHABLE = 4
STATUSES = {
    SpecError: MISUSED,
    InvalidError: MISUSED,
    NotFoundError: NOT_FOUND,
    LinkLostError: UNREACHABLE,
}

# What `--help` of a command says below its first line. It stands here, since a command's own module
# is not loaded for the list of commands, and one text is enough.
_UP = (
    "A first Ctrl-C stops every task, a second one kills them. With a file its services are made "
    "to match it, and services of the last file that are no longer in it are removed; services "
    "created by command stay. It then exits by itself when every service has ended for good or was "
    "removed: with 0 if all that remain are complete, else 1; one of 0 replicas has not ended. The "
    "next `up` runs ended jobs of the file again, unless it follows a kill -9."
)
_MANAGER = "It listens at DATA_DIR/warren.sock. Tasks go on without it."
_NODE = "Its tasks go on when it stops, and the next one on the same data directory adopts them."
_CREATE = (
    "Runs a command in --replicas copies, under the given probes: --health-* alone, or any "
    "of --startup-*, --liveness-* and --readiness-*. In PATH:PORT the port follows the last "
    "colon. In path=/,port=80 a comma ends a value where a word and = follow; \\, is a comma that "
    "does not. A check without a port asks the only --port."
)
_PS = (
    "RESTARTS are those of the task; `5 (12 in the slot)`: and of the tasks before it in its slot. "
    "`outdated` is a task of an older spec, which will be replaced."
)
_UPDATE = (
    "Removals come first. A probe's numbers and its check can be changed without each other. "
    "Tasks are replaced one slot at a time, the next when the last is ready."
)
_APPLY = (
    "All in one transaction; applying the same file again changes nothing. Services that are not "
    "in the file stay, unless --prune is given."
)
_STATUS = (
    "Checks that the manager answers, its disk can be written and its nodes are ready. Exit "
    "status: 0 it is well, 1 there is trouble, 4 the manager cannot be reached."
)
_DB_CHECK = "Nothing is changed. Exit status: 0 it is well, 1 it is not."

app = App(
    name="warren",
    help="Keep services alive: probes, restarts, and nothing left behind.",
    version=f"warren {__version__}",
    version_flags=["--version"],
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # `main` has the status
)
app.command(
    "warren.cli.commands.up:up",
    name="up",
    help=f"Manager and node in one process, until Ctrl-C.\n\n{_UP}",
)
app.command(
    "warren.cli.commands.check:app",
    name="check",
    help="Run one check by hand, as a probe would run it.",
)


def _group(name: str, said: str, commands: dict[str, tuple[str, str]]) -> None:
    """A group of commands, each loaded when it is called."""
    group = App(name=name, help=said, help_format="plaintext")
    for command, (place, help_) in commands.items():
        group.command(f"warren.cli.commands.{place}", name=command, help=help_)
    app.command(group)


_group(
    "service",
    "Create, inspect and change services.",
    {
        "create": ("service:create", f"Create a service.\n\n{_CREATE}"),
        "ls": ("show:service_ls", "List services with their health."),
        "inspect": ("show:service_inspect", "One service: its probes, its health, and its tasks."),
        "ps": ("show:service_ps", f"The tasks of a service.\n\n{_PS}"),
        "scale": ("service:scale", "Change the number of replicas."),
        "update": (
            "service:update",
            f"Change the given fields of a service, and nothing else.\n\n{_UPDATE}",
        ),
        "restart": ("service:restart", "Replace every task, one slot at a time."),
        "logs": ("logs:service_logs", "The output of a service's tasks."),
        "rm": ("service:rm", "Remove services and everything that belongs to them."),
    },
)
app.command(
    "warren.cli.commands.apply:apply",
    name="apply",
    help=f"Make services match a file.\n\n{_APPLY}",
)
_group(
    "task",
    "Inspect tasks.",
    {
        "ls": ("show:task_ls", "List the tasks of every service."),
        "inspect": ("show:task_inspect", "One task, with the last outcomes of its probes."),
        "logs": ("logs:task_logs", "The output of a task's slot."),
    },
)
_group(
    "node",
    "Inspect nodes, or run this machine as one.",
    {
        "run": ("run:run_node", f"Run this machine as a node.\n\n{_NODE}"),
        "ls": ("show:node_ls", "List nodes."),
        "inspect": ("show:node_inspect", "One node, and the tasks that are placed on it."),
        "rm": ("node:rm", "Forget a node that is down; its tasks are replaced elsewhere."),
    },
)
app.command(
    "warren.cli.commands.events:events",
    name="events",
    help="Show past events, and follow new ones.",
)
app.command(
    "warren.cli.commands.show:status",
    name="status",
    help=f"Show whether Warren itself is well.\n\n{_STATUS}",
)
_group(
    "manager",
    "Run the manager by itself.",
    {"run": ("run:run", f"Run the manager until it is stopped.\n\n{_MANAGER}")},
)
_group(
    "db",
    "Maintain the manager's database.",
    {
        "check": ("db:check", f"Report what is wrong with it.\n\n{_DB_CHECK}"),
        "mend": ("db:mend", "Drop what no manager can read; no manager may be running."),
        "backup": ("db:backup", "Back it up, also while the manager runs."),
        "restore": ("db:restore", "Replace it with a backup."),
    },
)


def run(arguments: Sequence[str]) -> int:
    """Run what the arguments say; returns the exit status."""
    if sys.platform != "linux":
        return _refuse(f"Warren runs on Linux; this is {sys.platform}", FAILED)
    _fill_standard_streams()
    command_line.note(arguments)
    try:
        _refuse_bytes(arguments)
        status = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        from warren.cli import misuse

        return _refuse(misuse.told(error, arguments), MISUSED)
    except WarrenError as error:
        return _refuse(str(error), _status(error))
    except BrokenPipeError:
        return _end_quietly()
    except OSError as error:
        return _refuse(f"{error.filename or 'output'}: {error.strerror or error}", FAILED)
    return status if isinstance(status, int) else 0


def _refuse_bytes(arguments: Sequence[str]) -> None:
    """Bytes that are not text can be neither stored nor sent, nor name a database."""
    named = {name: os.environ.get(name, "") for name in ("WARREN_ADDR", "WARREN_DATA_DIR")}
    for place, text in [*(("argument", word) for word in arguments), *named.items()]:
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise SpecError(place, "want UTF-8 text", value=text)


def _fill_standard_streams() -> None:
    """Otherwise the next file opened, a socket or the journal, would get the number of a closed
    stream, and output would be written to it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for good


def _status(error: WarrenError) -> int:
    return next((code for kind, code in STATUSES.items() if isinstance(error, kind)), FAILED)


def _refuse(said: str, status: int) -> int:
    print(f"warren: {' '.join(said.split())}", file=sys.stderr)  # noqa: T201 - to a person
    return status


def _end_quietly() -> int:
    """The reader of standard output has gone: report no error now, nor when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
