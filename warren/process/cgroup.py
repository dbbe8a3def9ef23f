"""Trees kept by cgroup2: no process leaves, and one write kills all.

    <mount>/<our own cgroup>/warren-<token>/5f3a9c01-7/             an instance
                                                      /check-3      a check, idle or running

A directory is made before its instance is known, so that a child may wait in it; the instance's id
is in its attribute INSTANCE_NAME (`getfattr -n user.warren.instance`). No controller is
needed, so this works beside v1 (a hybrid mount); limits need some (`controllers.py`). Directories
of ended checks are kept for the next one and go with the instance.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import secrets
import signal
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from warren.model.service import Resources
from warren.model.task import MemoryKill
from warren.model.usage import Usage
from warren.process import procfs
from warren.process.cgroup_limits import memory_kill_of, usage_of, write_limits
from warren.process.controllers import NONE, Controllers, give, root_of
from warren.process.deep_trees import walk_below
from warren.process.pauses import Pauses
from warren.process.procfs import Stat
from warren.process.reaper import Reaper
from warren.process.tree import (
    INSTANCE_VARIABLE,
    PASSING,
    TreeMark,
    born_since,
    mark,
    mark_of,
    send,
)

INSTANCE_NAME = "user.warren.instance"  # an attribute of the directory: cgroup2 renames none
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def find_base(token: str) -> Path | None:
    """Where this node's instances get their cgroups; None where no cgroup2 can be written."""
    mount, own = _mount(), procfs.cgroup2_path(os.getpid())
    if mount is None or own is None:
        return None
    base = root_of(mount / own.lstrip("/")) / f"warren-{token}"
    try:
        base.mkdir(exist_ok=True)
        os.setxattr(base, INSTANCE_NAME, b"")
        # A kernel before 5.14 has no cgroup.kill; may_write also detects a read-only mount.
        usable = os.access(base / "cgroup.kill", os.W_OK) and os.access(
            base.parent / "cgroup.procs", os.W_OK
        )
        base.rmdir()
    except OSError as error:
        return base if error.errno in (errno.EBUSY, errno.ENOTEMPTY) else None
    return base if usable else None


def is_below_mount(path: Path) -> bool:
    """Whether it is a cgroup of this machine, as it is mounted now."""
    mount = _mount()
    return mount is not None and path.is_relative_to(mount) and path.is_dir()


class Cgroups:
    """The trees below one base directory."""

    def __init__(self, base: Path, reaper: Reaper, controllers: Controllers = NONE) -> None:
        self.base = base
        self.controllers = controllers
        self._reaper = reaper
        self._inside = f"{_inner(base)}/"
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        reaper.add_owner(self._owns)
        if base.is_dir():  # as an earlier supervisor has left it
            give(base, controllers.given)

    def __repr__(self) -> str:
        return f"<Cgroups {self.base}>"

    @property
    def containment(self) -> str:
        return "cgroup"

    @property
    def limits(self) -> frozenset[str]:
        return self.controllers.given

    @property
    def no_limits(self) -> str:
        return self.controllers.lacking

    def create(self) -> CgroupTree:
        path = self.base / f"{self._prefix}-{next(self._numbers)}"
        try:
            path.mkdir()
        except FileNotFoundError:  # the base went with its last instance
            self.base.mkdir(exist_ok=True)
            give(self.base, self.controllers.given)
            path.mkdir()
        return CgroupTree(path, path.name, self._reaper)

    def left(self) -> dict[str, str]:
        paths = list[Path]()
        with contextlib.suppress(FileNotFoundError):
            paths = [path for path in self.base.iterdir() if path.is_dir()]
        found = {_instance_of(path) or path.name: str(path) for path in paths}
        return {k: v for k, v in found.items() if not k.startswith(f"{self._prefix}-")}

    def _owns(self, stat: Stat) -> bool:
        path = procfs.cgroup2_path(stat.pid)
        return path is not None and path.startswith(self._inside)


