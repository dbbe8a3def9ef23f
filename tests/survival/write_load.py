"""Clients that edit services over the wire, and remember what was acknowledged.

Every client has names of its own. An edit whose answer was lost with the link is in doubt: the
service is then as it was before or as it was to be, and nothing else.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec
import trio
import yaml

from warren.manifest.service_file import load_text
from warren.model.address import parse_address
from warren.model.errors import (
    ConflictError,
    LinkLostError,
    OverloadedError,
    UnavailableError,
)
from warren.model.rpc import Cluster
from warren.model.service import ServiceSpec
from warren.model.view import ServiceView
from warren.transport.client import open_gate

GONE = None


def spec(name: str, **fields: object) -> ServiceSpec:
    """A small service."""
    fields.setdefault("command", ["sleep", "1000"])
    fields.setdefault("stop", {"grace": "2s"})
    return load_text(yaml.safe_dump({"services": {name: fields}}))[0]


class Known(msgspec.Struct, frozen=True):
    """A service as it was acknowledged."""

    spec: ServiceSpec
    version: int


@dataclass
class Client:
    """One client. `acknowledged` counts its edits, `broken` says what was promised and is not."""

    address: str
    names: list[str]
    chance: random.Random
    known: dict[str, Known | None] = field(default_factory=dict[str, "Known | None"])
    doubt: dict[str, Known | None] = field(default_factory=dict[str, "Known | None"])
    acknowledged: int = 0
    broken: list[str] = field(default_factory=list[str])
    _stopping: trio.Event = field(default_factory=trio.Event)
    _stopped: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        """Edit until `finish`, over as many links as it takes."""
        address = parse_address(self.address)
        while not self._stopped.is_set():
            try:
                async with open_gate(address) as gate:
                    cluster = await gate.login()
                    self._settle(await cluster.services())
                    while not self._stopping.is_set():
                        await trio.sleep(self.chance.uniform(0, 0.05))
                        await self._edit(cluster)
                    self._settle(await cluster.services())
                    self._stopped.set()
            except (LinkLostError, OverloadedError, UnavailableError):
                await trio.sleep(0.02)

    async def finish(self) -> None:
        """No more edits; all that is left is settled."""
        self._stopping.set()
        with trio.fail_after(30):
            await self._stopped.wait()

    def _settle(self, views: list[ServiceView]) -> None:
        """Compare what is with what was acknowledged; doubt ends."""
        mine = {v.spec.name: v for v in views if v.spec.name in self.names}
        for name in self.names:
            view = mine.get(name)
            found = None if view is None else Known(view.spec, view.version)
            if view is not None and view.is_removing:
                found = GONE  # it is being ended; nobody can edit it any more
            before = self.known.get(name)
            allowed = [before, *([self.doubt[name]] if name in self.doubt else [])]
            if found not in allowed:
                self.broken.append(f"{name}: {found}, acknowledged {before}, allowed {allowed}")
            self.known[name] = found
        self.doubt.clear()

    async def _edit(self, cluster: Cluster) -> None:
        name = self.chance.choice(self.names)
        before = self.known.get(name)
        if before is None:
            wanted: Known | None = Known(self._spec(name), 1)
        elif (draw := self.chance.random()) < 0.15:
            wanted = None
        elif draw < 0.6:
            replicas = (before.spec.replicas + 1) % 4
            scaled = msgspec.structs.replace(before.spec, replicas=replicas)
            wanted = Known(scaled, before.version + 1)
        else:
            wanted = Known(self._spec(name), before.version + 1)
        self.doubt[name] = wanted
        try:
            answer = await self._ask(cluster, name, before, wanted)
        except (ConflictError, UnavailableError, OverloadedError):
            # The removal of it before is under way, the disk is full, or too much is asked.
            del self.doubt[name]
            await trio.sleep(0.02)
            return
        del self.doubt[name]
        self.known[name] = wanted
        self.acknowledged += 1
        if answer is not None and Known(answer.spec, answer.version) != wanted:
            self.broken.append(f"{name}: wanted {wanted}, was answered {answer}")

    async def _ask(
        self, cluster: Cluster, name: str, before: Known | None, wanted: Known | None
    ) -> ServiceView | None:
        if wanted is None:
            return await cluster.remove(name)
        if before is None:
            return await cluster.create(wanted.spec)
        if msgspec.structs.replace(before.spec, replicas=wanted.spec.replicas) == wanted.spec:
            return await cluster.scale(name, wanted.spec.replicas)
        return await cluster.update(wanted.spec)

    def _spec(self, name: str) -> ServiceSpec:
        env = {"V": str(self.chance.randrange(1_000_000))}
        return spec(name, replicas=self.chance.randrange(4), env=env)
