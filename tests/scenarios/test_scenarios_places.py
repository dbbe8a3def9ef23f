"""Real checks that hang, and a service that listens on IPv6 alone."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
import trio
from test_scenarios_servers import PATIENCE, service

from warren import open_supervisor
from warren.model.probe import ProbeKind
from warren.wiring.supervisor import Supervisor

QUICK = 10  # attempts


async def times(supervisor: Supervisor, name: str) -> list[float]:
    found = [
        (await supervisor.cluster.task(status.id)).samples.get(ProbeKind.LIVENESS, ())
        for status in supervisor.services[name].statuses()
    ]
    return [sample.at for samples in found for sample in samples]


async def test_hung_exec_checks_of_one_service_do_not_starve_anothers(tmp_path: Path) -> None:
    hung = {"exec": {"command": ["sleep", "1000"]}, "interval": "1s", "timeout": "10s"}
    quick = {"exec": {"command": ["true"]}, "interval": "200ms", "timeout": "10s"}
    async with open_supervisor(data_dir=tmp_path / "data", exec_checks=4) as supervisor:
        await supervisor.start(service("quick", command=["sleep", "1000"], liveness=quick))
        with trio.fail_after(PATIENCE):
            while not await times(supervisor, "quick"):  # noqa: ASYNC110
                await trio.sleep(0.05)  # outcomes wake nobody: only transitions do
            await supervisor.start(
                service("hung", command=["sleep", "1000"], replicas=8, liveness=hung)
            )
            before = len(await times(supervisor, "quick"))
            while len(await times(supervisor, "quick")) < before + QUICK:  # noqa: ASYNC110
                await trio.sleep(0.05)
        seen = await times(supervisor, "quick")
        assert not await times(supervisor, "hung")  # none is over yet: all this while they hang
    assert max(after - before for before, after in itertools.pairwise(seen)) < 5  # S10


@pytest.mark.parametrize("probe", [{"http": {}}, {"tcp": {}}])
@pytest.mark.parametrize("where", ["address", "host"])
async def test_a_service_on_ipv6_alone_is_ready(
    tmp_path: Path, probe: dict[str, dict[str, str]], where: str
) -> None:
    ((kind, check),) = probe.items()
    fields: dict[str, object] = {"address": "::1"} if where == "address" else {}
    if where == "host":
        check = {"host": "::1"}
    spec = service(
        "web",
        command=[sys.executable, "-m", "http.server", "$(PORT)", "--bind", "::1"],
        ports={"http": 0},
        readiness={kind: check, "interval": "1s", "fast_interval": "100ms"},
        **fields,
    )
    async with open_supervisor(data_dir=tmp_path / "data") as supervisor:
        started = await supervisor.start(spec)
        with trio.fail_after(PATIENCE):
            await started.wait_ready()  # S14
        instance = started.statuses()[0].instance
        assert instance is not None
        assert instance.address == ("::1" if where == "address" else "127.0.0.1")
