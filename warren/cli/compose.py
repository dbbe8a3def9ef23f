"""The composition root: which concrete things a supervisor stands on. Nowhere else is chosen."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from warren.checks import Caps, Checker
from warren.cli.datadir import PlatformError
from warren.cli.datadir import default_data_dir as default_data_dir
from warren.model.task import TaskEvent, TaskStatus
from warren.node.supervisor import Supervisor, open_supervision
from warren.nursery.surroundings import Surroundings
from warren.runtime.ports import PortAllocator
from warren.runtime.process import ProcessRuntime
from warren.store.journal import SqliteJournal
from warren.store.lock import locked

if TYPE_CHECKING:
    import httpx

NETWORK_CHECKS = 256  # in flight at once on a node (S10)
JOURNAL = "journal.sqlite"


@asynccontextmanager
async def open_supervisor(
    *,
    data_dir: Path | None = None,
    node: str = "local",
    publish: Callable[[TaskStatus, TaskEvent], None] | None = None,
    network_checks: int = NETWORK_CHECKS,
    exec_checks: int | None = None,
    http_transport: httpx.AsyncBaseTransport | None = None,
    samples_kept: int = 20,
) -> AsyncGenerator[Supervisor, None]:
    """A supervisor of processes on this machine; leaving the block stops every task, gently.

    `data_dir` keeps what the next supervisor needs to go on with the tasks after a `kill -9`;
    None is a temporary directory, removed at the end. `publish` is called on every transition,
    must be quick and must not raise. `network_checks` and `exec_checks` are how many attempts
    may be in flight at once; None is two per core. Raises WarrenError where it cannot open, and
    what the block raises, by itself and not in a group.
    """
    if sys.platform != "linux":
        raise PlatformError(f"Warren runs on Linux; this is {sys.platform}")
    with (
        unwrapped(),
        _directory(data_dir) as directory,
        locked(directory),
        closing(SqliteJournal(directory / JOURNAL)) as journal,
    ):
        runtime = ProcessRuntime(data_dir=directory, node=node)
        checker = Checker(transport=http_transport)
        around = Surroundings(
            node=node,
            runtime=runtime,
            check=Caps(checker, network=network_checks, exec=exec_checks),
            ports=PortAllocator(salt=runtime.token),
            journal=journal,
            publish=publish or _publish_to_nobody,
            inherited=dict(os.environ),
            samples_kept=samples_kept,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            async with open_supervision(around) as supervisor:
                yield supervisor
            nursery.cancel_scope.cancel()


def _publish_to_nobody(status: TaskStatus, event: TaskEvent) -> None:
    pass


@contextmanager
def _directory(chosen: Path | None) -> Generator[Path, None, None]:
    if chosen is not None:
        yield chosen.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="warren-") as made:
        yield Path(made)


@contextmanager
def unwrapped() -> Generator[None, None, None]:
    """Nurseries put what a block raises into groups, though most often it is one error."""
    try:
        yield
    except BaseExceptionGroup as group:
        only = _only(group)
        if only is None:
            raise
        raise only from only.__cause__


def _only(error: BaseException) -> BaseException | None:
    """What a group of one, of one ... holds at last."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    inner = group.exceptions
    return _only(inner[0]) if len(inner) == 1 else None
