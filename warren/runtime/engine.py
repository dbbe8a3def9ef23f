"""The runtime of a container engine, Docker's or Podman's: instances are containers of its.

Start:  image -> created, with labels -> record -> started -> its address and pid
Adopt:  by the container's id; while the engine is away by the record alone, until it is back
Sweep:  every container with this node's label that is of no instance is removed, by label alone

The label has the token of node and data directory: two supervisors on one engine leave each other
alone, and what neither made is never touched (S30). An engine that is away is a condition of the
node (S29): nothing is restarted for it, and starts wait with that reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio

from warren.engine.answers import Container, Created, EngineEvent, Image, Listed
from warren.engine.client import EngineClient
from warren.engine.container_body import FEATURES as HONOURED
from warren.engine.container_body import INSTANCE, NODE, container_body, container_name
from warren.engine.errors import EngineAwayError, EngineError, EngineRefusedError
from warren.engine.places import EnginePlaces
from warren.logs.appending import SlotAppender
from warren.logs.files import LogFiles
from warren.model.interfaces import CannotRunError, Launch, NotYetError, Record
from warren.model.mount import MountType
from warren.model.node_description import RuntimeInfo
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, Reason
from warren.process import procfs
from warren.resilience.boundary import survived
from warren.resilience.conditions import Conditions
from warren.runtime.engine_images import EngineImages
from warren.runtime.engine_instance import EngineInstance, lost, remove
from warren.runtime.engine_link import EngineLink
from warren.runtime.engine_output import CursorFile, OutputCopy

FEATURES = (*HONOURED, "pull-policy")
_log = logging.getLogger("warren.engine")


class EngineRuntime:
    """Implements `NodeRuntime` with the containers of one engine. `token` is of this node and data
    directory; `logs` keeps the output of all runtimes."""

    def __init__(
        self,
        places: EnginePlaces,
        *,
        token: str,
        data_dir: Path,
        logs: LogFiles,
        conditions: Conditions,
    ) -> None:
        self.name = places.name
        self.logs = logs
        self.changed = trio.Event()
        self._token = token
        self._cursors = data_dir / "engine"
        self._boot = procfs.boot_id()
        self._instances: dict[str, EngineInstance] = {}
        self._starting = set[str]()
        self._keep: frozenset[str] | None = None  # recorded, and not adopted yet; None: not told
        self._spare: tuple[str, ...] = ()
        self._nursery: trio.Nursery | None = None
        self._images: EngineImages | None = None
        self._catching_up = trio.Lock()
        self._link = EngineLink(
            places,
            conditions,
            label=f"{NODE}={token}",
            used=lambda: len(self._instances),
            catch_up=self._catch_up,
            hear=self._hear,
            tell=self._note_change,
        )

    def __repr__(self) -> str:
        return f"<EngineRuntime {self._link!r}, {len(self._instances)} instances>"

    @property
    def info(self) -> RuntimeInfo:
        return RuntimeInfo(
            name=self.name,
            version=self._link.version,
            features=FEATURES,
            unavailable=self._link.trouble,
        )

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep in touch with the engine, pull, and copy output, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._images = EngineImages(nursery)
                await nursery.start(self._link.serve)
                task_status.started()
        finally:
            self._nursery = None

    def _note_change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    # Start

    async def start(self, launch: Launch, *, record: Record) -> EngineInstance:
        await trio.lowlevel.checkpoint_if_cancelled()
        client = self._link.client
        if client is None:
            self._link.doubt()
            raise NotYetError(f"{self.name} does not answer: {self._link.trouble}")
        self._starting.add(launch.id)
        try:
            return await self._start(client, launch, record)
        except EngineAwayError as error:
            self._link.doubt()
            raise NotYetError(f"{self.name} does not answer: {error}") from None
        except EngineRefusedError as error:
            raise CannotRunError(f"{self.name}: {error}") from None
        finally:
            self._starting.discard(launch.id)

    async def _start(self, client: EngineClient, launch: Launch, record: Record) -> EngineInstance:
        assert self._images is not None
        assert launch.spec.image is not None
        image = await self._images.ready(client, launch.spec.image, launch.spec.pull)
        _check_paths(launch.spec)
        container = await self._create(client, launch, image)
        running = self._made(self._identity(launch, container, image))
        try:
            await record(running.instance)
            await client.do("POST", f"/containers/{container}/start")
            found = await client.get(f"/containers/{container}/json", Container)
            running.note_started(found)
            self._copy_output(running, is_new=True)
            if not found.state.running:
                await running.look()
        except BaseException:
            await running.kill()
            raise
        return running

    async def _create(self, client: EngineClient, launch: Launch, image: Image) -> str:
        """Not cut short when cancelled: its container would be nobody's for a while."""
        body = container_body(launch, image=image, token=self._token, kind=self._link.kind)
        query = {"name": container_name(launch)}
        with trio.CancelScope(shield=True):
            created = await client.post("/containers/create", Created, query=query, body=body)
            return created.id
        raise AssertionError("nothing cancels a shield of its own")

    def _identity(self, launch: Launch, container: str, image: Image) -> Instance:
        handle = {
            "container": container,
            "boot": self._boot,
            "began": str(time.monotonic()),
            "image": image.id,
        }
        signal = image.config.stop_signal if image.config is not None else None
        if signal:
            handle["stop_signal"] = str(signal)
        return Instance(
            id=launch.id,
            task=launch.task,
            started_at=time.time(),
            ports=launch.ports,
            handle=handle,
            runtime=self.name,
        )

    # Adopt

    async def adopt(self, instance: Instance) -> EngineInstance | End:
        # Nothing below waits for an engine that is away.
        await trio.lowlevel.cancel_shielded_checkpoint()
        running = self._made(instance)
        if self._keep is not None:
            self._keep -= {instance.id}
        if instance.handle.get("boot") != self._boot:
            message = "ended when the machine went down"
            end = End(reason=Reason.REBOOTED, message=message, at=time.time())
            return await self._cleared(running, end)
        found: Container | None = None
        with trio.CancelScope(shield=True):
            try:
                if self._link.client is not None:
                    found = await self._find(self._link.client, running)
            except EngineError as error:
                _log.warning("%s is adopted by its record alone: %s", instance.id, error)
                self._link.doubt()
        if found is None:
            self._link.doubt()
        elif not found.state.was_started:
            return await self._cleared(running, lost("was not started: its supervisor had ended"))
        self._copy_output(running)
        if running.ended.is_set():
            return await self._cleared(running, await running.wait())
        if found is not None:
            running.note_started(found)
        return running

    async def _find(self, client: EngineClient, running: EngineInstance) -> Container | None:
        await running.look()
        if running.ended.is_set():
            return None
        return await client.get(f"/containers/{running.container}/json", Container)

    async def _cleared(self, running: EngineInstance, end: End) -> End:
        running.note_end(end)
        await running.kill()
        return end

    def age(self, instance: Instance) -> float | None:
        began = instance.handle.get("began")
        if began is None or instance.handle.get("boot") != self._boot:
            return None
        return max(0.0, time.monotonic() - float(began))

    # Sweep

    async def sweep(
        self, keep: frozenset[str], *, spare: tuple[str, ...] = (), only: str = ""
    ) -> list[str]:
        """While the engine is away what is to be swept is swept when it is back."""
        await trio.lowlevel.checkpoint()
        if only:
            self._spare = tuple(one for one in self._spare if not only.startswith(one))
            for running in [r for name, r in self._instances.items() if name.startswith(only)]:
                await running.kill()
        else:
            self._spare = spare
        if not only or self._keep is None:
            self._keep = keep
        else:
            self._keep = frozenset(name for name in self._keep if not name.startswith(only)) | keep
        client = self._link.client
        try:
            return [] if client is None else await self._clear_strays(client)
        except EngineError as error:
            _log.warning("%s is swept later: %s", self.name, error)
            self._link.doubt()
            return []

    async def _catch_up(self, client: EngineClient) -> None:
        for stray in await self._clear_strays(client):
            _log.warning("removed the container of %s, which was of no instance", stray)

    async def _clear_strays(self, client: EngineClient) -> list[str]:
        """Compare what there is with what there should be. Returns the ids of what was removed."""
        async with self._catching_up:
            filters = msgspec.json.encode({"label": [f"{NODE}={self._token}"]}).decode()
            query = {"all": "true", "filters": filters}
            known = set(self._instances)
            listed = await client.get("/containers/json", list[Listed], query=query)
            by_name = {one.label(INSTANCE): one for one in listed}
            for name in known & set(self._instances):
                if name not in by_name or by_name[name].state != "running":
                    self._look_soon(self._instances[name])
            if self._keep is None:
                return []
            strays = [one for one in listed if self._is_stray(one.label(INSTANCE))]
            for one in strays:
                await remove(client, one.id)
            return sorted(one.label(INSTANCE) for one in strays)

    def _is_stray(self, name: str) -> bool:
        assert self._keep is not None
        is_known = name in self._instances or name in self._starting or name in self._keep
        return not is_known and not (self._spare and name.startswith(self._spare))

    # What happens

    def _hear(self, event: EngineEvent) -> None:
        for running in self._instances.values():
            if running.container == event.actor.id:
                self._spawn(running.await_end)

    def _look_soon(self, running: EngineInstance) -> None:
        async def look() -> None:
            await self._link.wait_up()
            try:
                await running.look()
            except EngineError as error:
                _log.debug("%s: %s", running.instance.id, error)

        self._spawn(look)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            with survived(f"what {self.name} has to do"):
                await work()

        if self._nursery is not None:
            self._nursery.start_soon(guarded)

    def _made(self, instance: Instance) -> EngineInstance:
        cursor = CursorFile(self._cursors / instance.id)
        running = EngineInstance(instance, self._link, cursor, self._forget)
        self._instances[instance.id] = running
        return running

    def _forget(self, running: EngineInstance) -> None:
        if self._instances.get(running.instance.id) is running:
            del self._instances[running.instance.id]

    def _copy_output(self, running: EngineInstance, *, is_new: bool = False) -> None:
        """Begin to copy its output; where it is new that is noted in the file."""
        self._cursors.mkdir(mode=0o750, parents=True, exist_ok=True)
        instance = running.instance
        running.output = OutputCopy(
            instance,
            running.container,
            SlotAppender(self.logs, instance.task),
            CursorFile(self._cursors / instance.id),
            here=self._link.here,
            ended=running.ended,
            is_new=is_new,
        )
        self._spawn(running.output.run)


def _check_paths(spec: ServiceSpec) -> None:
    """Refuse a path that is not there: Podman would make it. Raises CannotRunError."""
    for mount in spec.mounts:
        source = mount.source
        if mount.type is MountType.BIND and source is not None and not Path(source).exists():
            raise CannotRunError(f"mounts: {source}: there is no such path on this node")
