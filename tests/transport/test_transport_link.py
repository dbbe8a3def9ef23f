"""What holds for every link: within the process, over a Unix socket and over TCP."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.specs import specs
from tests.transport.wire_links import KINDS, Hang, Played, gate_of, gate_to, serving
from tests.transport.wire_values import values
from warren.model.check import Argv
from warren.model.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    LinkLostError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    SpecError,
    UnavailableError,
    WarrenError,
)
from warren.model.identity import TaskId
from warren.model.report import NodeHello
from warren.model.rpc import Agent, Cluster, ClusterView, Gate, NodeSession
from warren.model.service import ServiceSpec
from warren.transport.connection import Connection, Limits
from warren.transport.methods import interface

HELLO = NodeHello(name="here", id="a1")
SPEC = ServiceSpec(name="web", command=Argv(["run"]))
LENIENT = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.function_scoped_fixture,
    HealthCheck.differing_executors,
]
pytestmark = pytest.mark.parametrize("kind", KINDS)


async def reached(protocol: type, gate: Gate, back: list[Any]) -> Any:
    """An object of this protocol, from the far side of this link."""
    if protocol is Gate:
        return gate
    if protocol is Cluster:
        return await gate.login()
    if protocol is ClusterView:
        return await gate.view()
    session = await gate.enroll(HELLO, cast("Agent", back[0]))
    return session if protocol is NodeSession else back[1]


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (protocol, name)
        for protocol in (Cluster, ClusterView, NodeSession, Agent)
        for name in interface(protocol).methods
    ],
)
@settings(deadline=None, max_examples=4, suppress_health_check=LENIENT)
@given(data=st.data())
def test_every_method_goes_there_and_back(
    kind: str, protocol: type, name: str, tmp_path: Path, data: Any
) -> None:
    method = interface(protocol).methods[name]
    arguments = {p: data.draw(values(hint)) for p, hint in method.parameters.items()}
    answer = data.draw(values(method.returns))
    played = Played(**{name: answer})
    back: list[Any] = [played]

    async def enroll(hello: NodeHello, agent: Agent) -> Any:
        assert hello == HELLO
        back.append(agent)
        return played

    async def main() -> Any:
        gate = gate_of(login=played, view=played, enroll=enroll)
        async with serving(kind, tmp_path, gate) as (dial, _), dial() as found:
            target = await reached(protocol, found, back)
            if protocol is NodeSession:
                assert (target.epoch, target.manager) == (played.epoch, played.manager)
            return await getattr(target, name)(**arguments)

    assert trio.run(main) == answer
    assert played.calls == [(name, arguments)]


@pytest.mark.parametrize(
    "error",
    [
        InvalidError("web.replicas: -1: want more"),
        NotFoundError("there is no service web\nat all"),
        ConflictError("web is being removed: wait"),
        DeniedError("login: loopback may not"),
        UnavailableError("the disk is full"),
        OverloadedError("later"),
        RefusedError("no"),
        WarrenError("it: did not work"),
        NotFoundError(""),
        NotFoundError("not-found: \u00fc\N{RABBIT}\ttab"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_refusal_keeps_its_kind_and_its_words(
    kind: str, tmp_path: Path, error: WarrenError
) -> None:
    async with serving(kind, tmp_path, gate_to(Played(remove=error))) as (dial, _), dial() as gate:
        cluster = await gate.login()
        with pytest.raises(WarrenError) as caught:
            await cluster.remove("web")
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (SpecError("services.web.env.A", "want less", value="x: y"), "services.web.env.A"),
        (InvalidError("wanted: nothing; want services"), "wanted"),
        (InvalidError("it is wrong: all of it"), ""),
        (InvalidError("wrong"), ""),
    ],
)
async def test_an_invalid_error_has_the_field_that_its_message_begins_with(
    kind: str, tmp_path: Path, error: WarrenError, field: str
) -> None:
    async with serving(kind, tmp_path, gate_to(Played(create=error))) as (dial, _), dial() as gate:
        cluster = await gate.login()
        with pytest.raises(InvalidError) as caught:
            await cluster.create(SPEC)
    assert (caught.value.field, str(caught.value)) == (field, str(error))


async def test_what_was_denied_to_who_was_asked_is_not_denied_to_the_caller(
    kind: str, tmp_path: Path
) -> None:
    """The manager asks a node for a client, and the node denies it to the manager."""
    asked: list[Any] = []

    async def enroll(hello: NodeHello, agent: Agent) -> Any:
        asked.append(agent)
        return Played(leave=None)

    async def remove(name: str) -> None:
        await asked[0].kept(service=name)

    agent: Any = Played(kept=DeniedError("kept: the manager may not"))
    gate = gate_of(login=Played(remove=remove), enroll=enroll)
    async with serving(kind, tmp_path, gate) as (dial, _), dial() as far:
        await far.enroll(HELLO, agent)
        cluster = await far.login()
        with pytest.raises(UnavailableError) as caught:
            await cluster.remove("web")
    said = str(caught.value)
    assert said.endswith(" denied it to this side: kept: the manager may not")
    assert said.startswith("this process" if kind == "memory" else "the client at ")


async def test_a_spec_error_arrives_as_invalid_with_the_same_text(
    kind: str, tmp_path: Path
) -> None:
    error = SpecError("spec.name", "want another", value="web", line=3, source="a.yaml")
    async with serving(kind, tmp_path, gate_to(Played(create=error))) as (dial, _), dial() as gate:
        cluster = await gate.login()
        with pytest.raises(InvalidError) as caught:
            await cluster.create(SPEC)
    assert str(caught.value) == "a.yaml:3: spec.name: 'web': want another"


async def test_a_bug_is_told_as_internal_and_ends_nothing(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Played(restart=ZeroDivisionError("secret"), last_event=3)
    async with serving(kind, tmp_path, gate_to(cluster)) as (dial, _), dial() as gate:
        far = await gate.login()
        with pytest.raises(WarrenError, match="restart failed by a bug in Warren") as caught:
            await far.restart("web")
        assert type(caught.value) is WarrenError
        assert "secret" not in str(caught.value)
        assert await far.last_event() == 3
    assert "secret" in caplog.text


async def test_a_link_lost_behind_the_far_side_is_no_loss_of_this_one(
    kind: str, tmp_path: Path
) -> None:
    cluster = Played(status=LinkLostError("the node is gone"))
    async with serving(kind, tmp_path, gate_to(cluster)) as (dial, _), dial() as gate:
        with pytest.raises(UnavailableError, match="the node is gone"):
            await (await gate.login()).status()
        assert not gate.lost.is_set()


async def test_cancelling_a_call_cancels_its_handler(kind: str, tmp_path: Path) -> None:
    hang = Hang()
    async with (
        serving(kind, tmp_path, gate_to(Played(nodes=hang.play))) as (dial, _),
        dial() as gate,
    ):
        cluster = await gate.login()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.nodes)
            await hang.begun.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await hang.ended.wait()


async def test_cancelling_a_call_back_cancels_the_agents_handler(kind: str, tmp_path: Path) -> None:
    hang = Hang()

    async def enroll(hello: NodeHello, agent: Agent) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.look, [TaskId("web", 1, 1)])
            await hang.begun.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await hang.ended.wait()
        return Played()

    gate = gate_of(enroll=enroll)
    async with serving(kind, tmp_path, gate) as (dial, _), dial() as found:
        await found.enroll(HELLO, cast("Agent", Played(look=hang.play)))


async def test_many_calls_wait_at_once_and_none_for_another(kind: str, tmp_path: Path) -> None:
    waiting = 0
    all_there = trio.Event()

    async def services(**_: Any) -> list[Any]:
        nonlocal waiting
        waiting += 1
        if waiting == 200:
            all_there.set()
        await all_there.wait()
        return []

    cluster = Played(services=services)
    async with serving(kind, tmp_path, gate_to(cluster)) as (dial, _), dial() as gate:
        far = await gate.login()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(far.services)


async def test_calls_beyond_the_limit_are_refused_and_the_others_go_on(
    kind: str, tmp_path: Path
) -> None:
    first, second = Hang(), Hang()
    cluster = Played(nodes=first.play, services=second.play, last_event=1)
    limits = Limits(calls=2)
    serve = serving(kind, tmp_path, gate_to(cluster), limits=limits)
    async with serve as (dial, _), dial() as gate:
        far = await gate.login()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.nodes)
            await first.begun.wait()
            assert await far.last_event() == 1
            nursery.start_soon(far.services)
            await second.begun.wait()
            with pytest.raises(OverloadedError, match="2 calls of this"):
                await far.last_event()
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await first.ended.wait()
            await second.ended.wait()
            while True:
                try:
                    assert await far.last_event() == 1
                    break
                except OverloadedError:  # that they have ended is on its way
                    continue


async def test_the_server_learns_that_a_client_has_gone(kind: str, tmp_path: Path) -> None:
    met: list[Connection] = []
    hang = Hang()

    def make(connection: Connection) -> Gate:
        met.append(connection)
        return cast("Gate", Played(login=hang.play))

    async with serving(kind, tmp_path, make) as (dial, _):
        async with dial() as gate, trio.open_nursery() as nursery:
            nursery.start_soon(gate.login)
            await hang.begun.wait()
            assert not met[0].closed.is_set()
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await met[0].closed.wait()
            await met[0].ended.wait()
            await hang.ended.wait()
        async with dial():
            pass
    assert len(met) == 2
    assert met[1].ended.is_set()


async def test_what_a_gone_client_asked_for_is_cancelled(kind: str, tmp_path: Path) -> None:
    hang = Hang()
    serve = serving(kind, tmp_path, gate_of(login=hang.play))
    async with serve as (dial, _), trio.open_nursery() as nursery:
        async with dial() as gate:
            nursery.start_soon(_login_is_lost, gate)
            await hang.begun.wait()
        with trio.fail_after(1):
            await hang.ended.wait()


async def _login_is_lost(gate: Gate) -> None:
    with pytest.raises(LinkLostError):
        await gate.login()


async def test_a_closed_connection_is_lost_for_calls_in_flight_and_later_ones(
    kind: str, tmp_path: Path
) -> None:
    met: list[Connection] = []
    hang = Hang()

    def make(connection: Connection) -> Gate:
        met.append(connection)
        return cast("Gate", Played(login=Played(nodes=hang.play, last_event=1)))

    async with serving(kind, tmp_path, make) as (dial, _), dial() as gate:
        far = await gate.login()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_nodes_are_lost, far)
            await hang.begun.wait()
            with trio.fail_after(1):
                await met[0].close()
                await gate.lost.wait()
        assert hang.ended.is_set()
        with pytest.raises(LinkLostError, match="is lost: "):
            await far.last_event()
        with pytest.raises(LinkLostError):
            await gate.view()
        await met[0].close()


async def _nodes_are_lost(cluster: Cluster) -> None:
    with trio.fail_after(1), pytest.raises(LinkLostError, match="is lost: ") as caught:
        await cluster.nodes()
    assert "\n" not in str(caught.value)


async def test_an_agent_whose_connection_is_gone_is_lost(kind: str, tmp_path: Path) -> None:
    agents: list[Agent] = []
    met: list[Connection] = []

    async def enroll(hello: NodeHello, agent: Agent) -> Any:
        agents.append(agent)
        assert await agent.look([]) == []
        return Played()

    def make(connection: Connection) -> Gate:
        met.append(connection)
        return cast("Gate", Played(enroll=enroll))

    async with serving(kind, tmp_path, make) as (dial, _):
        async with dial() as gate:
            await gate.enroll(HELLO, cast("Agent", Played(look=[])))
            assert await agents[0].look([]) == []
        with trio.fail_after(1):
            await met[0].closed.wait()
            with pytest.raises(LinkLostError):
                await agents[0].look([])


async def test_what_nobody_holds_here_is_let_go_there(kind: str, tmp_path: Path) -> None:
    given: list[weakref.ref[Played]] = []

    async def login() -> Any:
        cluster = Played(last_event=len(given))
        given.append(weakref.ref(cluster))
        return cluster

    gate = gate_of(login=login, view=Played(status=NotFoundError("")))
    async with serving(kind, tmp_path, gate) as (dial, _), dial() as found:
        kept = await found.login()
        for _ in range(5):
            await (await found.login()).last_event()
        view = await found.view()
        with trio.fail_after(2):
            while any(reference() for reference in given[1:]):
                with pytest.raises(NotFoundError):
                    await view.status()  # a round trip, behind which the release is done
        assert await kept.last_event() == 0


async def test_what_a_block_raises_comes_out_alone(kind: str, tmp_path: Path) -> None:
    async with serving(kind, tmp_path, gate_of()) as (dial, _):
        with pytest.raises(KeyError):
            async with dial():
                raise KeyError("mine")
        with trio.move_on_after(0) as scope:
            async with dial():
                await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_a_value_that_fits_nowhere_is_refused_by_field(kind: str, tmp_path: Path) -> None:
    async def scale(name: str, replicas: int) -> Any:
        raise SpecError("replicas", "want less", value=replicas)

    async with serving(kind, tmp_path, gate_to(Played(scale=scale))) as (dial, _), dial() as gate:
        with pytest.raises(InvalidError, match=r"replicas: \d+\.*: want"):
            await (await gate.login()).scale("web", 10**50)


@settings(deadline=None, max_examples=20, suppress_health_check=LENIENT)
@given(spec=specs())
def test_any_spec_arrives_as_it_was(kind: str, tmp_path: Path, spec: ServiceSpec) -> None:
    cluster = Played(create=NotFoundError("seen"))

    async def main() -> None:
        async with serving(kind, tmp_path, gate_to(cluster)) as (dial, _), dial() as gate:
            with pytest.raises(NotFoundError):
                await (await gate.login()).create(spec)

    trio.run(main)
    _, arguments = cluster.calls.pop()
    assert arguments["spec"] == spec
