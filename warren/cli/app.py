"""The command's words, and what its errors look like: one line, and an exit status.

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
from warren.cli import given
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
    "so, and those of the last file that it no longer has are removed; what was created by command "
    "stays. It then ends by itself when every service has ended for good or was removed: with 0 if "
    "all that are left are complete, else 1; one of 0 replicas has not ended. Jobs of the file "
    "that have ended are run again by the next one, but for one that follows a kill -9."
)
_MANAGER = "It listens at DATA_DIR/warren.sock. Tasks go on without it."
_NODE = "Its tasks go on when it stops, and the next one on the same data directory adopts them."
_CREATE = (
    "A command, as often as --replicas says, under the probes asked for: --health-* alone, or any "
    "of --startup-*, --liveness-* and --readiness-*. In PATH:PORT the port follows the last "
    "colon. In path=/,port=80 a comma ends a value where a word and = follow; \\, is a comma that "
    "does not. A check without a port asks the only --port."
)
_PS = (
    "RESTARTS are those of the task; `5 (12 in the slot)`: and of the tasks before it in its slot. "
    "`outdated` is a task of an older spec, which will be replaced."
)
_UPDATE = (
    "What is removed goes first. Numbers of a probe keep its check, and a check keeps the numbers. "
    "Tasks are replaced one slot at a time, the next when the last is ready."
)
_APPLY = (
    "All in one step; the same file again changes nothing. Services that the file does not have "
    "stay, unless there is --prune."
)
_STATUS = (
    "The manager answers, its disk can be written, its nodes are ready. Exit status: 0 it is well, "
    "1 there is trouble, 4 the manager cannot be reached."
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
    "warren.cli.up:up", name="up", help=f"Manager and node in one process, until Ctrl-C.\n\n{_UP}"
)
app.command(
    "warren.cli.check:app", name="check", help="Ask one check by hand, as a probe would ask it."
)


def _group(name: str, said: str, commands: dict[str, tuple[str, str]]) -> None:
    """A group of commands, each loaded when it is called."""
    group = App(name=name, help=said, help_format="plaintext")
    for command, (place, help_) in commands.items():
        group.command(f"warren.cli.{place}", name=command, help=help_)
    app.command(group)


_group(
    "service",
    "Make, look at and change services.",
    {
        "create": ("edit:create", f"Make a service.\n\n{_CREATE}"),
        "ls": ("look:service_ls", "Every service, and how healthy it is."),
        "inspect": ("look:service_inspect", "One service: its probes, its health, and its tasks."),
        "ps": ("look:service_ps", f"The tasks of a service.\n\n{_PS}"),
        "scale": ("edit:scale", "Change how many there are."),
        "update": (
            "edit:update",
            f"Change what is given of a service, and nothing else.\n\n{_UPDATE}",
        ),
        "restart": ("edit:restart", "Replace every task, one slot at a time."),
        "logs": ("output:service_logs", "The output of a service's tasks."),
        "rm": ("edit:rm", "End services and everything of them."),
    },
)
app.command(
    "warren.cli.applying:apply", name="apply", help=f"Make the services of a file so.\n\n{_APPLY}"
)
_group(
    "task",
    "Look at tasks.",
    {
        "ls": ("look:task_ls", "The tasks of every service."),
        "inspect": ("look:task_inspect", "One task, with the last outcomes of its probes."),
        "logs": ("output:task_logs", "The output of a task's slot."),
    },
)
_group(
    "node",
    "Nodes, and this machine as one.",
    {
        "run": ("programs:run_node", f"Run this machine as a node.\n\n{_NODE}"),
        "ls": ("look:node_ls", "Every node."),
        "inspect": ("look:node_inspect", "One node, and the tasks that are placed on it."),
        "rm": ("nodes:rm", "Forget a node that is down; its tasks are replaced elsewhere."),
    },
)
app.command("warren.cli.events:events", name="events", help="What happened, and what happens.")
app.command(
    "warren.cli.look:status", name="status", help=f"Whether Warren itself is well.\n\n{_STATUS}"
)
_group(
    "manager",
    "The manager, by itself.",
    {"run": ("programs:run", f"Run the manager until it is told to stop.\n\n{_MANAGER}")},
)
_group(
    "db",
    "Care for the manager's database.",
    {
        "check": ("db:check", f"Say what is wrong with it.\n\n{_DB_CHECK}"),
        "mend": ("db:mend", "Forget what no manager can read; no manager may be running."),
        "backup": ("db:backup", "Copy it, beside a running manager."),
        "restore": ("db:restore", "Put a backup in its place."),
    },
)


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; gives the exit status."""
    if sys.platform != "linux":
        return _refuse(f"Warren runs on Linux; this is {sys.platform}", FAILED)
    _fill_standard_streams()
    given.note(arguments)
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
    """What is no text can be neither kept nor sent, nor be the name of a database."""
    named = {name: os.environ.get(name, "") for name in ("WARREN_ADDR", "WARREN_DATA_DIR")}
    for place, text in [*(("argument", word) for word in arguments), *named.items()]:
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise SpecError(place, "want UTF-8 text", value=text)


def _fill_standard_streams() -> None:
    """Else what is opened next, a socket or the journal, would get the number of a closed stream
    and be what is printed to."""
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
    """Whoever read standard output has had enough: no complaint now, nor when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
