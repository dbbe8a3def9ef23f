"""The options that describe a service, as they were written: values are texts, None is not given.

The four groups of probe options come from one table. What the texts mean is in `service_spec.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from warren.cli.options.check_options import CHECK_OPTIONS
from warren.cli.options.common import SWITCH
from warren.cli.options.container_flags import ContainerFlags

GROUPS = ("health", "startup", "liveness", "readiness")
_TITLES = {
    "health": "Health: one check, for liveness and readiness",
    "startup": "Startup: asked alone, until it passes",
    "liveness": "Liveness: failed, the instance is restarted",
    "readiness": "Readiness: failed, the task is not ready",
}
_OPTIONS = {
    **{one.word: (one.metavar, one.help) for one in CHECK_OPTIONS.values()},
    "interval": ("DURATION", "Between attempts [default: 30s]."),
    "timeout": ("DURATION", "Of one attempt [default: 10s]."),
    "retries": ("N", "Fails in a row before it is unhealthy [default: 3]."),
    "start_period": ("DURATION", "Fails in it do not count, until the first pass [default: 0s]."),
    "successes": ("N", "Passes in a row before it is healthy again [default: 1]."),
    "initial_delay": ("DURATION", "No attempt before it [default: 0s]."),
    "fast_interval": ("DURATION", "Pace until the first pass [default: interval, at most 1s]."),
}
_HYPHENS = {one.word for one in CHECK_OPTIONS.values() if one.may_begin_with_hyphen}


@dataclass(frozen=True, kw_only=True)
class ProbeFlags:
    """One group of probe options: a text or None for every row of `_OPTIONS`."""


def _without_defaults(text: str) -> str:
    return re.sub(r" \[default: [^\]]*\]", "", text)


def flag(group: str, option: str) -> str:
    """`--health-start-period`."""
    return f"--{group}-{option.replace('_', '-')}"


def _group(name: str, order: int, *, is_new: bool = True) -> type[ProbeFlags]:
    """One with a default for every option, or with none where a service is changed."""
    panel = Group(_TITLES[name], sort_key=order)
    fields = [
        (
            option,
            Annotated[
                str | None,
                Parameter(
                    name=flag(name, option),
                    help=said if is_new else _without_defaults(said),
                    metavar=metavar,
                    group=panel,
                    allow_leading_hyphen=option in _HYPHENS,
                ),
            ],
            None,
        )
        for option, (metavar, said) in _OPTIONS.items()
    ]
    made = make_dataclass(
        f"{name.title()}Flags", fields, bases=(ProbeFlags,), frozen=True, kw_only=True
    )
    made.__module__ = __name__  # Cyclopts does not look into classes of the standard library
    return Parameter(name="*")(made)


if TYPE_CHECKING:
    HealthFlags = StartupFlags = LivenessFlags = ReadinessFlags = ProbeFlags
else:
    HealthFlags, StartupFlags, LivenessFlags, ReadinessFlags = (
        _group(name, order) for order, name in enumerate(GROUPS, start=10)
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServiceFlags:
    """The settings of a service, new or old.

    Parameters
    ----------
    image
        The image to run, on a node with Docker or Podman; what follows -- are its arguments.
    runtime
        process, docker, podman, oci or containerd, where you insist [default: any that can].
    replicas
        How many, 0 to 10,000 [default: 1].
    env
        NAME=VALUE, or NAME for the value it has here; may be repeated.
    env_file
        A file of NAME=VALUE lines; may be repeated. --env wins.
    port
        NAME for any free port, or NAME=NUMBER; may be repeated.
    address
        Where it listens and its checks ask, such as ::1 [default: 127.0.0.1].
    user
        NAME, UID, NAME:GROUP or UID:GID; needs root if it is another user.
    new_privileges
        With --user: let programs gain privileges, as sudo does.
    cwd
        The directory it runs in [default: /, or the image's]; in an image an absolute path.
    label
        NAME=VALUE; may be repeated.
    restart
        always, on-failure or never [default: always].
    max_attempts
        Restarts in five minutes before the task has failed [default: 5]. Another follows it, later
        each time, for as long as --restart is not never.
    stop_signal
        Such as TERM, INT or QUIT [default: TERM].
    stop_grace
        From the signal to the kill [default: 10s].
    memory
        The most that an instance may have, such as 512M [default: no limit].
    cpus
        How many cores it may use, such as 0.5 [default: no limit].
    pids
        How many processes and threads it may have [default: no limit].
    """

    image: str | None = None
    runtime: str | None = None
    replicas: Annotated[str | None, Parameter(metavar="N")] = None
    env: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="K=V")] = ()
    env_file: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="FILE")] = ()
    port: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="NAME[=PORT]")] = ()
    address: str | None = None
    user: str | None = None
    new_privileges: Annotated[bool | None, Parameter()] = None
    cwd: Annotated[str | None, Parameter(metavar="DIR")] = None
    label: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="K=V")] = ()
    restart: Annotated[str | None, Parameter(metavar="CONDITION")] = None
    max_attempts: Annotated[str | None, Parameter(metavar="N")] = None
    stop_signal: Annotated[str | None, Parameter(metavar="SIGNAL")] = None
    stop_grace: Annotated[str | None, Parameter(metavar="DURATION")] = None
    memory: Annotated[str | None, Parameter(metavar="SIZE")] = None
    cpus: Annotated[str | None, Parameter(metavar="CORES")] = None
    pids: Annotated[str | None, Parameter(metavar="N")] = None
    container: ContainerFlags = field(default_factory=ContainerFlags)
    health: HealthFlags = field(default_factory=HealthFlags)
    startup: StartupFlags = field(default_factory=StartupFlags)
    liveness: LivenessFlags = field(default_factory=LivenessFlags)
    readiness: ReadinessFlags = field(default_factory=ReadinessFlags)

    def probes(self, group: str) -> ProbeFlags:
        """The options of one of the four groups."""
        chosen: ProbeFlags = getattr(self, group)
        return chosen


def _changes() -> type[ServiceFlags]:
    """The same for a service that there is: what is not given stays as it is."""
    fields = [
        (name, group, field(default_factory=group))
        for order, name in enumerate(GROUPS, start=10)
        for group in [_group(name, order, is_new=False)]
    ]
    said = {
        "__doc__": _without_defaults(ServiceFlags.__doc__ or ""),
        "__module__": __name__,  # where the names are that the fields' types are made of
    }
    made = make_dataclass(
        "ServiceChanges", fields, bases=(ServiceFlags,), namespace=said, frozen=True, kw_only=True
    )
    return Parameter(name="*")(made)


if TYPE_CHECKING:
    ServiceChanges = ServiceFlags
else:
    ServiceChanges = _changes()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RemovalFlags:
    """What is removed from a service before the rest is changed.

    Parameters
    ----------
    env_rm
        The name of a variable; may be repeated.
    port_rm
        The name of a port; may be repeated.
    label_rm
        The name of a label; may be repeated.
    mount_rm
        The target of a mount; may be repeated.
    cap_rm
        A capability that is as the engine has it again; may be repeated.
    ulimit_rm
        The name of a limit that is as the engine has it again; may be repeated.
    no_args
        The image's own CMD again.
    no_entrypoint
        The image's own ENTRYPOINT again.
    no_limits
        No limit of memory, cpu or pids.
    no_health
        No probe of any kind.
    no_startup
        No startup probe.
    no_liveness
        No liveness probe.
    no_readiness
        No readiness probe.
    """

    env_rm: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="NAME")] = ()
    port_rm: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="NAME")] = ()
    label_rm: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="NAME")] = ()
    mount_rm: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="TARGET")] = ()
    cap_rm: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="NAME")] = ()
    ulimit_rm: Annotated[tuple[str, ...], SWITCH, Parameter(metavar="NAME")] = ()
    no_args: Annotated[bool, SWITCH] = False
    no_entrypoint: Annotated[bool, SWITCH] = False
    no_limits: Annotated[bool, SWITCH] = False
    no_health: Annotated[bool, SWITCH] = False
    no_startup: Annotated[bool, SWITCH] = False
    no_liveness: Annotated[bool, SWITCH] = False
    no_readiness: Annotated[bool, SWITCH] = False

    def drops(self, group: str) -> bool:
        """Whether the probe of this group goes."""
        asked: bool = getattr(self, f"no_{group}")
        return asked or self.no_health
