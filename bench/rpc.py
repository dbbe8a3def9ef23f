"""RPC round trip and calls per second: Warren's transport against plain pycapnp on asyncio.

    python bench/rpc.py [--runs 5] [--seconds 2] [--json FILE]

    client process --lastEvent()--> server process

Both speak Warren's own schema: the bootstrap's `login`, then `lastEvent` again and again. `pycapnp`
is as its documentation has it: an asyncio program, client and server. Servers run all the time;
a client is a fresh process for every number.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import trio
from children import child
from measure import Series, interleaved, markdown, ratio
from section import Bound, Section

from warren.model.address import Address, parse_address
from warren.model.rpc import Gate
from warren.transport.client import open_gate
from warren.transport.portal import open_portal
from warren.transport.schema import capnp, wire
from warren.transport.server import serve_gate

LAST = 7  # what `lastEvent` answers
IN_FLIGHT = 64
WARM_UP = 200  # calls
BOUND = 0.55  # times plain pycapnp's rate with the way between two threads, at least: one by one
MANY_BOUND = 0.2  # times plain pycapnp's rate, at least; by machine it is 0.23 to 0.58 (ADR 3)
ONE, MANY = "one after another", f"{IN_FLIGHT} in flight"
PEER = "pycapnp"

Call = Callable[[], Awaitable[object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
    elif options.ask:
        print(ask(*options.ask, seconds=options.seconds))
    else:
        series = measure(options.runs, options.seconds)
        ways = {ONE: 1, MANY: IN_FLIGHT}
        handing = {how: trio.run(hand_over, width, options.seconds) for how, width in ways.items()}
        section(series, handing).save(options.json)


def measure(runs: int, seconds: float) -> list[Series]:
    series: list[Series] = []
    with tempfile.TemporaryDirectory() as directory, ExitStack() as servers:
        for kind in ("Unix socket", "TCP"):
            at: dict[str, str] = {}
            for name in (PEER, "warren"):
                where = f"unix:{directory}/{name}" if kind != "TCP" else "tcp:127.0.0.1:0"
                at[name] = servers.enter_context(child(own("--serve", name, where)))
            for how in (ONE, MANY):
                print(f"{kind}, {how}", file=sys.stderr)
                contenders = {name: asking(name, at[name], how, seconds) for name in at}
                series += interleaved(f"{kind}, {how}", "calls/s", contenders, runs)
    return series


def own(*arguments: str) -> list[str]:
    return [sys.executable, __file__, *arguments]


def asking(name: str, address: str, how: str, seconds: float) -> Callable[[], float]:
    argv = own("--ask", name, address, how, "--seconds", str(seconds))
    return lambda: float(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)


def section(series: list[Series], handing: Mapping[str, float]) -> Section:
    modes = dict.fromkeys(one.mode for one in series)
    bounds = [_bound(series, mode, handing[ONE]) for mode in modes]
    trips = [
        f"{one.name} {1e6 / one.median:.0f} µs over {one.mode.partition(',')[0]}"
        for one in series
        if one.mode.endswith(ONE)
    ]
    return Section(
        title="RPC",
        text=(
            "One client process, one server process, one connection, the smallest method there "
            "is; calls one after another (the round trip: " + ", ".join(trips) + f") or "
            f"{IN_FLIGHT} in flight. Plain pycapnp on asyncio has one thread and hands out what "
            "it has read; Warren has Trio beside it, hands over plain values only, and a call "
            "that is cancelled on one side is cancelled on the other. For that a call goes to a "
            "thread of its own and back on both sides, which alone takes "
            f"{handing[ONE] * 1e6:.0f} µs a side where nothing else is in flight, and "
            f"{handing[MANY] * 1e6:.0f} µs a call where {IN_FLIGHT} are (ADR 3)."
        ),
        table=markdown(series, baseline=PEER),
        bounds=tuple(bounds),
    )


def _bound(series: list[Series], mode: str, handing: float) -> Bound:
    share = ratio(series, mode, "warren", PEER)
    if not mode.endswith(ONE):
        promise = f"{mode}: at least {MANY_BOUND} x plain pycapnp (ADR 3)"
        return Bound(promise, f"{share:.2f} x", holds=share >= MANY_BOUND)
    plain = next(one.median for one in series if (one.mode, one.name) == (mode, PEER))
    floor = 1 / (1 / plain + 2 * handing)  # the ways of both sides add up
    promise = f"{mode}: at least {BOUND} x plain pycapnp with the way between two threads (ADR 3)"
    measured = f"{share * plain / floor:.2f} x; {share:.2f} x without it"
    return Bound(promise, measured, share * plain / floor >= BOUND)


# Servers


def serve(name: str, where: str) -> None:
    address = parse_address(where)
    if name == PEER:
        asyncio.run(capnp.run(serve_plain(address)))
    else:
        trio.run(serve_warren, address)


class Cluster:
    """Plays the one method."""

    async def last_event(self) -> int:
        await trio.lowlevel.checkpoint()
        return LAST


class OwnGate:
    """Plays the one way to it."""

    async def login(self) -> Cluster:
        await trio.lowlevel.checkpoint()
        return Cluster()


async def serve_warren(address: Address) -> None:
    gate = cast("Gate", OwnGate())
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[Address]) -> None:
            await serve_gate(lambda _: gate, address, insecure=True, task_status=task_status)

        print(await nursery.start(run), flush=True)


class PlainCluster(wire.Cluster.Server):
    """The same for pycapnp, which asks for the names of the schema."""

    async def lastEvent(self, **_: Any) -> int:  # noqa: N802
        return LAST


class PlainGate(wire.Gate.Server):
    """The way to it."""

    async def login(self, **_: Any) -> Any:
        return PlainCluster()


async def serve_plain(address: Address) -> None:
    async def receive(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=PlainGate()).on_disconnect()

    kind, _, rest = str(address).partition(":")
    if kind == "unix":
        server = await capnp.AsyncIoStream.create_unix_server(receive, rest)
        bound = str(address)
    else:
        server = await capnp.AsyncIoStream.create_server(receive, "127.0.0.1", 0)
        bound = f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(bound, flush=True)
    async with server:
        await server.serve_forever()


# Clients


def ask(name: str, where: str, how: str, *, seconds: float) -> float:
    """Calls a second."""
    address = parse_address(where)
    width = 1 if how == ONE else IN_FLIGHT
    if name == PEER:
        return asyncio.run(capnp.run(ask_plain(address, width, seconds)))
    return trio.run(ask_warren, address, width, seconds)


async def ask_warren(address: Address, width: int, seconds: float) -> float:
    async with open_gate(address) as gate:
        cluster = await gate.login()
        await repeat(cluster.last_event, calls=WARM_UP)
        begun, made = time.perf_counter(), list[int]()
        async with trio.open_nursery() as nursery:
            for _ in range(width):
                nursery.start_soon(repeat_until, cluster.last_event, begun + seconds, made)
        return sum(made) / (time.perf_counter() - begun)


async def hand_over(width: int, seconds: float) -> float:
    """Seconds a call takes to Cap'n Proto's thread and back, with nothing to do there and so many
    at once."""
    async with open_portal() as portal:

        async def call() -> object:
            return await portal.run(nothing)

        await repeat(call, calls=WARM_UP)
        begun, made = time.perf_counter(), list[int]()
        async with trio.open_nursery() as nursery:
            for _ in range(width):
                nursery.start_soon(repeat_until, call, begun + seconds, made)
        return (time.perf_counter() - begun) / sum(made)


async def nothing() -> None:
    pass


async def ask_plain(address: Address, width: int, seconds: float) -> float:
    kind, _, rest = str(address).partition(":")
    if kind == "unix":
        stream = await capnp.AsyncIoStream.create_unix_connection(rest)
    else:
        host, _, port = rest.rpartition(":")
        stream = await capnp.AsyncIoStream.create_connection(host, int(port))
    gate = capnp.TwoPartyClient(stream).bootstrap().cast_as(wire.Gate)
    cluster = (await gate.login()).cluster
    await repeat(cluster.lastEvent, calls=WARM_UP)
    begun, made = time.perf_counter(), list[int]()
    await asyncio.gather(
        *(repeat_until(cluster.lastEvent, begun + seconds, made) for _ in range(width))
    )
    return sum(made) / (time.perf_counter() - begun)


async def repeat(call: Call, *, calls: int) -> None:
    for _ in range(calls):
        await call()


async def repeat_until(call: Call, end: float, made: list[int]) -> None:
    """Call until then; the number of calls is appended."""
    count = 0
    while time.perf_counter() < end:
        await call()
        count += 1
    made.append(count)


if __name__ == "__main__":
    main()