class CgroupTree:
    """One cgroup directory and all below it."""

    def __init__(
        self, path: Path, instance: str, reaper: Reaper, parent: CgroupTree | None = None
    ) -> None:
        self._path = path
        self._instance = instance
        self._reaper = reaper
        self._parent = parent
        self._root: CgroupTree = parent or self
        self._own = _inner(path) if parent is None else f"{parent._own}/{path.name}"  # noqa: SLF001
        self._idle = list[Path]()
        self._checks = 0
        self._since: TreeMark | None = None
        self._loose: int | None = None  # a process not moved here with all it had forked
        self._stopped = dict[int, Stat]()  # processes outside this cgroup, to be ended
        self._beyond = set[int]()  # set-uid programs under an unprivileged supervisor

    def __repr__(self) -> str:
        return f"<CgroupTree {self._path}>"

    @property
    def env(self) -> Mapping[str, str]:
        return _NO_VARIABLES if self._parent else {INSTANCE_VARIABLE: self._instance}

    @property
    def cgroup(self) -> str:
        return str(self._path)

    @property
    def handle(self) -> str:
        return str(self._path)

    def assign(self, instance: str) -> None:
        os.setxattr(self._path, INSTANCE_NAME, os.fsencode(instance))
        self._instance = instance

    def add(self, pid: int) -> None:
        self._since = since = mark_of(pid)
        self._loose = pid
        self._enter(pid)
        while escaped := [p for p in born_since(since) if self._has_escaped(p, {pid}) is not False]:
            for child in escaped:
                self._enter(child)
        self._loose = None

    def receive(self, pid: int) -> None:
        """Nothing to do: it was forked into this cgroup."""

    def branch(self) -> CgroupTree:
        if self._idle:
            path = self._idle.pop()
        else:
            self._checks += 1
            path = self._path / f"check-{self._checks}"
        if not path.exists():  # a program may have removed it
            path.mkdir(exist_ok=True)
        return CgroupTree(path, self._instance, self._reaper, self)

    def branches(self, found: Iterable[int]) -> list[CgroupTree]:
        left = sorted(self._path.glob("check-*"))
        self._checks += len(left)
        trees = [CgroupTree(path, self._instance, self._reaper, self) for path in left]
        if outside := [pid for pid in found if self._is_left(pid)]:
            trees.append(self.branch())
            for pid in outside:
                trees[-1]._enter(pid)  # noqa: SLF001  # its own branch
        return trees

    def discard(self) -> None:
        if self._parent is not None:
            self._parent._idle.append(self._path)  # noqa: SLF001  # its own branch
            return
        for path in (self._path, self._path.parent):
            with contextlib.suppress(OSError):
                path.rmdir()

    async def kill(self) -> None:
        since, members = self._since, list[Stat]()
        if since is not None and self._loose is not None:
            await self._end_loose(since, self._loose)
        if self._parent is None or since is None:
            since = mark()
        is_spent = self._is_populated()
        if is_spent:
            before, members = mark(), self._members()
            self._write("cgroup.kill", b"1")
            await self._wait_empty()
            members += self._born_in(before)
        members += self._born_in(since)
        members += self._stopped.values()  # their parent may have ended only now
        await self._reaper.wait_gone(members)
        if self._parent is None:
            await _remove(self._path)
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()  # the base is removed with its last instance
            self._reaper.reap_strays(hidden=False)  # its main hides others, and is reaped next
        elif is_spent:  # a kernel may kill what is forked into a cgroup that was killed once
            await _remove(self._path)
        else:
            self.discard()

    def pids(self) -> list[int]:
        found = list[int]()
        with contextlib.suppress(FileNotFoundError):
            walk_below(self._path, enter=lambda directory: found.extend(_pids_in(directory)))
        return found

    def limit(self, resources: Resources) -> None:
        write_limits(str(self._path), resources)

    def usage(self) -> Usage | None:
        return usage_of(str(self._path))

    def memory_kill(self) -> MemoryKill | None:
        return memory_kill_of(str(self._path))

    async def _end_loose(self, since: TreeMark, main: int) -> None:
        """End `main` and what it has forked, where that is outside this cgroup. Nothing is moved:
        moving may be what had failed."""
        begun = procfs.read_stat(main)
        while begun is not None:
            found = self._stop_loose(since, begun)
            for stat in found:
                self._signal(stat, signal.SIGKILL)
            await self._reaper.wait_gone(self._stopped.values())
            if not found:
                break

    def _stop_loose(self, since: TreeMark, main: Stat) -> list[Stat]:
        """The processes outside this cgroup, all of them stopped, so that none forks away."""
        found = dict[int, Stat]()
        while True:
            above = {main.pid, *self._stopped, *self._beyond}
            # Only where it is certain: by now the pid may be another's.
            pids = [p for p in born_since(since) if self._has_escaped(p, above) is True]
            stats = [procfs.read_stat(p) for p in (main.pid, *pids) if p not in found]
            new = [s for s in stats if s is not None and not s.is_dead and s.start >= main.start]
            new = [s for s in new if not self._root.is_inside(s.pid)]
            if not new:
                return [stat for stat in found.values() if stat.pid not in self._beyond]
            for stat in new:
                found[stat.pid] = self._stopped[stat.pid] = stat
                self._signal(stat, signal.SIGSTOP)

    def _signal(self, stat: Stat, number: signal.Signals) -> None:
        try:
            send(stat, number)
        except PermissionError:  # it is outside the cgroup, so the cgroup's kill does not end it
            self._beyond.add(stat.pid)
            self._stopped.pop(stat.pid, None)

    def _has_escaped(self, pid: int, above: Container[int]) -> bool | None:
        """Whether it came from here and is outside this instance's cgroup; None: it may."""
        stat = procfs.read_stat(pid)
        if stat is None or stat.is_dead or self._root.is_inside(pid):
            return False
        if stat.parent in above or stat.session in above or self._root.is_inside(stat.parent):
            return True
        marker = f"{INSTANCE_VARIABLE}={self._instance}".encode()
        has_it = procfs.has_marker(pid, marker)
        if has_it is None and stat.parent == os.getpid() and pid not in self._reaper.held:
            # In the middle of an exec. An orphan that came to us just now can only be ours.
            return None
        return bool(has_it)

    def _is_left(self, pid: int) -> bool:
        """Whether it is ours and still where its supervisor was. One that went elsewhere did so on
        purpose."""
        if self.is_inside(pid) or procfs.cgroup2_path(pid) != procfs.cgroup2_path(os.getpid()):
            return False
        return bool(procfs.has_marker(pid, f"{INSTANCE_VARIABLE}={self._instance}".encode()))

    def is_inside(self, pid: int) -> bool:
        """Whether the process, or the zombie, is in this cgroup or below it."""
        path = procfs.cgroup2_path(pid)
        return path is not None and f"{path}/".startswith(f"{self._own}/")

    def _born_in(self, since: TreeMark) -> list[Stat]:
        found = (procfs.read_stat(pid) for pid in born_since(since) if self.is_inside(pid))
        return [stat for stat in found if stat is not None]

    def _enter(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            self._write("cgroup.procs", b"%d" % pid)

    def _write(self, name: str, data: bytes) -> None:
        handle = os.open(f"{self._path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)

    def _read(self, name: str) -> bytes:
        handle = os.open(f"{self._path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(handle, 4096)
        finally:
            os.close(handle)

    def _is_populated(self) -> bool:
        try:
            return b"populated 1" in self._read("cgroup.events")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # removed, or at this moment
                raise
            return False

    def _members(self) -> list[Stat]:
        stats = (procfs.read_stat(pid) for pid in self.pids())
        return [stat for stat in stats if stat is not None]

    async def _wait_empty(self) -> None:
        # A short poll and not inotify: that would be a descriptor and a watch for 1 ms of waiting.
        pauses = Pauses()
        while self._is_populated():
            await pauses.wait()
            for stat in self._members():  # those left over: their first thread has ended
                with contextlib.suppress(PermissionError):
                    send(stat, signal.SIGKILL)


async def _remove(path: Path) -> None:
    """Remove a cgroup with all below it. The kernel may need a moment after the last death."""
    pauses = Pauses()
    while not _is_removed(path):
        await pauses.wait()


def _is_removed(path: Path) -> bool:
    with contextlib.suppress(OSError):  # most have nothing below them
        path.rmdir()
        return True
    with contextlib.suppress(FileNotFoundError):
        walk_below(path, leave=_remove_one)
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


def _remove_one(above: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=above)


def _pids_in(directory: int) -> list[int]:
    try:
        handle = os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(handle, "rb") as file:
            return [int(line) for line in file]
    except OSError as error:
        # Removed this moment; or a part of a threaded cgroup, whose first one has its processes.
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return []
        raise


def _instance_of(path: Path) -> str | None:
    try:
        return os.fsdecode(os.getxattr(path, INSTANCE_NAME))
    except OSError as error:
        if error.errno in PASSING:  # its owner cannot be determined now
            raise
        return None  # there is none, or the directory is gone


def _inner(path: Path) -> str:
    """The path as `/proc/PID/cgroup` shows it."""
    return f"/{path.relative_to(_mount() or '/')}"


@functools.cache
def _mount() -> Path | None:
    found = (Path(mount.point) for mount in procfs.mounts() if mount.kind == "cgroup2")
    return next(found, None)
