"""Answers of the Engine API, as far as they are used. Engines say more, and leave much out.

What an engine tells may be wrong: a pid that no process can have is none here, and a number of the
statistics is read by itself (`count_of`), so that one that cannot be costs no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

_NONE: Mapping[str, str] = MappingProxyType({})
_PIDS = range(1, 1 << 31)
_MOST = 1 << 53  # of what is counted: all numbers up to it are exact in JSON
_UNTOLD = msgspec.Raw()


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Names as the API writes them."""


class Component(_Answer, frozen=True):
    """A part of an engine, such as `Engine` or `Podman Engine`."""

    name: str = ""
    version: str = ""


class Version(_Answer, frozen=True):
    """GET /version."""

    version: str = ""
    api_version: str = ""
    min_api_version: str = msgspec.field(default="", name="MinAPIVersion")
    components: tuple[Component, ...] | None = None


class State(_Answer, frozen=True):
    """Of a container. `status` is a word such as `created`, `running`, `exited`."""

    status: str = ""
    running: bool = False
    pid: int | None = None
    exit_code: int | None = None
    is_out_of_memory: bool = msgspec.field(default=False, name="OOMKilled")
    error: str = ""

    def __post_init__(self) -> None:
        if self.pid is not None and self.pid not in _PIDS:
            msgspec.structs.force_setattr(self, "pid", None)

    @property
    def was_started(self) -> bool:
        """Whether its program ran, or runs."""
        return self.status not in ("created", "configured", "initialized")


class Config(_Answer, frozen=True):
    """Of a container or an image. Engines write no entries as null, or not at all."""

    labels: Mapping[str, str] | None = None
    stop_signal: str | int | None = None
    env: tuple[str, ...] | None = None
    user: str | None = None
    working_dir: str | None = None
    entrypoint: tuple[str, ...] | None = None


class Network(_Answer, frozen=True):
    """A container's place in a network."""

    ip_address: str = msgspec.field(default="", name="IPAddress")
    ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")


class Networks(_Answer, frozen=True):
    """The places of a container. Engines of API 1.52 on have no address beside `networks`."""

    ip_address: str = msgspec.field(default="", name="IPAddress")
    networks: Mapping[str, Network | None] | None = None

    def address(self) -> str:
        """Where the container is reached; empty where it has no address of its own."""
        places = [place for place in (self.networks or {}).values() if place is not None]
        found = [self.ip_address, *(one.ip_address for one in places)]
        found += [one.ipv6_address for one in places]
        return next((one for one in found if one), "")


class HostConfig(_Answer, frozen=True):
    """How a container is tied to its machine."""

    network_mode: str = ""
    memory: int | None = None


class Container(_Answer, frozen=True):
    """GET /containers/ID/json."""

    id: str
    state: State
    config: Config = Config()
    host_config: HostConfig = HostConfig()
    networks: Networks = msgspec.field(default=Networks(), name="NetworkSettings")

    def address(self) -> str:
        """Where its ports are asked; of one in the machine's own network that is loopback."""
        return self.networks.address() or "127.0.0.1"


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """Time of all cores, in nanoseconds."""

    total_usage: msgspec.Raw = _UNTOLD


class Throttling(msgspec.Struct, frozen=True, kw_only=True):
    """For how long a limit has kept it waiting, in nanoseconds."""

    throttled_time: msgspec.Raw = _UNTOLD


class CpuStatistics(msgspec.Struct, frozen=True, kw_only=True):
    cpu_usage: Cpu = Cpu()
    throttling_data: Throttling | None = None


class MemoryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """In bytes."""

    usage: msgspec.Raw = _UNTOLD
    max_usage: msgspec.Raw = _UNTOLD


class PidsStatistics(msgspec.Struct, frozen=True, kw_only=True):
    current: msgspec.Raw = _UNTOLD


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """GET /containers/ID/stats, once."""

    cpu_stats: CpuStatistics = CpuStatistics()
    memory_stats: MemoryStatistics = MemoryStatistics()
    pids_stats: PidsStatistics = PidsStatistics()


def count_of(told: msgspec.Raw) -> int | None:
    """A number of the statistics; None where it is not told, or cannot be."""
    try:
        count = msgspec.json.decode(told, type=int)
    except (msgspec.MsgspecError, ValueError):
        return None
    return count if 0 <= count <= _MOST else None


class Listed(_Answer, frozen=True):
    """A container in GET /containers/json. `state` is a word."""

    id: str
    labels: Mapping[str, str] | None = None
    state: str = ""

    def label(self, name: str) -> str:
        """The label's value; empty without."""
        return (self.labels or _NONE).get(name, "")


class Created(_Answer, frozen=True):
    """Of a container or an exec."""

    id: str


class Image(_Answer, frozen=True):
    """GET /images/NAME/json."""

    id: str
    config: Config | None = None


class Exec(_Answer, frozen=True):
    """GET /exec/ID/json. `pid` is its process on the machine, 0 where none was started."""

    running: bool = False
    exit_code: int | None = None
    pid: int = 0

    def __post_init__(self) -> None:
        if self.pid not in _PIDS:
            msgspec.structs.force_setattr(self, "pid", 0)


class Refusal(msgspec.Struct, frozen=True):
    """Any answer that is no. Podman has a cause beside the message."""

    message: str = ""
    cause: str = ""


class Actor(_Answer, frozen=True):
    """Whom an event is of."""

    id: str = msgspec.field(default="", name="ID")
    attributes: Mapping[str, str] | None = None


class EngineEvent(_Answer, frozen=True):
    """An item of GET /events."""

    type: str = ""
    action: str = ""
    actor: Actor = Actor()


class PullDetail(msgspec.Struct, frozen=True):
    """How far a layer is, in bytes."""

    current: int = 0
    total: int = 0


class PullNews(msgspec.Struct, frozen=True, rename="camel"):
    """An item of POST /images/create. `error`: it failed, which no status says by then."""

    id: str = ""
    status: str = ""
    error: str = ""
    progress_detail: PullDetail | None = None
