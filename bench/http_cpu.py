"""CPU per HTTP probe: Warren, httpx's client, and Go's net/http set up as kubelet does.

    python bench/http_cpu.py [--runs 3] [--seconds 10] [--json FILE]

Every contender probes the same Go server over loopback from a process of its own, which counts its
own user and system time after a warm-up. Two modes: saturated (8 at once, as fast as it can) and
paced (600 a second, by workers of 10 a second each). httpx is run with one shared client and with a
client per probe; the cheaper one is the peer. "bare socket" only sends, waits and receives: what
Python and Trio cost before any HTTP. Needs `go`.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import trio
from measure import Series, cpu_seconds, interleaved, ratio, report

from warren.checks import run_check
from warren.model.check import HttpCheck, Result
from warren.model.interfaces import Target
from warren.net.closing import hang_up
from warren.net.dial import call, numeric

CONCURRENCY = 8
RATE = 600  # probes a second
PER_WORKER = 10  # paced probes a second
SATURATED_PROBES = 4000
WARM_UP = 300
LONGEST = 300  # seconds one prober may take
BODY_LIMIT = 10 * 1024

Probe = Callable[[], Awaitable[bool]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of a paced run")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--prober", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prober:
        name, mode, url, probes = options.prober
        trio.run(prober, name, mode, url, int(probes))
        return
    with tempfile.TemporaryDirectory() as directory:
        binary = build(Path(directory))
        with go_server(binary) as url:
            series = measure(binary, url, options.runs, RATE * options.seconds)
    report(series, baseline="go", json_file=options.json)
    print_peers(series)


def measure(binary: Path, url: str, runs: int, paced_probes: int) -> list[Series]:
    series: list[Series] = []
    for mode, probes in (("saturated", SATURATED_PROBES), ("paced", paced_probes)):
        contenders = {
            name: partial(spend, command(binary, name, mode, url, probes))
            for name in ("warren", "go", "httpx shared", "httpx per probe", "bare socket")
        }
        series += interleaved(mode, "µs", contenders, runs)
    return series


def print_peers(series: list[Series]) -> None:
    for mode in ("saturated", "paced"):
        go = ratio(series, mode, "warren", "go")
        peers = ("httpx shared", "httpx per probe")
        peer = min(ratio(series, mode, name, "warren") for name in peers)
        print(f"{mode}: warren takes {go:.2f} x Go's CPU; httpx takes {peer:.1f} x warren's")


def command(binary: Path, name: str, mode: str, url: str, probes: int) -> list[str]:
    if name == "go":
        verb, pace = ("saturate", CONCURRENCY) if mode == "saturated" else ("pace", RATE)
        return [str(binary), verb, url, str(pace), str(probes)]
    return [sys.executable, __file__, "--prober", name, mode, url, str(probes)]


def spend(argv: list[str]) -> float:
    """Run a prober; the microseconds of CPU one of its probes took."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(argv, env=environment, capture_output=True, check=True, timeout=LONGEST)
    told = json.loads(done.stdout)
    if told["failed"]:
        raise RuntimeError(f"{told['failed']} of {told['probes']} probes failed: {argv}")
    return told["cpu"] / told["probes"] * 1e6


def build(directory: Path) -> Path:
    """Compile the Go side; its module has no dependencies, so nothing is fetched."""
    binary = directory / "probe"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    subprocess.run(
        ["go", "build", "-o", str(binary), "."],
        cwd=Path(__file__).parent / "go_probe",
        env=environment,
        check=True,
        timeout=LONGEST,
    )
    return binary


@contextmanager
def go_server(binary: Path) -> Generator[str]:
    """The server under test, as its URL."""
    with subprocess.Popen([binary, "serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        finally:
            server.kill()


async def prober(name: str, mode: str, url: str, probes: int) -> None:
    """Be one contender: probe, and print what it took."""
    async with new_client(httpx.create_ssl_context(verify=False)) as client:
        probe = PROBES[name](httpx.URL(url), client)
        await saturate(probe, WARM_UP)
        before = cpu_seconds()
        failed = await (saturate if mode == "saturated" else pace)(probe, probes)
        cpu = cpu_seconds() - before
    print(json.dumps({"cpu": cpu, "probes": probes, "failed": failed}))


async def saturate(probe: Probe, probes: int) -> int:
    left = probes
    failed = 0

    async def worker() -> None:
        nonlocal left, failed
        while left > 0:
            left -= 1
            failed += not await probe()

    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENCY):
            nursery.start_soon(worker)
    return failed


async def pace(probe: Probe, probes: int) -> int:
    workers = RATE // PER_WORKER
    start = trio.current_time()
    failed = 0

    async def worker(first: int) -> None:
        nonlocal failed
        for number in range(first, probes, workers):
            await trio.sleep_until(start + number / RATE)
            failed += not await probe()

    async with trio.open_nursery() as nursery:
        for first in range(workers):
            nursery.start_soon(worker, first)
    return failed


def warren_probe(url: httpx.URL, _client: httpx.AsyncClient) -> Probe:
    check, target = HttpCheck(port=url.port), Target(address=url.host)

    async def probe() -> bool:
        return (await run_check(check, target, timeout=10)).result is Result.PASS

    return probe


def new_client(context: ssl.SSLContext) -> httpx.AsyncClient:
    # As cheap as httpx can be had here: no certificates to load, nothing from the environment.
    return httpx.AsyncClient(
        trust_env=False,
        verify=context,
        timeout=10,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": "probe", "Accept": "*/*", "Connection": "close"},
    )


def shared_client_probe(url: httpx.URL, client: httpx.AsyncClient) -> Probe:
    return partial(httpx_probe, client, url)


def own_client_probe(url: httpx.URL, _client: httpx.AsyncClient) -> Probe:
    context = httpx.create_ssl_context(verify=False)  # one for all: it is most of a client's cost

    async def probe() -> bool:
        async with new_client(context) as client:
            return await httpx_probe(client, url)

    return probe


def bare_socket_probe(url: httpx.URL, _client: httpx.AsyncClient) -> Probe:
    address = numeric(url.host, url.port or 80)
    assert address is not None

    async def probe() -> bool:
        sock = call(address)
        sock.send(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        await trio.lowlevel.wait_readable(sock)
        answer = sock.recv(BODY_LIMIT)
        hang_up(sock, reset=True)
        return answer.startswith(b"HTTP/1.1 200 ")

    return probe


async def httpx_probe(client: httpx.AsyncClient, url: httpx.URL) -> bool:
    async with client.stream("GET", url) as response:
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size >= BODY_LIMIT:
                break
        return 200 <= response.status_code < 400


PROBES = {
    "warren": warren_probe,
    "httpx shared": shared_client_probe,
    "httpx per probe": own_client_probe,
    "bare socket": bare_socket_probe,
}

if __name__ == "__main__":
    main()
