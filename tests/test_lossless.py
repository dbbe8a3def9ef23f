"""Any spec, the whole way: file, wire, SQLite, wire, supervisor, `inspect --json`, file."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.specs import specs
from tests.node.node_kit import FakeLogs
from tests.scripted import ScriptedCheck, ScriptedPorts, ScriptedRuntime
from warren.cli.render import to_json
from warren.manager.program import open_manager
from warren.manifest.service_file import dump_text, load_text
from warren.manifest.yaml_text import write
from warren.model.address import UnixAddress
from warren.model.check_kinds import asked_port
from warren.model.container import NO_NETWORK, RUNTIMES
from warren.model.node_description import PROCESS, NodeDescription, RuntimeInfo
from warren.model.probe import Probe
from warren.model.rpc import Cluster
from warren.model.service import LOOPBACK, Resources, ServiceSpec
from warren.node.program import open_node
from warren.nursery.dependencies import Dependencies
from warren.runtime.engine import FEATURES
from warren.store.journal import SqliteJournal
from warren.store.state import StateStore
from warren.transport.client import open_gate
from warren.transport.server import serve_gate

PATIENCE = 20.0
ABLE = NodeDescription(  # as a node with every engine announces itself
    runtimes=(
        RuntimeInfo(name=PROCESS),
        *(RuntimeInfo(name=name, features=FEATURES) for name in RUNTIMES[1:]),
    )
)
KINDS = ("health", "startup", "liveness", "readiness")


def runnable(spec: ServiceSpec) -> ServiceSpec:
    """The same, but for what this machine would refuse."""
    number = {port: name for name, port in spec.ports.items()}
    ports = {name: port if number[port] == name else 0 for name, port in spec.ports.items()}
    if spec.has_own_address:
        free = (port for port in range(1, 65536) if port not in number)
        ports = {name: port or next(free) for name, port in ports.items()}
        spec = msgspec.structs.replace(spec, address=LOOPBACK)
    if spec.network == NO_NETWORK and any(map(_asks_a_port, _probes(spec))):
        spec = msgspec.structs.replace(spec, network=None)
    fields: dict[str, Any] = {
        "resources": Resources(),
        "replicas": spec.replicas % 3,
        "cwd": spec.cwd and f"/{spec.cwd}",
        "ports": ports,
    }
    for kind in KINDS:
        fields[kind] = _reachable(getattr(spec, kind), ports)
    return msgspec.structs.replace(spec, **fields)


def _probes(spec: ServiceSpec) -> list[Probe]:
    return [probe for kind in KINDS if (probe := getattr(spec, kind)) is not None]


def _asks_a_port(probe: Probe) -> bool:
    return asked_port(probe.check) is not None


def _reachable(probe: Probe | None, ports: dict[str, int]) -> Probe | None:
    """The probe, with a port that there is."""
    if probe is None:
        return None
    for kind in ("http", "tcp"):
        check = getattr(probe, kind)
        if check is None or isinstance(check.port, int) or check.port in ports:
            continue
        if check.port is not None or len(ports) != 1:
            port = next(iter(ports), 80)
            check = msgspec.structs.replace(check, port=port)
            return msgspec.structs.replace(probe, **{kind: check})
    return probe


def side_by_side(drawn: list[ServiceSpec]) -> list[ServiceSpec]:
    """The same, no fixed port wanted twice on the one node."""
    taken = set[int]()
    found = list[ServiceSpec]()
    for spec in drawn:
        if spec.has_own_address:
            found.append(spec)
            continue
        held = taken if spec.replicas == 1 else set(spec.ports.values())
        ports = {name: 0 if port in held else port for name, port in spec.ports.items()}
        taken.update(ports.values())
        found.append(msgspec.structs.replace(spec, ports=ports))
    return found


@asynccontextmanager
async def cluster(directory: Path, journal: SqliteJournal) -> AsyncGenerator[Cluster, None]:
    """A manager on SQLite, a node that holds tasks and runs nothing, and a client: all on wires."""
    address = UnixAddress(str(directory / "warren.sock"))
    runtime = ScriptedRuntime()
    around = Dependencies(
        node="n1",
        runtime=runtime,
        check=ScriptedCheck(),
        ports=ScriptedPorts(),
        journal=journal,
        description=ABLE,
        publish=lambda status, event: None,
        wall=runtime.wall,
        chance=random.Random(1),
    )
    dial = partial(open_gate, address)
    with closing(StateStore.open(directory / "manager.sqlite")) as store:
        async with (
            open_manager(store, wall=runtime.wall) as manager,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(serve_gate, manager.gate, address)
            async with (
                open_node(around, FakeLogs(), dial, stops_tasks=False),
                open_gate(address) as gate,
            ):
                yield await gate.login()
            nursery.cancel_scope.cancel()


@settings(max_examples=25, deadline=None)
@given(
    drawn=st.lists(specs().map(runnable), min_size=1, max_size=4, unique_by=lambda spec: spec.name)
)
async def test_any_spec_comes_back_from_the_whole_way(drawn: list[ServiceSpec]) -> None:
    drawn = side_by_side(drawn)
    wanted = {spec.name: spec for spec in drawn}
    with tempfile.TemporaryDirectory() as made, closing(SqliteJournal(Path(made) / "j")) as journal:
        async with cluster(Path(made), journal) as operator:
            await operator.apply(load_text(dump_text(drawn)))
            tasks = sum(spec.replicas for spec in drawn)
            with trio.fail_after(PATIENCE):
                while len(journal.load()) < tasks:  # noqa: ASYNC110 - a file wakes nobody
                    await trio.sleep(0.005)
            held = {record.id.service: record.spec for record in journal.load()}
            views = [to_json.service(view, 0.0) for view in await operator.services()]
    assert held == {name: spec for name, spec in wanted.items() if spec.replicas}
    shown = json.loads(to_json.text(views))
    file = write({"services": {view["name"]: view["spec"] for view in shown}})
    assert {spec.name: spec for spec in load_text(file)} == wanted
