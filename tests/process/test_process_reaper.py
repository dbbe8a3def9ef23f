"""Orphans are reaped, an embedder's own children never (S23)."""

from __future__ import annotations

import subprocess

import pytest
import trio

from tests.processes import wait_until, zombies
from warren.process.reaper import Reaper


def child(*argv: str, own_session: bool = False) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, start_new_session=own_session)


@pytest.mark.parametrize("own_session", [False, True])
async def test_embedders_children_are_left_to_it(own_session: bool) -> None:
    reaper = Reaper()
    reaper.prepare()
    with child("sh", "-c", "exit 5", own_session=own_session) as process:
        await wait_until(lambda: process.pid in zombies())
        reaper.reap_strays()
        await trio.lowlevel.checkpoint()
        assert process.wait() == 5


async def test_orphans_behind_an_embedders_zombie_are_reaped() -> None:
    reaper = Reaper()
    reaper.prepare()
    before = zombies()
    with child("sh", "-c", "exit 5") as embedded:
        await wait_until(lambda: embedded.pid in zombies())
        script = "for i in 1 2 3; do (sh -c 'exit 0' &) ; done"
        with child("sh", "-c", script, own_session=True) as parent:
            pass
        assert parent.returncode == 0
        await wait_until(lambda: reaper.reap_strays() or zombies() <= {embedded.pid, *before})
        await wait_until(lambda: reaper.reap_strays() == 0 and zombies() <= {embedded.pid, *before})
        assert embedded.wait() == 5


async def test_running_processes_of_trio_are_not_disturbed() -> None:
    reaper = Reaper()
    reaper.prepare()
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, ["sleep", "0.02"])
        while process.returncode is None:
            reaper.reap_strays()
            await trio.lowlevel.checkpoint()
    assert process.returncode == 0
