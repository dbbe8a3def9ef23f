"""What the options of a container mean, on a new service and on an old one. Pure.

Fields are plain data, as `decode` takes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from warren.cli.options.check_options import read_argv
from warren.cli.options.container_flags import ContainerFlags
from warren.cli.options.pairs import pieces, unescaped
from warren.manifest.forms import resolved
from warren.model.byte_size import parse_size
from warren.model.container import Ulimit, normal_capabilities
from warren.model.decode import DecodeError, decode, dotted
from warren.model.errors import FieldError, SpecError
from warren.model.mount import MOUNT_WANTED, Mount, parse_mount, place_of
from warren.model.service import NO_ULIMITS, ServiceSpec

Fields = dict[str, Any]
DEFAULT_NETWORK = "default"  # the engine's own, as Docker calls it
_KEYS = {
    "type": "type",
    "source": "source",
    "src": "source",
    "target": "target",
    "destination": "target",
    "dst": "target",
    "size": "size",
    "tmpfs-size": "size",
}
_READ_ONLY = ("readonly", "ro")
_LONG = re.compile(rf"(?:{'|'.join(_KEYS)})=|(?:{'|'.join(_READ_ONLY)})(?:,|\Z)")
_ULIMIT = re.compile(
    r"(?P<name>[a-z]+)=(?P<soft>-1|\d{1,19})(?::(?P<hard>-1|\d{1,19}))?\Z", re.ASCII
)


def container_fields(flags: ContainerFlags, cwd: Path, old: ServiceSpec | None = None) -> Fields:
    """What the options change of a service, a new one where there is no old. `cwd` is where paths
    of the node are taken from. Raises SpecError."""
    fields: Fields = {}
    if flags.entrypoint is not None:
        fields["command"] = read_argv("--entrypoint", flags.entrypoint)
    if flags.mount:
        fields["mounts"] = _with_mounts(() if old is None else old.mounts, flags.mount, cwd)
    if flags.cap_add or flags.cap_drop:
        fields |= _with_capabilities(flags, old)
    if flags.ulimit:
        kept = NO_ULIMITS if old is None else old.ulimits
        fields["ulimits"] = {**kept, **dict(_ulimit(text) for text in flags.ulimit)}
    if flags.network is not None:
        fields["network"] = None if flags.network == DEFAULT_NETWORK else flags.network
    if flags.healthcheck is not None:
        fields["image_health"] = flags.healthcheck
    if flags.read_only is not None:
        fields["read_only"] = flags.read_only
    if flags.pull is not None:
        fields["pull"] = flags.pull
    return fields


def labels(given: Iterable[str]) -> dict[str, str]:
    """Labels as options have them. Raises SpecError."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise SpecError("--label", "want NAME=VALUE such as team=shop", value=text)
        if name in found:
            raise SpecError("--label", "is given twice", value=name)
        found[name] = value
    return found


def without_mounts(mounts: Sequence[Mount], targets: Iterable[str]) -> tuple[Mount, ...]:
    """The mounts but for those at these targets. Raises SpecError."""
    left = {place_of(mount.target): mount for mount in mounts}
    for target in targets:
        if left.pop(place_of(target), None) is None:
            known = ", ".join(mount.target for mount in mounts) or "none"
            raise SpecError(
                "--mount-rm", f"there is no such target; there is: {known}", value=target
            )
    return tuple(left.values())


def without_capabilities(spec: ServiceSpec, given: Sequence[str]) -> Fields:
    """Which capabilities are added and dropped without these. Raises SpecError."""
    names = _capabilities("--cap-rm", given)
    for name in names:
        if name not in (*spec.cap_add, *spec.cap_drop):
            known = ", ".join((*spec.cap_add, *spec.cap_drop)) or "none"
            raise SpecError(
                "--cap-rm", f"is neither added nor dropped; there is: {known}", value=name
            )
    return {
        "cap_add": tuple(name for name in spec.cap_add if name not in names),
        "cap_drop": tuple(name for name in spec.cap_drop if name not in names),
    }


def _with_mounts(old: Sequence[Mount], texts: Iterable[str], cwd: Path) -> list[Mount]:
    """A mount takes the place of an old one at the same target."""
    given = [_mount(text, cwd) for text in texts]
    places = {place_of(mount.target) for mount in given}
    return [*(mount for mount in old if place_of(mount.target) not in places), *given]


def _mount(text: str, cwd: Path) -> Mount:
    if _LONG.match(text):
        fields = _long(text)
    else:
        try:
            fields = parse_mount(text)
        except ValueError as error:
            raise SpecError("--mount", str(error), value=text) from None
    try:
        return decode(resolved(fields, cwd), Mount)
    except DecodeError as error:
        place = dotted("", error.path) if error.path else text
        raise SpecError(f"--mount {place}", error.wanted, value=error.value) from None


def _long(text: str) -> Fields:
    fields: Fields = {}
    for piece in pieces(text, alone=_READ_ONLY):
        word, equals, value = piece.partition("=")
        if word in _READ_ONLY and not equals:
            key, read = "read_only", True
        elif word in _KEYS and equals:
            key, read = _KEYS[word], unescaped(value)
        else:
            wanted = f"{MOUNT_WANTED}, or keys of type, source, target, readonly and size"
            raise SpecError("--mount", wanted, value=text)
        if key in fields:
            raise SpecError(f"--mount {word}", "is given twice", value=value)
        fields[key] = _size(value) if key == "size" else read
    return fields


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise SpecError("--mount size", str(error), value=text) from None


def _with_capabilities(flags: ContainerFlags, old: ServiceSpec | None) -> Fields:
    """What is added is no longer dropped, and the other way round."""
    added = _capabilities("--cap-add", flags.cap_add)
    dropped = _capabilities("--cap-drop", flags.cap_drop)
    before = ((), ()) if old is None else (old.cap_add, old.cap_drop)
    return {
        "cap_add": [*(name for name in before[0] if name not in dropped), *added],
        "cap_drop": [*(name for name in before[1] if name not in added), *dropped],
    }


def _capabilities(option: str, given: Iterable[str]) -> tuple[str, ...]:
    try:
        return normal_capabilities(option, given)
    except FieldError as error:
        raise SpecError(option, error.wanted, value=error.value) from None


def _ulimit(text: str) -> tuple[str, Ulimit]:
    match = _ULIMIT.match(text)
    if match is None:
        raise SpecError(
            "--ulimit", "want NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024", value=text
        )
    soft = int(match["soft"])
    return match["name"], Ulimit(soft=soft, hard=int(match["hard"] or soft))
