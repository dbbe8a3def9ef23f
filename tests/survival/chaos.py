"""Chaos: everything that can go wrong with a manager and its node, at once, and then a rest.

    round: editors and followers work, while programs die, hang and run short, their disk fills, and
           peers flood, stall and never read their answers; then all that ends, and within a minute
           what was acknowledged must run, and nothing else

    python tests/survival/chaos.py [--minutes 5] [--seed N] [--round SECONDS]

All of it talks to one Unix socket in a directory of its own, and everything it starts it ends. One
seed gives the same faults in the same order, though not at the same moments of the programs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import trio
from support_cluster import Place, cleared, pids_of
from support_up import Command, unique, wait_until
from write_load import Client

from warren.model.address import parse_address
from warren.model.errors import WarrenError
from warren.model.rpc import ClusterView
from warren.transport.client import open_gate

EDITORS = 2
FOLLOWERS = 40
STRANGERS = 150  # connections that ask for nothing, or for nonsense
UNREAD = 300  # calls whose answers nobody reads
REST = 90.0  # seconds
DISK = "24m"
_IS_UP = {"manager": "listening at", "node": "linked to the manager"}  # what its log says then
_STOPS_READING = """
import os, signal, sys, trio
from warren.model.address import parse_address
from warren.transport.client import open_gate
async def main():
    async with open_gate(parse_address(sys.argv[1])) as gate:
        view = await gate.view()
        async with trio.open_nursery() as nursery:
            for _ in range(int(sys.argv[2])):
                nursery.start_soon(view.tasks)
            await trio.sleep(0)
            os.kill(os.getpid(), signal.SIGSTOP)
