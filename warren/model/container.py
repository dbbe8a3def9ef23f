"""The fields of a spec that say what a container is given, and the words they know.

Most stand beside an image alone: `ServiceSpec` refuses them for a process.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping

import msgspec

from warren.model.check import check_text
from warren.model.errors import FieldError
from warren.model.field_types import settle_types
from warren.model.node_description import PROCESS
from warren.model.suggest import nearest

RUNTIMES = (PROCESS, "docker", "podman", "oci", "containerd")
HOST_NETWORK = "host"
NO_NETWORK = "none"
OWN_LABELS = "warren."  # what the labels begin with by which a node finds what is its own
NO_LIMIT = -1
LARGEST_LIMIT = (1 << 63) - 1
ALL = "ALL"
CAPABILITIES = (
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE",
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL",
    "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP",
    "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE",
    "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG",
    "WAKE_ALARM",
)  # fmt: skip
ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
    "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
ULIMIT_WANTED = "want a number such as 1024, or {soft: 1024, hard: 4096}; -1 is no limit"
_NETWORK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}\Z")


class Pull(enum.Enum):
    """When an image is fetched from its registry: where the node does not have it, before every
    start, or not at all."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


class Ulimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit as setrlimit(2) has it: what holds, and up to where the program may raise it."""

    soft: int
    hard: int

    def __post_init__(self) -> None:
        settle_types(self)

    def __str__(self) -> str:
        return f"{self.soft}" if self.soft == self.hard else f"{self.soft}:{self.hard}"


def normal_capabilities(field: str, given: Iterable[str]) -> tuple[str, ...]:
    """Capabilities as `NET_ADMIN`, each once. Raises FieldError."""
    return tuple(dict.fromkeys(_capability(field, one) for one in given))


def check_capabilities(added: Iterable[str], dropped: Iterable[str]) -> None:
    """Refuse what is both added and dropped. Raises FieldError."""
    for name in sorted(set(added) & set(dropped)):
        raise FieldError("cap_add", name, "is in cap_drop too; want it in one of them")


def check_ulimits(ulimits: Mapping[str, Ulimit]) -> None:
    """Raises FieldError."""
    for name, limit in ulimits.items():
        if name not in ULIMITS:
            raise FieldError("ulimits", name, _one_of("limit", name, ULIMITS))
        for number in (limit.soft, limit.hard):
            if not NO_LIMIT <= number <= LARGEST_LIMIT:
                raise FieldError(f"ulimits.{name}", number, ULIMIT_WANTED)
        if limit.hard != NO_LIMIT and not 0 <= limit.soft <= limit.hard:
            wanted = f"want soft to be at most hard, {limit.hard}"
            raise FieldError(f"ulimits.{name}", limit.soft, wanted)


def check_network(network: str | None) -> None:
    """Raises FieldError."""
    if network is not None and not _NETWORK.match(network):
        raise FieldError("network", network, "want host, none, or the name of a network")


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises FieldError."""
    for name, value in labels.items():
        if not name or "=" in name:
            raise FieldError("labels", name, "want a label's name, without '='")
        check_text("labels", name)
        check_text(f"labels.{name}", value)
        if name.startswith(OWN_LABELS):
            wanted = f"want a name that does not begin with {OWN_LABELS}: those are Warren's own"
            raise FieldError("labels", name, wanted)


def check_runtime(runtime: str | None, *, has_image: bool) -> None:
    """Raises FieldError."""
    if runtime is None:
        return
    if runtime not in RUNTIMES:
        raise FieldError("runtime", runtime, _one_of("runtime", runtime, RUNTIMES))
    if has_image and runtime == PROCESS:
        wanted = f"want one of {', '.join(RUNTIMES[1:])} beside an image"
        raise FieldError("runtime", runtime, wanted)
    if not has_image and runtime != PROCESS:
        raise FieldError("runtime", runtime, f"want an image beside it, or {PROCESS}")


def _capability(field: str, written: str) -> str:
    name = written.upper().removeprefix("CAP_")
    if name != ALL and name not in CAPABILITIES:
        meant = nearest(name, (ALL, *CAPABILITIES))
        hint = f"did you mean {meant}? " if meant else ""
        raise FieldError(field, written, f"{hint}want a capability such as NET_ADMIN, or {ALL}")
    return name


def _one_of(what: str, given: str, known: tuple[str, ...]) -> str:
    meant = nearest(given, known)
    hint = f"did you mean {meant}? " if meant else ""
    return f"no such {what}; {hint}want one of {', '.join(known)}"
