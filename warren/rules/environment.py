"""The environment of a process task (S23) and `$(NAME)` in its command and arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from warren.model.check import Args, Argv
from warren.model.check_kinds import kind_of
from warren.model.identity import TaskId
from warren.model.probe import Probe
from warren.model.service import PROBES, ServiceSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INHERITED = ("PATH", "HOME", "LANG", "TZ")
_OWN = ("WARREN_SERVICE", "WARREN_TASK", "WARREN_INSTANCE", "WARREN_NODE")
_SHELLS = ("sh", "ash", "bash", "dash", "ksh", "zsh")

Words = TypeVar("Words", Argv, Args)

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def environment(
    spec: ServiceSpec,
    *,
    task: TaskId,
    instance: str,
    node: str,
    ports: Mapping[str, int],
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """PATH, HOME, LANG, TZ of the supervisor, then ports, `WARREN_*`, then the service's own. A
    container has its image's in place of the supervisor's."""
    env = dict[str, str]()
    if spec.image is None:
        env["PATH"] = DEFAULT_PATH
        env.update({name: inherited[name] for name in INHERITED if name in inherited})
    env.update(port_variables(ports))
    env.update(spec.env)
    env.update(
        WARREN_SERVICE=spec.name,
        WARREN_TASK=str(task),
        WARREN_INSTANCE=instance,
        WARREN_NODE=node,
    )
    return env


def port_variables(ports: Mapping[str, int]) -> dict[str, str]:
    """`PORT` (the first) and `PORT_<NAME>` for every named port."""
    variables = {port_variable(name): str(number) for name, number in ports.items()}
    if ports:
        variables["PORT"] = str(next(iter(ports.values())))
    return variables


def port_variable(name: str) -> str:
    """`admin-api` -> `PORT_ADMIN_API`."""
    return "PORT_" + name.upper().replace("-", "_")


def expand(argv: Words, env: Mapping[str, str]) -> Words:
    """Replace `$(NAME)` by its value; an unknown name stays, `$$` is a `$` (as kubelet does)."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else env.get(name, match[0])

    return type(argv)(_REFERENCE.sub(value, word) for word in argv)


def undefined(spec: ServiceSpec) -> Iterator[str]:
    """A sentence for every `$(NAME)` of a spec that no variable of its tasks has. It is allowed, as
    the program may want it, but most often a mistake."""
    known = {*INHERITED, *_OWN, *port_variables(spec.ports), *spec.env}
    for field, argv in _commands(spec):
        names = (match[1] for word in argv for match in _REFERENCE.finditer(word))
        for name in dict.fromkeys(names):
            is_meant = name is None or name in known or (name.islower() and _is_shell(argv))
            if not is_meant:
                said = f"services.{spec.name}.{field}: $({name}): there is no such variable"
                yield f"{said}, so it stays as it is; want it in env, or $$({name}) if it is meant"


def _is_shell(argv: tuple[str, ...]) -> bool:
    """Whether `$(date)` is a command to its program."""
    return argv[0].rpartition("/")[2] in _SHELLS


def _commands(spec: ServiceSpec) -> Iterator[tuple[str, tuple[str, ...]]]:
    if spec.command is not None:
        yield "command", spec.command
    if spec.args is not None:
        yield "args", spec.args
    for kind in PROBES:
        probe: Probe | None = getattr(spec, kind)
        if probe is None:
            continue
        row = kind_of(probe.check)
        for field in row.commands:
            yield f"{kind}.{row.name}.{field}", getattr(probe.check, field)
