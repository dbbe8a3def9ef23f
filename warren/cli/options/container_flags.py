"""The options that say what a container is given, as they were written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from warren.cli.options.common import SWITCH

_PANEL = Parameter(group=Group("Containers: beside --image", sort_key=5))
_MANY = Annotated[tuple[str, ...], SWITCH, _PANEL]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ContainerFlags:
    """What a container is given.

    Parameters
    ----------
    entrypoint
        Runs in place of the image's ENTRYPOINT; split as a shell would. What follows -- replaces
        its CMD.
    mount
        SOURCE:TARGET[:ro], a source that begins with / or . being a path here and any other a
        volume; or type=tmpfs,target=/run,size=64M. May be repeated.
    read_only
        Make the root file system read-only.
    cap_add
        A capability such as NET_ADMIN, or ALL; may be repeated.
    cap_drop
        A capability it shall not have, or ALL; may be repeated.
    ulimit
        NAME=SOFT[:HARD] such as nofile=1024; -1 is no limit. May be repeated.
    network
        host, none, the name of a network, or default for the engine's own.
    pull
        When to fetch the image: missing (where a node does not have it), always or never.
    healthcheck
        Whether the image's own HEALTHCHECK may be asked; no engine here asks it yet.
    """

    entrypoint: Annotated[str | None, _PANEL, Parameter(metavar="COMMAND")] = None
    mount: Annotated[
        tuple[str, ...], SWITCH, _PANEL, Parameter(name=("--mount", "-v"), metavar="MOUNT")
    ] = ()
    read_only: Annotated[bool | None, _PANEL] = None
    cap_add: Annotated[_MANY, Parameter(metavar="NAME")] = ()
    cap_drop: Annotated[_MANY, Parameter(metavar="NAME")] = ()
    ulimit: Annotated[_MANY, Parameter(metavar="NAME=N")] = ()
    network: Annotated[str | None, _PANEL, Parameter(metavar="NAME")] = None
    pull: Annotated[str | None, _PANEL, Parameter(metavar="WHEN")] = None
    healthcheck: Annotated[bool | None, _PANEL] = None
