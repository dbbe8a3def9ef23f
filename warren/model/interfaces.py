"""The interfaces that a task runs on, and what implements them.

Real processes, containers and scripted instances all implement `Runtime`; the journal is a file in
a real supervisor and a dictionary in a simulation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Protocol

import msgspec

from warren.model.check import Args, Argv, Check, Outcome
from warren.model.errors import WarrenError
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, TaskRecord
from warren.model.usage import Usage
from warren.model.view import LogPiece, LogWanted, SlotName


class CannotRunError(WarrenError):
    """A command could not be started at all: missing, not executable, no descriptors left."""


class ShortageError(CannotRunError):
    """A command could not be started now, whatever it is: the node is short of descriptors,
    processes, memory or disk."""


class NotYetError(CannotRunError):
    """It cannot be started for now, and that is no failure of its own: its engine does not answer,
    or its image is not there yet. `str()` is what it waits for. It counts as no restart (S28)."""


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a command in a task's context ended. `duration` is seconds since it had started.

    `exit_code` is None when a signal ended it (`signal`, such as `SIGKILL`) or `timed_out`.
    `output` is stdout and stderr together, its first bytes up to the limit asked for.
    """

    exit_code: int | None
    signal: str | None = None
    timed_out: bool = False
    output: bytes = b""
    duration: float = 0.0


class PlaceWait(Protocol):
    """Called for an attempt that has to wait for a place (S10)."""

    def begin(self) -> None:
        """It waits from now on."""
        ...

    def end(self) -> None:
        """It no longer waits: it has its place or was cancelled."""
        ...


class OwnsListener(Protocol):
    """Whether the instance itself listens on a TCP port of this machine; None: cannot be known."""

    async def __call__(self, port: int) -> bool | None: ...


class RunInContext(Protocol):
    """Run a command where the task runs. Raises CannotRunError. Leaves nothing behind (S13)."""

    async def __call__(self, argv: Argv, *, timeout: float, output_limit: int) -> CommandResult: ...


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The target of a check: the instance's address, its named ports and a way to run commands.

    `service` is its service: places are shared over services, and `waiting` is called for a wait
    for one (S10). `owns_listener` tells whether it is the instance that answers.
    """

    address: str = "127.0.0.1"
    ports: Mapping[str, int] = MappingProxyType({})
    run: RunInContext | None = None
    service: str = ""
    owns_listener: OwnsListener | None = None
    waiting: PlaceWait | None = None


class RunCheck(Protocol):
    """One attempt: ask, and answer within `timeout` seconds with an outcome. Never raises (S1)."""

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome: ...


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """All a runtime needs to start an instance. `env` is complete; `command` is expanded, and empty
    where it is the image's own; so are `args`, None where they are its own."""

    id: str
    task: TaskId
    spec: ServiceSpec
    command: Argv
    env: Mapping[str, str]
    ports: Mapping[str, int]
    args: Args | None = None


