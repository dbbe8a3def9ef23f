"""The desired state as a user writes it: a service's spec."""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, cast

import msgspec

from warren.model.byte_size import ByteSize
from warren.model.check import HIDDEN, Args, Argv, check_text, is_address
from warren.model.container import (
    HOST_NETWORK,
    Pull,
    Ulimit,
    check_capabilities,
    check_labels,
    check_network,
    check_runtime,
    check_ulimits,
    normal_capabilities,
)
from warren.model.duration import Duration
from warren.model.errors import FieldError
from warren.model.field_types import settle_types
from warren.model.identity import NAME_WANTED, ServiceName, is_name
from warren.model.mount import Mount, check_mounts
from warren.model.probe import Count, Probe

NO_MAPPING: Mapping[str, str] = MappingProxyType({})
NO_PORTS: Mapping[str, int] = MappingProxyType({})
NO_ULIMITS: Mapping[str, Ulimit] = MappingProxyType({})
ANY_PORT = 0
LARGEST_ID = (1 << 32) - 2  # of a user or group: the next stands for "leave it as it is"
LOOPBACK = "127.0.0.1"
LEAST_MEMORY = ByteSize(6 << 20)  # as Docker: less is not enough to begin
LEAST_CPU = 0.01  # cores: the kernel takes no less than a millisecond of 100
MOST_CPU = 8192
MOST_PIDS = 1 << 22  # what the kernel takes
PROBES = ("health", "startup", "liveness", "readiness")  # the fields of a spec that are probes
Replicas = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class Condition(enum.Enum):
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


