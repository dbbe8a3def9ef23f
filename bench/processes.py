"""A supervisor of real processes in this one, for what is measured on them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from warren.resilience.collector import spread_collections
from warren.wiring.parts import Publish
from warren.wiring.supervisor import Supervisor, open_supervisor


@asynccontextmanager
async def supervising(directory: Path, publish: Publish) -> AsyncGenerator[Supervisor]:
    """As the programs have it, with journal and logs in the directory; `publish` is told of all
    that happens."""
    with spread_collections():
        async with open_supervisor(data_dir=directory, publish=publish) as supervisor:
            yield supervisor