trio.run(main)
"""


@dataclass
class Figures:
    """What was done and seen. `faults` counts by kind, sizes are in MiB."""

    rounds: int = 0
    acknowledged: int = 0
    followed: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    longest_rest: float = 0.0
    largest: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        sizes = ", ".join(f"{name} {size} MiB" for name, size in sorted(self.largest.items()))
        return (
            f"{self.rounds} rounds: {self.acknowledged} edits acknowledged, {self.followed} answers"
            f" to followers; {faults}; at rest within {self.longest_rest:.1f} s; at most {sizes}"
        )


class Chaos:
    """One place, its two programs, and what is done to them."""

    def __init__(self, place: Place, seed: int) -> None:
        self.figures = Figures()
        self._place = place
        self._chance = random.Random(seed)
        self._address = f"unix:{place.data}/warren.sock"
        names = [[unique(f"s{number}") for _ in range(3)] for number in range(EDITORS)]
        self._names = names
        self._programs: dict[str, Command] = {}

    async def run(self, seconds: float) -> None:
        """One round, and the rest after it. Raises AssertionError."""
        clients = [Client(self._address, names, self._derived()) for names in self._names]
        async with self._programs_up():
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.run)
                with trio.move_on_after(seconds):
                    async with trio.open_nursery() as trouble:
                        trouble.start_soon(self._follow)
                        trouble.start_soon(self._again, self._flood, 4.0)
                        trouble.start_soon(self._again, self._never_read, 7.0)
                        trouble.start_soon(self._again, self._fault, 1.5)
                await self._revive()
                for client in clients:
                    await client.finish()
            self.figures.rounds += 1
            self.figures.acknowledged += sum(client.acknowledged for client in clients)
            broken = [said for client in clients for said in client.broken]
            assert broken == [], broken
            began = time.monotonic()
            await trio.to_thread.run_sync(self._expect_rest, clients)
            self.figures.longest_rest = max(self.figures.longest_rest, time.monotonic() - began)
            await trio.to_thread.run_sync(self._remove_all)

    # Programs

    @contextlib.asynccontextmanager
    async def _programs_up(self) -> AsyncGenerator[None, None]:
        try:
            await self._revive()
            yield
        finally:
            for name in ("node", "manager"):
                command = self._programs.pop(name, None)
                if command is not None:
                    command.send(signal.SIGCONT)
                    await trio.to_thread.run_sync(command.__exit__)

    async def _revive(self) -> None:
        """Both run, and nothing is short."""
        (self._place.data / "filler").unlink(missing_ok=True)
        for name in ("manager", "node"):
            await self._start(name)

    async def _start(self, name: str) -> None:
        command = self._programs.get(name)
        if command is not None:
            if command.process.poll() is None:
                return
            command.__exit__()
        words = ["run", "--log-level", "info"]
        if name == "node":
            words += ["--name", self._place.node, "--data-dir", str(self._place.folder / "node")]
        env = {**self._place.env, "WARREN_ADDR": self._address}
        started = Command(name, *words, cwd=self._place.folder, env=env)
        self._programs[name] = started

    # Trouble

    async def _again(self, act: Callable[[], Awaitable[None]], pause: float) -> None:
        chance = self._derived()
        while True:
            await trio.sleep(chance.uniform(0.2, 2.0) * pause)
            await act()

    async def _fault(self) -> None:
        name = self._chance.choice(["manager", "node"])
        faults = (self._kill, self._kill, self._hang, self._run_short, self._kill_task)
        await self._chance.choice(faults)(name)
        if self._chance.random() < 0.2:
            await self._fill_disk()
        self._measure()

    async def _kill(self, name: str) -> None:
        command = self._programs[name]
        command.send(signal.SIGKILL)
        await trio.to_thread.run_sync(command.process.wait)
        self.figures.faults[f"kill -9 of the {name}"] += 1
        await trio.sleep(self._chance.choice([0.0, 0.1, 1.0]))
        await self._start(name)

    async def _hang(self, name: str) -> None:
        command = self._programs[name]
        command.send(signal.SIGSTOP)
        self.figures.faults[f"SIGSTOP of the {name}"] += 1
        try:
            await trio.sleep(self._chance.uniform(0.2, 3.0))
        finally:
            command.send(signal.SIGCONT)

    async def _run_short(self, name: str) -> None:
        """Of descriptors: fewer than it has. Who is up lives on; a start may fail, and says so."""
        if _IS_UP[name] not in self._programs[name].errors:
            await self._start(name)  # where it ended, as on a full disk
            return
        pid = self._programs[name].pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (self._chance.randrange(8, 40), before[1]))
        self.figures.faults[f"descriptors of the {name} short"] += 1
        try:
            await trio.sleep(self._chance.uniform(0.2, 2.0))
        finally:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert self._programs[name].process.poll() is None, self._programs[name].errors

    async def _kill_task(self, _: str) -> None:
        pids = await trio.to_thread.run_sync(self._place.pids)
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._chance.choice(sorted(pids)), signal.SIGKILL)
            self.figures.faults["kill -9 of a task"] += 1

    async def _fill_disk(self) -> None:
        if not self._place.data.is_mount():
            return
        filler = self._place.data / "filler"
        self.figures.faults["full disks"] += 1
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"x" * 65536):
                    pass
            await trio.sleep(self._chance.uniform(0.2, 2.0))
        finally:
            filler.unlink(missing_ok=True)

    async def _flood(self) -> None:
        """Strangers that connect and ask for nothing, or send nonsense, and go after a while."""
        foreign_nodes = list[socket.socket]()
        try:
            for _ in range(STRANGERS):
                sock = socket.socket(socket.AF_UNIX)
                foreign_nodes.append(sock)
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    sock.connect(self._address.removeprefix("unix:"))
                    if self._chance.random() < 0.3:
                        sock.send(self._chance.randbytes(self._chance.randrange(1, 400)))
            self.figures.faults["floods"] += 1
            await trio.sleep(self._chance.uniform(0.1, 2.0))
        finally:
            for sock in foreign_nodes:
                sock.close()

    async def _never_read(self) -> None:
        """A client that asks a lot, and then stops to read."""
        words = [sys.executable, "-c", _STOPS_READING, self._address, str(UNREAD)]
        client = await trio.lowlevel.open_process(words, stderr=subprocess.DEVNULL)
        self.figures.faults["peers that never read"] += 1
        try:
            await trio.sleep(self._chance.uniform(1.0, 4.0))
        finally:
            client.kill()
            with trio.CancelScope(shield=True):
                await client.wait()

    async def _follow(self) -> None:
        """Followers of logs and events, over as many links as it takes."""
        while True:
            try:
                async with open_gate(parse_address(self._address)) as gate:
                    await self._follow_all(await gate.view())
            except* WarrenError:
                pass
            await trio.sleep(0.2)

    async def _follow_all(self, view: ClusterView) -> None:
        tasks = [task.id for task in await view.tasks()]
        after = await view.last_event()
        async with trio.open_nursery() as nursery:
            for task in itertools.islice(itertools.cycle(tasks), FOLLOWERS):
                nursery.start_soon(self._count, partial(view.log, task))
            nursery.start_soon(self._count, partial(view.events, after=after, wait=True))

    async def _count(self, ask: Callable[[], Awaitable[object]]) -> None:
        while True:
            await ask()
            self.figures.followed += 1
            await trio.sleep(0.1)

    def _measure(self) -> None:
        for name, command in self._programs.items():
            with contextlib.suppress(OSError, IndexError):
                pages = int(Path(f"/proc/{command.pid}/statm").read_text().split()[1])
                size = pages * resource.getpagesize() >> 20
                self.figures.largest[name] = max(self.figures.largest[name], size)

    def _derived(self) -> random.Random:
        return random.Random(self._chance.random())

    # Rest

    def _expect_rest(self, clients: list[Client]) -> None:
        """What was acknowledged runs, each slot once, nothing else does, and Warren is well."""
        known = {name: k for client in clients for name, k in client.known.items() if k}
        wanted = {name: one.spec.replicas for name, one in known.items()}
        seen = dict[str, object]()

        def is_so() -> bool:
            services = {service["name"]: service for service in self._place.services()}
            healthy = {name: s["health"]["healthy"] for name, s in services.items()}
            pids = [pid for service in services.values() for pid in pids_of(service["tasks"])]
            seen.update(healthy=healthy, pids=sorted(pids), running=self._place.pids())
            return healthy == wanted and sorted(self._place.pids()) == sorted(pids)

        try:
            wait_until(is_so, "everything is at rest", seconds=REST)
            wait_until(self._is_well, "Warren is well", seconds=REST)
        except AssertionError as error:
            error.add_note(f"wanted {wanted}\nseen {seen}")
            raise

    def _is_well(self) -> bool:
        try:
            self._place.ask("status")
        except AssertionError:
            return False
        return True

    def _remove_all(self) -> None:
        for service in self._place.services():
            self._place.ask("service", "rm", service["name"])
        assert self._place.pids() == {}
        assert self._place.ask("db", "check").endswith(": well\n")


@contextlib.contextmanager
def _small_disk(path: Path) -> Generator[None, None, None]:
    """A disk of its own for the manager, where one can be had."""
    path.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(path)]
    done = subprocess.run(["mount", *options], capture_output=True, check=False)
    if done.returncode:
        print("no disk can be mounted here: none is filled", flush=True)
    try:
        yield
    finally:
        if not done.returncode:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--round", type=float, default=30.0, help="seconds")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="warren-chaos-") as folder:
        place = Place(Path(folder))
        with _small_disk(place.data), cleared(place):
            chaos = Chaos(place, asked.seed)
            while time.monotonic() < end:
                trio.run(chaos.run, min(asked.round, max(1.0, end - time.monotonic())))
                print(chaos.figures, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