class RunningInstance(Protocol):
    """A started instance. Owned by one task's nursery."""

    @property
    def instance(self) -> Instance:
        """Its identity; `instance.handle` is what `Runtime.adopt` needs to find it again."""
        ...

    async def wait(self) -> End:
        """Wait for the main process's end. May be awaited again; returns the same end."""
        ...

    async def signal(self, number: int) -> None:
        """Send a signal to the main process; harmless when it has ended."""
        ...

    async def kill(self) -> None:
        """Kill the whole tree and wait until nothing of it is left (S15). Harmless twice.

        Finishes its work when cancelled: it ends everything that it started.
        """
        ...

    def leave(self) -> None:
        """Release it and leave it running: a later supervisor adopts it. No command runs in it."""
        ...

    async def run(self, argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
        """Run a command in this instance's context: a `RunInContext`."""
        ...

    async def owns_listener(self, port: int) -> bool | None:
        """Whether it listens on the port itself: an `OwnsListener`."""
        ...

    async def usage(self) -> Usage | None:
        """What it uses now, its checks included (S27); None where that cannot be known."""
        ...


Record = Callable[[Instance], Awaitable[None]]


class Runtime(Protocol):
    """Starts and adopts instances: one kind of them, or (`Runtimes`) all that a node can run."""

    async def start(self, launch: Launch, *, record: Record) -> RunningInstance:
        """Start an instance. Raises CannotRunError, with nothing left behind, also when cancelled.

        `record` is awaited once the instance exists and before its program runs, so that an
        instance is never running without being written down.
        """
        ...

    async def adopt(self, instance: Instance) -> RunningInstance | End:
        """Take over an instance recorded by an earlier supervisor, or tell how it ended (S21).

        A shortage delays it. Only while it does so can it be cancelled, and then it has taken
        nothing over.
        """
        ...

    def age(self, instance: Instance) -> float | None:
        """Seconds since a recorded instance was started, by a clock that is never set; None where
        that cannot be known."""
        ...

    async def sweep(
        self, keep: frozenset[str], *, spare: tuple[str, ...] = (), only: str = ""
    ) -> list[str]:
        """End every instance of this node whose id is not in `keep`, begins with none of `spare`
        and begins with `only`; returns their ids. A shortage delays it; with `only` each is waited
        for until it is gone."""
        ...


class Journal(Protocol):
    """What a supervisor records of its tasks. The journal handles a failing disk itself: it reports
    it, goes on in memory, and writes again when it can."""

    def load(self) -> list[TaskRecord]:
        """Every record that can be read, oldest task first."""
        ...

    def set_aside(self) -> Mapping[TaskId, str]:
        """The tasks whose records cannot be read, and why; after `load`. They are kept as they
        are until they are saved or forgotten."""
        ...

    def save(self, record: TaskRecord) -> None:
        """Write or replace a task's record; it survives this process once it is settled, which it
        mostly is at once."""
        ...

    def save_all(self, records: Iterable[TaskRecord]) -> None:
        """Write or replace the records of many tasks at once, as `save` does."""
        ...

    def forget(self, task: TaskId) -> None:
        """Drop a task's record; harmless when there is none."""
        ...

    async def settle(self) -> None:
        """Wait until all that was saved survives this process; not for ever where a disk hangs."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why it cannot be written now; None where it can."""
        ...

    def recheck(self) -> None:
        """Where it could not be written, try again: call it now and then."""
        ...

    def node_id(self) -> str:
        """The id of this node: made once, and kept as long as the journal is."""
        ...

    def manager_id(self) -> str:
        """The id of the manager this node belongs to; empty where it has had none."""
        ...

    def note_manager(self, manager: str) -> None:
        """From now on this node belongs to this manager; empty: to the next that it reaches."""
        ...


class Growing(Protocol):
    """Output that a caller waits for."""

    async def wait(self) -> None:
        """Wait until there is more than when this was made, or when the last call returned."""
        ...


class LogSource(Protocol):
    """The output of tasks, kept by slot."""

    async def pieces(self, wanted: Sequence[LogWanted], limit: int) -> list[LogPiece]:
        """What follows in the output of several slots, at most `limit` bytes of each, for slots
        that have some; for a request without a cursor, also a piece that says where it
        begins. `absent` where it cannot be read now. Raises InvalidError for a bad cursor."""
        ...

    def watching(self, slots: Sequence[SlotName]) -> AbstractContextManager[Growing]:
        """Whether the output of any of these slots grows, as long as the block lasts."""
        ...

    def kept(self) -> list[SlotName]:
        """The slots that have output here, in order."""
        ...

    def services(self) -> set[str]:
        """The services that have output here."""
        ...

    def purge(self, service: str) -> None:
        """Remove a service's output; harmless when there is none."""
        ...


class Ports(Protocol):
    """Assigns a task its ports, kept while the task lives (S23)."""

    def claim(
        self,
        task: str,
        names: Mapping[str, int],
        *,
        previous: Mapping[str, int] | None = None,
        adopt: bool = False,
    ) -> Mapping[str, int]:
        """Numbers for the named ports; 0 asks for any. Raises PortTakenError.

        `previous` are preferred; with `adopt` they are in use by the task itself.
        """
        ...

    def release(self, task: str) -> None:
        """Release a task's ports; harmless when it has none."""
        ...


class PortTakenError(WarrenError):
    """A fixed port is taken, or none is free. `str()` has the port and its holder."""
