"""A supervisor of real processes in this one, for what is measured on them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import trio

from warren.checks import run_check
from warren.checks.caps import Caps
from warren.node.supervisor import Supervisor, open_supervision
from warren.nursery.surroundings import Publish, Surroundings
from warren.runtime.ports import PortAllocator
from warren.runtime.process import ProcessRuntime
from warren.store.journal import SqliteJournal


@asynccontextmanager
async def supervising(
    directory: Path, publish: Publish, *, soft_limit: int | None = None
) -> AsyncGenerator[Supervisor]:
    """With journal and logs in the directory; `publish` is told of all that happens."""
    runtime = ProcessRuntime(data_dir=directory, node="bench", soft_limit=soft_limit)
    with closing(SqliteJournal(directory / "journal.db")) as journal:
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            around = Surroundings(
                node="bench",
                runtime=runtime,
                check=Caps(run_check),
                ports=PortAllocator(salt=runtime.token),
                journal=journal,
                publish=publish,
                inherited=os.environ,
            )
            async with open_supervision(around) as supervisor:
                yield supervisor
            nursery.cancel_scope.cancel()