class _Part(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How every part of a spec is decoded: strictly, and encoded without its defaults."""

    def __post_init__(self) -> None:
        settle_types(self)


class Restart(_Part, frozen=True):
    """When and how fast a task's instance is started again (S17). Durations are seconds."""

    condition: Condition = Condition.ALWAYS
    max_attempts: Count = 5
    window: Duration = Duration(300)
    delay: Duration = Duration(1)
    max_delay: Duration = Duration(60)
    reset_after: Duration = Duration(60)


class Stop(_Part, frozen=True):
    """How an instance is stopped (S15). `failure_grace` is used after a failed probe (S16)."""

    signal: str = "TERM"
    grace: Duration = Duration(10)
    failure_grace: Duration | None = None

    def __post_init__(self) -> None:
        settle_types(self)
        if f"SIG{self.signal}" not in signal.Signals.__members__:
            raise FieldError("signal", self.signal, "want a signal such as TERM, INT or QUIT")

    @property
    def number(self) -> signal.Signals:
        """The stop signal."""
        return signal.Signals[f"SIG{self.signal}"]

    @property
    def grace_after_failure(self) -> float:
        """Seconds of grace of an instance whose probe has failed (S16)."""
        return self.grace if self.failure_grace is None else self.failure_grace


class Resources(_Part, frozen=True):
    """Limits of one instance and all it starts, its exec checks too (S27): bytes, cores, processes
    and threads. None: no limit."""

    memory: ByteSize | None = None
    cpu: float | None = None
    pids: int | None = None

    def __post_init__(self) -> None:
        settle_types(self)
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise FieldError("memory", self.memory, f"want at least {LEAST_MEMORY}")
        if self.cpu is not None and not LEAST_CPU <= self.cpu <= MOST_CPU:
            wanted = f"want a number of cores from {LEAST_CPU} to {MOST_CPU}, such as 1.5"
            raise FieldError("cpu", self.cpu, wanted)
        if self.pids is not None and not 1 <= self.pids <= MOST_PIDS:
            wanted = f"want a number of processes and threads from 1 to {MOST_PIDS}"
            raise FieldError("pids", self.pids, wanted)


class ServiceSpec(_Part, frozen=True):
    """A service: what runs, how many, under which probes.

    Exactly one of `command` and `image` may stand alone. Beside an image `command` replaces its
    ENTRYPOINT, and `args` its CMD, which a `command` without `args` drops.
    `new_privileges` lets programs run as another `user` gain privileges, as by set-uid programs.
    `ports` maps a port's name to its number, or to 0 for any free one; `address` is where it
    listens and its checks ask (S14). `health` is the flat form; an image's own HEALTHCHECK takes
    its place where there is no probe, unless `image_health` is false (`health: none` in a file).
    `network` is None for the engine's own, and `runtime` for whichever can run it.
    """

    name: ServiceName
    command: Argv | None = None
    image: str | None = None
    args: Args | None = None
    replicas: Replicas = 1
    env: Mapping[str, str] = NO_MAPPING
    user: str | None = None
    new_privileges: bool = False
    cwd: str | None = None
    ports: Mapping[str, int] = NO_PORTS
    health: Probe | None = None
    startup: Probe | None = None
    liveness: Probe | None = None
    readiness: Probe | None = None
    restart: Restart = Restart()
    stop: Stop = Stop()
    resources: Resources = Resources()
    address: str = LOOPBACK
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    ulimits: Mapping[str, Ulimit] = NO_ULIMITS
    network: str | None = None
    labels: Mapping[str, str] = NO_MAPPING
    pull: Pull = Pull.MISSING
    runtime: str | None = None
    image_health: bool = True

    def __post_init__(self) -> None:
        settle_types(self)
        if self.command is None and self.image is None:
            raise FieldError("command", None, "want the command to run, such as [redis-server]")
        for field in ("command", "args"):
            words: tuple[str, ...] | None = getattr(self, field)
            for word in words or ():
                check_text(field, word)
        for field in ("image", "user", "cwd"):
            text: str | None = getattr(self, field)
            if text == "":
                raise FieldError(field, text, "want a text that is not empty, or no such field")
            check_text(field, text or "")
        check_user("user", self.user)
        for name, value in self.env.items():
            if not name or "=" in name:
                raise FieldError("env", name, "want a variable's name, without '='")
            check_text("env", name)
            if value != HIDDEN:
                check_text(f"env.{name}", value)
        for name, number in self.ports.items():
            if not is_name(name):
                raise FieldError("ports", name, NAME_WANTED)
            if not 0 <= number <= 65535:
                raise FieldError(f"ports.{name}", number, "want 1 to 65535, or 0 for any free port")
        if not is_address(self.address):
            raise FieldError("address", self.address, "want an address such as 127.0.0.1 or ::1")
        self._refuse_probes()
        self._refuse_container_fields()

    @property
    def has_own_address(self) -> bool:
        """Whether an instance has an address of its own, and so its ports: they are none of the
        node's."""
        return self.image is not None and self.network != HOST_NETWORK

    def _refuse_container_fields(self) -> None:
        for field in ("cap_add", "cap_drop"):  # a value has one form
            names = normal_capabilities(field, getattr(self, field))
            msgspec.structs.force_setattr(self, field, names)
        if self.health is not None:
            msgspec.structs.force_setattr(self, "image_health", True)  # it asks nothing then
        check_capabilities(self.cap_add, self.cap_drop)
        check_mounts(self.mounts)
        check_ulimits(self.ulimits)
        check_network(self.network)
        check_labels(self.labels)
        check_runtime(self.runtime, has_image=self.image is not None)
        if self.image is None:
            self._refuse_without_image()

    def _refuse_without_image(self) -> None:
        if not self.image_health:
            raise FieldError("health", "none", _IMAGE_WANTED)
        for field, default in _OF_IMAGES.items():
            value: object = getattr(self, field)
            if value != default:
                raise FieldError(field, _as_written(value), _IMAGE_WANTED)

    def _refuse_probes(self) -> None:
        for kind in ("startup", "liveness", "health"):
            probe: Probe | None = getattr(self, kind)
            if probe is not None and probe.successes != 1:
                raise FieldError(f"{kind}.successes", probe.successes, "want 1 for this probe")
        for kind in ("startup", "liveness", "readiness"):
            if self.health is not None and getattr(self, kind) is not None:
                wanted = "want either health alone, or startup, liveness and readiness"
                raise FieldError("health", f"beside {kind}", wanted)


_IMAGE_WANTED = "want an image beside it: a process has none of its own"
_OF_IMAGES: Mapping[str, object] = {
    "args": None,
    "mounts": (),
    "read_only": False,
    "cap_add": (),
    "cap_drop": (),
    "ulimits": {},
    "network": None,
    "pull": Pull.MISSING,
}


def _as_written(value: object) -> object:
    """A value for a refusal, near to how a file has it."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: str(each) for name, each in cast("Mapping[str, object]", value).items()}
    return [*map(str, cast("tuple[object, ...]", value))] if isinstance(value, tuple) else value


def check_user(field: str, user: str | None) -> None:
    """Refuse what does not name a user: `NAME`, `UID`, `NAME:GROUP` or `UID:GID`."""
    if user is None:
        return
    name, _, group = user.partition(":")
    if not name:
        raise FieldError(field, user, "want NAME, UID, NAME:GROUP or UID:GID")
    for part in (name, group):
        if part.isdecimal() and (len(part) > len(str(LARGEST_ID)) or int(part) > LARGEST_ID):
            raise FieldError(field, user, f"want ids from 0 to {LARGEST_ID}")


_BUT_REPLICAS = tuple(n for n in ServiceSpec.__struct_fields__ if n != "replicas")


def has_same_instances(one: ServiceSpec, other: ServiceSpec) -> bool:
    """Whether two specs differ only in their probes (and replicas): an instance of one may go on
    running as one of the other."""
    bare = dict.fromkeys(PROBES) | {"replicas": 0}
    return msgspec.structs.replace(one, **bare) == msgspec.structs.replace(other, **bare)


def has_same_tasks(one: ServiceSpec, other: ServiceSpec) -> bool:
    """Whether two specs ask for the same tasks, regardless of their number."""
    if one.replicas == other.replicas:
        return one == other
    return all(getattr(one, name) == getattr(other, name) for name in _BUT_REPLICAS)
