"""What a principal may have of the manager, and that events keep who made an edit."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import cast

import msgspec
import pytest

from tests.transport.wire_links import KINDS, serving
from warren.manager.program import open_manager
from warren.model.check import Argv
from warren.model.cluster import NodeRow, PutNode
from warren.model.errors import DeniedError
from warren.model.principal import PrincipalKind
from warren.model.report import NodeHello
from warren.model.rpc import Agent, Cluster
from warren.model.service import ServiceSpec
from warren.rules import access
from warren.rules.access import ACCESS, Capability
from warren.store.state import StateStore
from warren.transport.methods import LinkedGate

SPEC = ServiceSpec(name="web", command=Argv(["run"]))
OTHER = msgspec.structs.replace(SPEC, command=Argv(["walk"]))
OWN = f"uid {os.geteuid()}"
BY = {"memory": f"{OWN} (embedded)", "unix": OWN, "tcp": "loopback"}
EDITS: list[tuple[str, Callable[[Cluster], Awaitable[object]]]] = [
    ("created", lambda cluster: cluster.create(SPEC)),
    ("updated", lambda cluster: cluster.update(OTHER)),
    ("scaled", lambda cluster: cluster.scale("web", 3)),
    ("restarted", lambda cluster: cluster.restart("web")),
    ("updated", lambda cluster: cluster.apply([SPEC])),
    ("removing", lambda cluster: cluster.apply([], prune=True)),
    ("removed", lambda cluster: cluster.remove_node("n9", force=True)),
]


@asynccontextmanager
async def managed(kind: str, folder: Path) -> AsyncGenerator[LinkedGate, None]:
    """The gate of a manager over a link of this kind, without a node that is there."""
    with closing(StateStore.open(folder / "manager.sqlite")) as store:
        async with (
            open_manager(store, wall=lambda: 1e9, patience=1000) as manager,
            serving(kind, folder, manager.gate) as (dial, _),
            dial() as gate,
        ):
            yield gate


@pytest.mark.parametrize("kind", KINDS)
async def test_every_edit_has_one_event_that_keeps_by_whom(kind: str, tmp_path: Path) -> None:
    with closing(StateStore.open(tmp_path / "manager.sqlite")) as store:
        gone = NodeRow(name="n9", id="z", epoch=1, joined_at=1.0, lost_at=1.0)
        store.commit([PutNode(gone)], now=1.0)
    async with managed(kind, tmp_path) as gate:
        cluster = await gate.login()
        for _, edit in EDITS:
            await edit(cluster)
    async with managed(kind, tmp_path) as gate:  # and another life of the manager
        told = await (await gate.view()).events()
    assert [(one.kind.value, one.by) for one in told if one.by] == [
        (what, BY[kind]) for what, _ in EDITS
    ]


async def test_what_the_manager_does_by_itself_is_by_nobody(tmp_path: Path) -> None:
    with closing(StateStore.open(tmp_path / "manager.sqlite")) as store:
        async with open_manager(store, wall=lambda: 1e9) as manager:
            await manager.operator.create(SPEC)
            await manager.operator.remove("web")
            kinds, after = dict[str, str](), 0
            while "removed" not in kinds:
                for one in await manager.operator.events(after=after, wait=True):
                    kinds[one.kind.value], after = one.by, one.seq
    assert kinds["removing"] == BY["memory"]
    assert kinds["removed"] == ""


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_principal_may_not_have_is_denied(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(gate: LinkedGate, capability: Capability) -> object:
        if capability is Capability.ENROLL:
            return await gate.enroll(NodeHello(name="n1", id="a"), cast("Agent", object()))
        return await getattr(gate, capability.value)()

    own = {"memory": PrincipalKind.EMBEDDED, "unix": PrincipalKind.LOCAL}
    principal = own.get(kind, PrincipalKind.LOOPBACK)
    for denied in Capability:
        monkeypatch.setattr(access, "ACCESS", {**ACCESS, (principal, denied): False})
        async with managed(kind, tmp_path) as gate:
            for capability in Capability:
                if capability is not denied:
                    await ask(gate, capability)
                    continue
                with pytest.raises(DeniedError) as caught:
                    await ask(gate, capability)
                may = [each.value for each in PrincipalKind if each is not principal]
                assert str(caught.value) == (
                    f"{denied.value}: {BY[kind]} may not have it; "
                    f"want a principal that is {' or '.join(may)}"
                )
