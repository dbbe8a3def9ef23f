"""The `process` runtime: instances are process trees on this machine, without any isolation.

Start:  a child in a tree, usually forked ahead -> sent its program -> record -> open the gate
Adopt:  boot, pid and start time agree -> watch it; else it has ended, and its tree is killed
Sweep:  all that carries this node's token and is not to be kept is killed, recorded or not

The token is a hash of node and data directory, so that two supervisors on one machine do not touch
each other's programs. It is in every program's environment and in the name of the cgroup.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from warren.logs.files import LogFiles
from warren.logs.lost_output import LostOutput, why_unusable
from warren.logs.watcher import serve_logs
from warren.model.interfaces import CannotRunError, Launch, Record, ShortageError
from warren.model.node_description import PROCESS, RuntimeInfo
from warren.model.service import Resources
from warren.model.task import End, Instance, Reason
from warren.process import procfs
from warren.process.choose_tree import TreeKind, choose_trees, find_tree, leave_trees
from warren.process.context import (
    Context,
    Credentials,
    cannot_run,
    credentials_of,
    is_shortage,
)
from warren.process.exit_status import end_of
from warren.process.listeners import Listeners
from warren.process.main_process import MainProcess
from warren.process.prefork import PreforkedChildren, PreparedStart
from warren.process.program_lookup import ProgramLookup
from warren.process.reaper import Reaper, serve_reaping
from warren.process.spawn import NotFoundError, Starter
from warren.process.tree import INSTANCE_VARIABLE, ProcessTree, after_shortage
from warren.process.unkillable import UnkillableTrees
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions
from warren.rules.requirements import limit_word
from warren.runtime.instance import ProcessInstance

TOKEN_VARIABLE = "WARREN_TOKEN"
NO_RESOURCES = Resources()
_UNLOGGED = "unlogged"  # in an instance's handle: why its output is lost
_log = logging.getLogger("warren.process")
_FIRST_STEPS = 0.005  # seconds that an exec and what a program does first take, about


class ProcessRuntime:
    """Implements `NodeRuntime` with processes. `log_limit` is in bytes; `trees` None takes the best
    kind; `soft_limit` of descriptors is what programs get, None leaves them this process's own."""

    def __init__(
        self,
        *,
        data_dir: Path,
        node: str,
        trees: TreeKind | None = None,
        log_limit: int = 10 << 20,
        log_keep: int = 3,
        conditions: Conditions | None = None,
        soft_limit: int | None = None,
    ) -> None:
        self.token = _token(data_dir, node)
        self._reaper = Reaper()
        self.trees = choose_trees(trees, token=self.token, reaper=self._reaper)
        self.preforked = PreforkedChildren(self.trees, Starter(soft_limit=soft_limit), self._reaper)
        self._listeners = Listeners()
        self._boot = procfs.boot_id()
        # Weak: an instance belongs to its task's nursery, and is kept by that alone.
        self._instances = weakref.WeakValueDictionary[str, ProcessInstance]()
        self._left: dict[str, list[int]] | None = None  # pids an earlier supervisor has left
        self._conditions = conditions or Conditions()
        self._unkillable = UnkillableTrees(self._conditions)
        self._unlogged = LostOutput(self._conditions)
        self._lookup = ProgramLookup()
        self.logs = LogFiles(data_dir / "logs", limit=log_limit, keep=log_keep)

    def __repr__(self) -> str:
        return f"<ProcessRuntime {self.trees!r}, {len(self._instances)} instances>"

    @property
    def info(self) -> RuntimeInfo:
        """It is there wherever the supervisor runs; what it can limit depends on its cgroup."""
        limits = tuple(map(limit_word, sorted(self.trees.limits)))
        return RuntimeInfo(name=PROCESS, features=limits, no_limits=self.trees.no_limits)

    changed = None  # it always is there

    @property
    def starter(self) -> Starter:
        """What starts programs."""
        return self.preforked.starter

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reap orphans and watch the logs, until cancelled; then the starting helper ends as well.

        Enter it before what starts instances.
        """
        with ExitStack() as ending:
            ending.callback(leave_trees, self.trees)
            ending.enter_context(closing(self.starter))
            with suppress(CannotRunError):  # the first start raises it
                self.starter.open()
            async with trio.open_nursery() as nursery:
                reaping = Boundary("reaping", self._conditions)
                await nursery.start(serve_reaping, self._reaper, reaping)
                watching = Boundary("watching logs", self._conditions)
                await nursery.start(serve_logs, self.logs, watching)
                await nursery.start(self._unkillable.serve)
                missing = Boundary("watching for lost output", self._conditions)
                nursery.start_soon(self._unlogged.serve, missing)
                await nursery.start(self.preforked.serve)
                task_status.started()

    async def start(self, launch: Launch, *, record: Record) -> ProcessInstance:
        await trio.lowlevel.checkpoint_if_cancelled()
        marks = {INSTANCE_VARIABLE: launch.id, TOKEN_VARIABLE: self.token}
        context = Context(
            env={**launch.env, **marks},
            cwd=launch.spec.cwd,
            credentials=credentials_of(launch.spec.user),
            new_privileges=launch.spec.new_privileges,
        )
        self._reaper.prepare()
        begun = await self.preforked.take(launch.command[0])
        identity = self._identity(launch, begun, context)
        running = self._made(identity, begun.main, begun.tree, context)
        try:
            await self._tell(begun, launch, context, running)
            await record(running.instance)
            await begun.gated.open(settle=_FIRST_STEPS)
        except NotFoundError:
            await running.kill()
            with suppress(ShortageError):  # what the child reports is true all the same
                await self._lookup.find(context, launch.command)  # which raises the reason
            raise
        except BaseException:
            begun.gated.close()
            await running.kill()
            raise
        return running

    async def adopt(self, instance: Instance) -> ProcessInstance | End:
        # Nothing below can be cancelled but `after_shortage`.
        await trio.lowlevel.cancel_shielded_checkpoint()
        handle = instance.handle
        if handle.get("boot") != self._boot:
            message = "ended when the machine went down"
            return End(reason=Reason.REBOOTED, message=message, at=time.time())
        context = Context(
            env=msgspec.json.decode(handle.get("env", "{}"), type=dict[str, str]),
            cwd=handle.get("cwd"),
            credentials=_credentials(handle.get("ids")),
            new_privileges="new_privileges" in handle,
        )
        self._reaper.prepare()
        pid, start = instance.pid or 0, int(handle.get("start", 0))
        # Despite any shortage: what is not adopted here is lost or doubled.
        main = await after_shortage(lambda: MainProcess.stranger(pid, start, reaper=self._reaper))
        try:
            tree = await after_shortage(
                lambda: find_tree(
                    instance.id, handle.get("cgroup", ""), pid=pid, start=start, reaper=self._reaper
                )
            )
            branches = await self._left_checks(instance, tree)
            if main is not None and not main.look():
                running = self._made(instance, main, tree, context)
                for branch in branches:
                    await running.kill_check(branch)
                self._note_unlogged(running)
                return running
            memory = tree.memory_kill()
            stuck = [branch for branch in branches if not await self._unkillable.kill(branch)]
            await self._unkillable.kill_but(tree, stuck)
        except BaseException:
            if main is not None:
                main.leave()
            raise
        status = None
        if main is not None:
            main.close()
            status = main.status
        elif memory is None or memory.limit_bytes is None:
            return _lost("ended while no supervisor watched it; its exit code is unknown")
        return end_of(status, memory)

    def age(self, instance: Instance) -> float | None:
        began = instance.handle.get("began")
        if began is None or instance.handle.get("boot") != self._boot:
            return None
        return max(0.0, time.monotonic() - float(began))

    async def _left_checks(self, instance: Instance, tree: ProcessTree) -> Sequence[ProcessTree]:
        if self._left is None:
            self._left = await after_shortage(self._marked)
        found = self._left.get(instance.id, ())
        return await after_shortage(lambda: tree.branches(found))

    async def sweep(
        self, keep: frozenset[str], *, spare: tuple[str, ...] = (), only: str = ""
    ) -> list[str]:
        await trio.lowlevel.checkpoint()
        # Despite any shortage: it may be called while tasks run.
        handles = await after_shortage(self.trees.left)
        marked = await after_shortage(self._marked)
        found = {*handles, *self._instances, *marked} - keep
        found = {name for name in found if name.startswith(only) and not name.startswith(spare)}
        for name in sorted(found):
            running = self._instances.get(name)
            if running is not None:
                await running.kill()
            sought = partial(self._trees_of, name, handles.get(name, ""), marked.get(name, ()))
            try:
                trees, checks = await after_shortage(sought)
                for tree in trees:
                    if only:  # a caller waits to take its place
                        await self._unkillable.kill_but(tree, checks)
                    else:
                        await self._unkillable.kill(tree)
            except OSError as error:  # the others are ended all the same
                if only:
                    raise
                _log.warning("%s cannot be ended: %s", name, error)
        # Where a child was only ready for the next start there was no instance.
        return sorted(name for name in found if not handles.get(name, "").endswith(f"/{name}"))

    def _trees_of(
        self, name: str, handle: str, found: Sequence[int]
    ) -> tuple[list[ProcessTree], list[ProcessTree]]:
        """The trees an instance may be in, and those of its checks."""
        trees = [
            find_tree(name, each, pid=0, start=0, reaper=self._reaper) for each in ("", handle)
        ]
        return trees, [branch for tree in trees for branch in tree.branches(found)]

    def _marked(self) -> dict[str, list[int]]:
        """The pids of this node's programs, by instance, from their environment."""
        token = f"{TOKEN_VARIABLE}={self.token}".encode()
        found = dict[str, list[int]]()
        for pid in procfs.all_pids():
            name = procfs.has_marker(pid, token) and procfs.read_environ(pid).get(INSTANCE_VARIABLE)
            if name:
                found.setdefault(name, []).append(pid)
        return found

    async def _tell(
        self, begun: PreparedStart, launch: Launch, context: Context, running: ProcessInstance
    ) -> None:
        what = str(launch.task)  # not the instance: each try would be news
        try:
            begun.tree.assign(launch.id)
            if launch.spec.resources != NO_RESOURCES:
                begun.tree.limit(launch.spec.resources)
            what = str(self.logs.path(launch.task))
            output = await self._output(running)
            try:
                what = launch.command[0]
                begun.gated.tell(launch.command, context, output=output)
            finally:
                os.close(output)
        except OSError as error:
            raise cannot_run(error, what) from error

    async def _output(self, running: ProcessInstance) -> int:
        """Where it writes to: its log, or /dev/null where that cannot be opened. Raises OSError."""
        instance = running.instance
        try:
            output = await self.logs.begin(instance.task, instance.id)
        except OSError as error:
            if is_shortage(error):
                raise
            path = str(self.logs.path(instance.task))
            running.mark(_UNLOGGED, why_unusable(error, path))
            self._note_unlogged(running)
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._unlogged.forget(instance.task)
        return output

    def _note_unlogged(self, running: ProcessInstance) -> None:
        """Note it where its output is not kept."""
        instance, known = running.instance, weakref.ref(running)

        def has_ended() -> bool:
            there = known()
            return there is None or there.is_gone

        if _UNLOGGED in instance.handle:
            self._unlogged.note(instance.task, instance.handle[_UNLOGGED], has_ended)

    def _made(
        self, identity: Instance, main: MainProcess, tree: ProcessTree, context: Context
    ) -> ProcessInstance:
        running = self._instances[identity.id] = ProcessInstance(
            identity, main, tree, context, self._reaper, self.starter, self._listeners,
            self._unkillable, self._lookup,
        )  # fmt: skip
        return running

    def _identity(self, launch: Launch, begun: PreparedStart, context: Context) -> Instance:
        handle = {
            "boot": self._boot,
            "start": str(begun.main.start),
            # Its process may have been forked long before; one clock for all until the next boot.
            "began": str(time.monotonic()),
            "cgroup": begun.tree.handle,
            # What checks in an adopted instance need: many servers overwrite their environment.
            "env": msgspec.json.encode(dict(context.env)).decode(),
        }
        if launch.spec.cwd is not None:
            handle["cwd"] = launch.spec.cwd
        if context.credentials is not None:  # by number: the name may be gone by then
            handle["ids"] = msgspec.json.encode(context.credentials).decode()
        if context.new_privileges:
            handle["new_privileges"] = "yes"
        return Instance(
            id=launch.id,
            task=launch.task,
            pid=begun.main.pid,
            started_at=time.time(),
            address=launch.spec.address,
            ports=launch.ports,
            handle=handle,
        )


def is_there(instance: Instance) -> bool:
    """Whether an instance's own process runs; it is not adopted."""
    if instance.handle.get("boot") != procfs.boot_id():
        return False
    stat = procfs.read_stat(instance.pid or 0)
    start = int(instance.handle.get("start", 0))
    return stat is not None and stat.start == start and not stat.is_dead


def _credentials(ids: str | None) -> Credentials | None:
    return None if ids is None else msgspec.json.decode(ids, type=Credentials)


def _lost(message: str) -> End:
    return End(reason=Reason.LOST, message=message, at=time.time())


def _token(data_dir: Path, node: str) -> str:
    return hashlib.sha256(f"{node}\0{data_dir.resolve()}".encode()).hexdigest()[:12]
