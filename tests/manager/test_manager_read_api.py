"""What a view does not tell: values of variables and headers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest
import trio

from tests.scheduler.planning_kit import service_row, task_row
from warren.cli.render import to_json
from warren.manager.program import open_manager
from warren.manager.read_api import SHOWN_AT_ONCE
from warren.manifest.service_file import dump_text, load_text
from warren.model.address import UnixAddress
from warren.model.check import HIDDEN, Argv, HttpCheck
from warren.model.cluster import Change, PutService, PutTask
from warren.model.errors import InvalidError, SpecError
from warren.model.identity import TaskId
from warren.model.principal import Principal, PrincipalKind
from warren.model.probe import Probe
from warren.model.rpc import Cluster, ClusterView
from warren.model.service import ServiceSpec
from warren.resilience.fair_turns import FairTurns
from warren.store.state import StateStore
from warren.transport.client import open_gate
from warren.transport.connection import AcceptedConnection
from warren.transport.memory import memory_gate
from warren.transport.server import serve_gate

SECRET = "hunter2"
HERE = Principal(PrincipalKind.EMBEDDED)
PROBE = Probe(http=HttpCheck(port=80, headers={"Authorization": SECRET, "X-A": SECRET}))
SPEC = ServiceSpec(
    name="web",
    command=Argv(["serve", "$(TOKEN)"]),
    env={"TOKEN": SECRET, "DB.URL": SECRET},
    liveness=PROBE,
    readiness=PROBE,
    startup=Probe(http=HttpCheck(port=80)),
)


@asynccontextmanager
async def both(kind: str, folder: Path) -> AsyncGenerator[tuple[Cluster, ClusterView], None]:
    """An operator and a viewer of one manager, without a node."""
    with closing(StateStore.open(folder / "manager.sqlite")) as store:
        async with (
            open_manager(store, wall=lambda: 1e9) as manager,
            trio.open_nursery() as nursery,
        ):
            if kind == "memory":
                async with memory_gate(manager.gate) as gate:
                    yield await gate.login(), await gate.view()
            else:
                address = UnixAddress(str(folder / "w.sock"))
                await nursery.start(serve_gate, manager.gate, address)
                async with open_gate(address) as gate:
                    yield await gate.login(), await gate.view()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["memory", "wire"])
async def test_view_tells_names_and_an_operator_the_values(kind: str, tmp_path: Path) -> None:
    async with both(kind, tmp_path) as (operator, viewer):
        assert (await operator.create(SPEC)).spec == SPEC
        after = 0
        while not (tasks := await operator.tasks()):
            after = (await operator.events(after=after, wait=True))[-1].seq
        (task,) = [view.id for view in tasks]
        assert task == TaskId("web", 1, 1)
        assert (await operator.service("web")).spec == SPEC
        assert (await operator.task(task)).spec == SPEC
        (listed,) = await viewer.services()
        detail = await viewer.task(task)
        told = [listed.spec, (await viewer.service("web")).spec, detail.spec]
        for spec in told:
            assert [*spec.env] == ["TOKEN", "DB.URL"]
            assert spec.liveness is not None
            assert spec.liveness.http is not None
            assert [*spec.liveness.http.headers] == ["Authorization", "X-A"]
            assert {*spec.env.values(), *spec.liveness.http.headers.values()} == {HIDDEN}
            assert spec.startup == SPEC.startup
        everything = [
            *told, listed, detail, *await viewer.tasks(past=True), *await viewer.nodes(),
            *await viewer.events(), await viewer.status(),
        ]  # fmt: skip
        assert SECRET not in repr(everything)


@pytest.mark.parametrize("kind", ["memory", "wire"])
async def test_spec_with_hidden_values_is_refused(kind: str, tmp_path: Path) -> None:
    async with both(kind, tmp_path) as (operator, viewer):
        await operator.create(SPEC)
        hidden = (await viewer.service("web")).spec
        headers = msgspec.structs.replace(hidden, env={})
        renamed = msgspec.structs.replace(hidden, name="other")
        wanted = "its value was hidden from the reader; want the value"
        at = "services.web.env.TOKEN"
        for refused, said in (
            (operator.update(hidden), at),
            (operator.apply([hidden]), at),
            (operator.apply([hidden], dry_run=True), at),
            (operator.create(renamed), "services.other.env.TOKEN"),
            (operator.update(headers), "services.web.liveness.http.headers.Authorization"),
        ):
            with pytest.raises(InvalidError) as caught:
                await refused
            assert str(caught.value) == f"{said}: {wanted}"
        assert (await operator.service("web")).spec == SPEC


async def test_hidden_values_are_null_in_json_and_refused_in_a_file(tmp_path: Path) -> None:
    async with both("memory", tmp_path) as (operator, viewer):
        await operator.create(SPEC)
        view = await viewer.service("web")
        shown = json.loads(to_json.text(to_json.service(view, 0.0)))
        whole = to_json.service(await operator.service("web"), 0.0)
    assert shown["spec"]["env"] == {"TOKEN": None, "DB.URL": None}
    assert shown["spec"]["liveness"]["http"]["headers"] == {"Authorization": None, "X-A": None}
    assert load_text(json.dumps({"services": {"web": whole["spec"]}})) == [SPEC]
    for spec in (shown["spec"], {**shown["spec"], "env": {"A": "b", "TOKEN": None}}):
        with pytest.raises(SpecError) as caught:
            load_text(json.dumps({"services": {"web": spec}}))
        assert str(caught.value).endswith(
            "env.TOKEN: want a value (null stands for one hidden from the reader)"
        )
    with pytest.raises(SpecError, match=r"headers\.Authorization: want a value"):
        load_text(json.dumps({"services": {"web": {**shown["spec"], "env": {}}}}))
    assert SECRET in dump_text([SPEC])


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_whoever_looks_at_thousands_of_services_lets_others_in_between() -> None:
    count = 4 * SHOWN_AT_ONCE
    changes: list[Change] = []
    for number in range(count):
        wanted = msgspec.structs.replace(SPEC, name=f"s{number}")
        changes.append(PutService(service_row(wanted)))
        changes.append(PutTask(task_row(f"s{number}.1#1", wanted)))
    with closing(StateStore.open(None)) as store:
        store.commit(changes, now=1e9)
        async with open_manager(store, wall=lambda: 1e9, patience=1000) as manager:
            view = await manager.gate(AcceptedConnection("test", HERE)).view()
            manager.turns = FairTurns(lambda: 1.0)  # every pass has lasted for long enough
            passes = Passes()
            trio.lowlevel.add_instrument(passes)
            assert len(await view.services()) == count
            trio.lowlevel.remove_instrument(passes)
    assert passes.count >= 2 * count // SHOWN_AT_ONCE  # a service and its task
