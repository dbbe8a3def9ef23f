"""Where engines are looked for: an option, `DOCKER_HOST`, and the usual sockets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from warren.engine.differences import DOCKER, KINDS, PODMAN
from warren.model.address import UnixAddress, parse_address
from warren.model.errors import SpecError

NONE = "none"
FIELD = "--engine"


class EnginePlaces(msgspec.Struct, frozen=True):
    """The sockets at which an engine may be; the first that answers is it. `name` is that of its
    runtime. `trouble` is why none is looked for, and is empty where one is."""

    name: str
    paths: tuple[str, ...] = ()
    trouble: str = ""


def parse_engines(written: Sequence[str]) -> tuple[EnginePlaces, ...] | None:
    """The engines that options name, each `unix:PATH`, `docker=unix:PATH` or `podman=unix:PATH`;
    None where they name none, and the usual places are looked at. Raises SpecError."""
    if not written:
        return None
    if NONE in written:
        if len(written) > 1:
            raise SpecError(FIELD, "want it alone, or sockets", value=NONE)
        return ()
    found = dict[str, EnginePlaces]()
    for text in written:
        kind, sign, address = text.partition("=")
        if not sign or kind not in KINDS:
            kind, address = "", text
        try:
            parsed = parse_address(address, field=FIELD)
        except SpecError:
            parsed = None
        if not isinstance(parsed, UnixAddress):
            wanted = f"want unix:PATH, docker=unix:PATH, podman=unix:PATH or {NONE}"
            raise SpecError(FIELD, wanted, value=text)
        name = kind or _guessed(parsed.path)
        if name in found:
            wanted = f"{name} is {found[name].paths[0]} already; want one engine of a kind, or"
            raise SpecError(FIELD, f"{wanted} docker= or podman= before it", value=text)
        found[name] = EnginePlaces(name, (parsed.path,))
    return tuple(found.values())


def usual_engines(env: Mapping[str, str], uid: int) -> tuple[EnginePlaces, ...]:
    """Docker and Podman, where they usually are for this user."""
    own = env.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    paths = {
        DOCKER: ["/var/run/docker.sock", f"{own}/docker.sock"],
        PODMAN: ["/run/podman/podman.sock", f"{own}/podman/podman.sock"],
    }
    told, trouble = env.get("DOCKER_HOST", ""), ""
    if told.startswith("unix://"):
        path = told.removeprefix("unix://")
        paths[_guessed(path)] = [path]
    elif told:
        trouble = f"DOCKER_HOST is {told[:100]}; only unix://PATH can be used"
        paths[DOCKER] = []
    return tuple(
        EnginePlaces(name, tuple(paths[name]), trouble if name == DOCKER else "") for name in KINDS
    )


def sockets(places: EnginePlaces) -> list[str]:
    """Those of the paths where there is a socket. One of Docker's that is a link to Podman's, as a
    package of Debian's makes it, is Podman's."""
    found = list[str]()
    for path in places.paths:
        try:
            real = str(Path(path).resolve())
            if Path(path).is_socket() and not (PODMAN in real and PODMAN not in path):
                found.append(path)
        except OSError:
            continue
    return found


def _guessed(path: str) -> str:
    return PODMAN if "podman" in path else DOCKER
