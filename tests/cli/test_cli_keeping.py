"""What a running program's data directory needs is done beside everything else."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.processes import wait_until
from warren.model.check import Argv
from warren.model.duration import Duration
from warren.model.service import Restart, ServiceSpec
from warren.store import wal
from warren.wiring import data_dir_watch
from warren.wiring.supervisor import open_supervisor


async def test_journal_stays_short_while_a_service_is_started_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_dir_watch, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(wal, "LONG", 1 << 17)
    sizes = [0]
    restart = Restart(max_attempts=1000, delay=Duration(0), max_delay=Duration(0))
    spec = ServiceSpec(name="brief", command=Argv(("true",)), restart=restart)

    def has_shrunk_twice() -> bool:
        size = (tmp_path / "journal.sqlite-wal").stat().st_size
        if size != sizes[-1]:
            sizes.append(size)
        return sum(after < before for before, after in itertools.pairwise(sizes)) >= 2

    async with open_supervisor(data_dir=tmp_path) as supervisor:
        service = await supervisor.start(spec)
        await wait_until(has_shrunk_twice)
        assert service.statuses()[0].restarts > 1
    assert max(sizes) < 1 << 20
