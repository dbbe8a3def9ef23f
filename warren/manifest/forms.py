"""The forms of a service that people write, and the one that a spec has.

health: none                    the image's own HEALTHCHECK is not asked
mounts: [data:/data:ro]         the mount in full
ulimits: {nofile: 1024}         {nofile: {soft: 1024, hard: 1024}}
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any, cast

from warren.model.byte_size import parse_size
from warren.model.container import ULIMIT_WANTED, Ulimit
from warren.model.decode import DecodeError, decode, plain
from warren.model.mount import MOUNT_WANTED, MountType, parse_mount
from warren.model.service import ServiceSpec

Shape = dict[str, Any]
NO_PROBE = "none"
_LONG = "{type: volume, source: data, target: /var/lib/data}"


def expanded(body: Shape, base: Path | None) -> Shape:
    """The fields of a service as they are decoded. With a `base`, paths of the node are relative
    to it. Raises DecodeError."""
    fields = dict(body)
    if fields.get("health") == NO_PROBE:
        del fields["health"]
        fields["image_health"] = False
    mounts, ulimits = fields.get("mounts"), fields.get("ulimits")
    if isinstance(mounts, list):
        given = cast("list[object]", mounts)
        fields["mounts"] = [_mount(("mounts", i), one, base) for i, one in enumerate(given)]
    if isinstance(ulimits, dict):
        limits = cast("dict[str, object]", ulimits)
        fields["ulimits"] = {name: _ulimit(name, one) for name, one in limits.items()}
    return fields


def written(spec: ServiceSpec) -> Shape:
    """What a service file has under the service's name; `expanded` takes it."""
    body: Shape = plain(spec)
    del body["name"]  # in the file it is the key
    if not body.pop("image_health", True):
        body["health"] = NO_PROBE
    ulimits: dict[str, dict[str, int]] = body.get("ulimits", {})
    for name, limit in ulimits.items():
        if limit["soft"] == limit["hard"]:
            body["ulimits"][name] = limit["soft"]
    return body


def resolved(mount: Shape, base: Path) -> Shape:
    """The plain data of a mount, a path of the node taken from `base`."""
    source: object = mount.get("source")
    if mount.get("type") != MountType.BIND.value or not isinstance(source, str) or not source:
        return mount
    return {**mount, "source": posixpath.normpath(base / source)}


def _mount(place: tuple[str, int], given: object, base: Path | None) -> Shape:
    if isinstance(given, str):
        try:
            fields = parse_mount(given)
        except ValueError as error:
            raise DecodeError(place, given, str(error)) from None
    elif isinstance(given, dict):
        fields = dict(cast("Shape", given))
    else:
        raise DecodeError(place, given, f"{MOUNT_WANTED}, or a mapping such as {_LONG}")
    size: object = fields.get("size")
    if isinstance(size, str):
        try:
            fields["size"] = parse_size(size)
        except ValueError as error:
            raise DecodeError((*place, "size"), size, str(error)) from None
    return fields if base is None else resolved(fields, base)


def _ulimit(name: str, given: object) -> Ulimit:
    if isinstance(given, int) and not isinstance(given, bool):
        return Ulimit(soft=given, hard=given)
    if not isinstance(given, dict):
        raise DecodeError(("ulimits", name), given, ULIMIT_WANTED)
    try:
        return decode(cast("Shape", given), Ulimit)
    except DecodeError as error:
        raise DecodeError(("ulimits", name, *error.path), error.value, error.wanted) from None
