"""Mounts: what a container sees of the node's files, of volumes and of memory.

Warren removes neither paths of a node nor volumes.
"""

from __future__ import annotations

import enum
import re
from typing import Any

import msgspec

from warren.model.byte_size import LARGEST, SIZE_WANTED, show_size
from warren.model.check import check_text
from warren.model.errors import FieldError
from warren.model.field_types import settle_types

MOUNT_WANTED = "want SOURCE:TARGET or SOURCE:TARGET:ro, such as data:/var/lib/data"
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}\Z")


class MountType(enum.Enum):
    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"


class Mount(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One mount. `source` is a path of the node (bind), the name of a volume, or None (tmpfs);
    `target` is where it is in the container. `size` is the most bytes of a tmpfs."""

    type: MountType
    target: str
    source: str | None = None
    read_only: bool = False
    size: int | None = None

    def __post_init__(self) -> None:
        settle_types(self)
        check_text("target", self.target)
        if not _is_absolute(self.target) or not place_of(self.target):
            wanted = "want an absolute path in the container, such as /var/lib/data"
            raise FieldError("target", self.target, wanted)
        self._check_source()
        if self.size is None:
            return
        if self.type is not MountType.TMPFS:
            raise FieldError("size", self.size, f"want it for a tmpfs alone, not a {self._called}")
        if not 0 < self.size <= LARGEST:
            raise FieldError("size", self.size, SIZE_WANTED)

    def _check_source(self) -> None:
        source = self.source
        check_text("source", source or "")
        if self.type is MountType.TMPFS:
            if source is not None:
                raise FieldError("source", source, "want none: a tmpfs begins empty")
        elif self.type is MountType.BIND:
            if source is None or not _is_absolute(source):
                wanted = "want an absolute path of the node, such as /srv/data"
                raise FieldError("source", source, wanted)
        elif source is None or not _VOLUME.match(source):
            wanted = "want a volume's name: letters, digits and _ . -, at least two"
            raise FieldError("source", source, f"{wanted} (a path of the node begins with /)")

    @property
    def _called(self) -> str:
        return self.type.value

    def __str__(self) -> str:
        """As `--mount` takes it; the short form where it says all."""
        if self.type is MountType.TMPFS or ":" in f"{self.source}{self.target}":
            return self._long()
        return f"{self.source}:{self.target}{':ro' if self.read_only else ''}"

    def _long(self) -> str:
        pairs = [f"type={self._called}"]
        if self.source is not None:
            pairs.append(f"source={self.source}")
        pairs.append(f"target={self.target}")
        if self.read_only:
            pairs.append("readonly")
        if self.size is not None:
            pairs.append(f"size={show_size(self.size)}")
        return ",".join(pairs)


def parse_mount(text: str) -> dict[str, Any]:
    """The plain data of a mount's short form. A source that begins with `/` or `.` is a path, any
    other a volume; a relative one is the caller's to resolve. Raises ValueError."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1]:
        raise ValueError(MOUNT_WANTED)
    source, target, *mode = parts
    if mode and mode[0] not in ("ro", "rw"):
        raise ValueError(f"{MOUNT_WANTED}; after the second colon ro or rw")
    kind = MountType.BIND if source[0] in "/." else MountType.VOLUME
    data: dict[str, Any] = {"type": kind.value, "source": source, "target": target}
    return {**data, "read_only": True} if mode == ["ro"] else data


def check_mounts(mounts: tuple[Mount, ...]) -> None:
    """Refuse two mounts in one place. Raises FieldError."""
    seen = set[tuple[str, ...]]()
    for mount in mounts:
        place = place_of(mount.target)
        if place in seen:
            raise FieldError("mounts", mount.target, "want each target once")
        seen.add(place)


def place_of(path: str) -> tuple[str, ...]:
    """The steps of an absolute path: the same for `/a`, `/a/` and `/./a`; none for the root."""
    return tuple(step for step in path.split("/") if step not in ("", "."))


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/")
