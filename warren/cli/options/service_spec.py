"""A service's spec from the options that describe it: a new one, or an old one changed. Pure.

`CallerContext` (the caller's directory and environment) is an argument. Every refusal is a
SpecError that names the option, the value and what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from warren.cli.options.check_options import CHECK_OPTIONS
from warren.cli.options.container_options import (
    container_fields,
    labels,
    without_capabilities,
    without_mounts,
)
from warren.cli.options.probe_flags import MOST, count, duration, probe
from warren.cli.options.service_flags import GROUPS, RemovalFlags, ServiceFlags, flag
from warren.model.decode import DecodeError, decode, dotted, plain
from warren.model.errors import InvalidError, SpecError
from warren.model.identity import NAME_WANTED, is_name
from warren.model.probe import Probe
from warren.model.service import MOST_PIDS, ServiceSpec

_PORT_WANTED = "want NAME or NAME=NUMBER such as http=8080"
_OPTIONS = {
    "name": "NAME",
    "command": "COMMAND",
    "args": "COMMAND",
    "image": "--image",
    "replicas": "--replicas",
    "env": "--env",
    "user": "--user",
    "new_privileges": "--new-privileges",
    "cwd": "--cwd",
    "ports": "--port",
    "address": "--address",
    "restart.condition": "--restart",
    "restart.max_attempts": "--max-attempts",
    "stop.signal": "--stop-signal",
    "stop.grace": "--stop-grace",
    "resources.memory": "--memory",
    "resources.cpu": "--cpus",
    "resources.pids": "--pids",
    "mounts": "--mount",
    "read_only": "--read-only",
    "cap_add": "--cap-add",
    "cap_drop": "--cap-drop",
    "ulimits": "--ulimit",
    "network": "--network",
    "labels": "--label",
    "pull": "--pull",
    "runtime": "--runtime",
    "health": "--no-healthcheck",  # of the whole of it nothing else is refused
}


class CallerContext(msgspec.Struct, frozen=True):
    """Where a command is given: what a relative directory and a bare variable mean there."""

    cwd: Path
    environment: Mapping[str, str]


def new_spec(
    name: str, command: Sequence[str], flags: ServiceFlags, around: CallerContext
) -> ServiceSpec:
    """The spec of a new service. Raises SpecError."""
    if not is_name(name):
        raise SpecError("NAME", NAME_WANTED, value=name)
    is_container = flags.image is not None
    fields: dict[str, Any] = {
        "name": name,
        **_simple(flags, around, is_container=is_container),
        **_command(command, is_container=is_container),
        **container_fields(flags.container, around.cwd),
        "labels": labels(flags.label),
    }
    fields["env"] = _variables(flags, around)
    fields["ports"] = _ports(flags.port)
    fields["restart"], fields["stop"] = _restart(flags), _stop(flags)
    fields["resources"] = _resources(flags)
    if flags.image is None and flags.container.entrypoint is not None:
        raise SpecError("--entrypoint", "want --image with it, or the command after --")
    if not command and flags.image is None:
        raise SpecError("COMMAND", "want the command to run after --, such as: -- redis-server")
    return _decoded(fields, {group: probe(group, flags.probes(group), None) for group in GROUPS})


def changed_spec(
    spec: ServiceSpec,
    command: Sequence[str],
    flags: ServiceFlags,
    removals: RemovalFlags,
    around: CallerContext,
) -> ServiceSpec:
    """The spec with what was given changed; removals come first. Raises SpecError."""
    spec = _without_parts(spec, removals)
    fields = plain(spec)
    for name in _dropped(spec, flags, removals):
        fields.pop(name, None)
    kept = {group: None if removals.drops(group) else _of(spec, group) for group in GROUPS}
    is_container = flags.image is not None or spec.image is not None
    if not is_container and flags.container.entrypoint is not None:
        raise SpecError("--entrypoint", "want an image, or the command after --")
    fields.update(_simple(flags, around, is_container=is_container))
    fields.update(_command(command, is_container=is_container))
    fields.update(container_fields(flags.container, around.cwd, spec))
    fields["labels"] = {**spec.labels, **labels(flags.label)}
    env = _without("--env-rm", spec.env, removals.env_rm)
    ports = _without("--port-rm", spec.ports, removals.port_rm)
    fields["env"] = env | _variables(flags, around)
    fields["ports"] = ports | _ports(flags.port)
    if removals.no_limits:
        fields["resources"] = {}
    parts = (("restart", _restart), ("stop", _stop), ("resources", _resources))
    for part, given in parts:
        fields[part] = {**fields.get(part, {}), **given(flags)}
    probes = {group: probe(group, flags.probes(group), kept[group]) for group in GROUPS}
    return _decoded(fields, probes)


def _without_parts(spec: ServiceSpec, removals: RemovalFlags) -> ServiceSpec:
    return msgspec.structs.replace(
        spec,
        mounts=without_mounts(spec.mounts, removals.mount_rm),
        ulimits=_without("--ulimit-rm", spec.ulimits, removals.ulimit_rm),
        labels=_without("--label-rm", spec.labels, removals.label_rm),
        **without_capabilities(spec, removals.cap_rm),
    )


def _dropped(spec: ServiceSpec, flags: ServiceFlags, removals: RemovalFlags) -> Iterator[str]:
    """The fields that go as a whole. A process's command and directory are nothing to an image
    that takes their place."""
    if spec.image is None and flags.image is not None:
        yield from ("command", "cwd")
    if removals.no_args:
        yield "args"
    if removals.no_entrypoint:
        yield "command"


def is_nothing(command: Sequence[str], flags: ServiceFlags, removals: RemovalFlags) -> bool:
    """Whether nothing at all was asked for."""
    return not command and flags == type(flags)() and removals == RemovalFlags()


def option_of(path: str) -> str:
    """The option that sets a field of a spec: `health.http.port` is of `--health-http`."""
    steps = path.split(".")
    if steps[0] in GROUPS and len(steps) > 1:
        check = CHECK_OPTIONS.get(steps[1])
        return flag(steps[0], steps[1] if check is None else check.word)
    for length in (2, 1):
        option = _OPTIONS.get(re.sub(r"\[\d+\]$", "", ".".join(steps[:length])))
        if option is not None:
            return option
    return path


def in_options(error: InvalidError, name: str) -> str:
    """A manager's refusal of a spec, with the option in place of the field."""
    said, prefix = str(error), f"services.{name}."
    if not error.field.startswith(prefix):
        return said
    return option_of(error.field.removeprefix(prefix)) + said[len(error.field) :]


def _of(spec: ServiceSpec, group: str) -> Probe | None:
    chosen: Probe | None = getattr(spec, group)
    return chosen


def _decoded(fields: dict[str, Any], probes: Mapping[str, Probe | None]) -> ServiceSpec:
    beside = [group for group in GROUPS[1:] if probes[group] is not None]
    if probes["health"] is not None and beside:
        wanted = "want either --health-* alone, or --startup-*, --liveness-* and --readiness-*"
        raise SpecError("--health-*", f"beside --{beside[0]}-*: {wanted} (--no-health removes it)")
    for group in GROUPS:
        fields.pop(group, None)
        made = probes[group]
        if made is not None:
            fields[group] = plain(made)
    try:
        return decode(fields, ServiceSpec)
    except DecodeError as error:
        option = option_of(dotted("", error.path))
        raise SpecError(option, error.wanted, value=error.value) from None


def _simple(flags: ServiceFlags, around: CallerContext, *, is_container: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if flags.replicas is not None:
        fields["replicas"] = count("--replicas", flags.replicas, 0, 10_000)
    for name in ("image", "user", "address", "runtime"):
        text: str | None = getattr(flags, name)
        if text is not None:
            fields[name] = text
    if flags.new_privileges is not None:
        fields["new_privileges"] = flags.new_privileges
    if flags.cwd is not None:
        if not flags.cwd:
            raise SpecError("--cwd", "want a directory", value=flags.cwd)
        fields["cwd"] = flags.cwd if is_container else str(around.cwd / flags.cwd)
    return fields


def _command(words: Sequence[str], *, is_container: bool) -> dict[str, Any]:
    if is_container:
        return {"args": list(words)} if words else {}
    if words and not words[0]:
        raise SpecError("COMMAND", "want at least the name of a program", value=words[0])
    return {"command": list(words)} if words else {}


def _restart(flags: ServiceFlags) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if flags.restart is not None:
        fields["condition"] = flags.restart
    if flags.max_attempts is not None:
        fields["max_attempts"] = count("--max-attempts", flags.max_attempts, 1, MOST)
    return fields


def _stop(flags: ServiceFlags) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if flags.stop_signal is not None:
        fields["signal"] = flags.stop_signal.removeprefix("SIG")
    if flags.stop_grace is not None:
        fields["grace"] = str(duration("--stop-grace", flags.stop_grace))
    return fields


def _resources(flags: ServiceFlags) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if flags.memory is not None:
        fields["memory"] = flags.memory
    if flags.cpus is not None:
        try:
            fields["cpu"] = float(flags.cpus)
        except ValueError:
            wanted = "want a number of cores, such as 0.5"
            raise SpecError("--cpus", wanted, value=flags.cpus) from None
    if flags.pids is not None:
        fields["pids"] = count("--pids", flags.pids, 1, MOST_PIDS)
    return fields


def _variables(flags: ServiceFlags, around: CallerContext) -> dict[str, str]:
    from warren.manifest.service_file import parse_env_file  # brings YAML: only where it is needed

    env: dict[str, str] = {}
    for file in flags.env_file:
        try:
            env |= parse_env_file(around.cwd / file)
        except SpecError as error:
            raise SpecError("--env-file", error.wanted, value=error.value) from None
    given: dict[str, str] = {}
    for text in flags.env:
        name, value = _variable(text, around.environment)
        if name in given:
            raise SpecError("--env", "is given twice", value=name)
        given[name] = value
    return env | given


def _variable(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name:
        raise SpecError("--env", "want NAME=VALUE", value=text)
    if equals:
        return name, value
    if name not in environment:
        raise SpecError("--env", "want NAME=VALUE; it has no value here", value=text)
    return name, environment[name]


def _ports(given: Iterable[str]) -> dict[str, int]:
    ports: dict[str, int] = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not is_name(name):
            raise SpecError("--port", _PORT_WANTED, value=text)
        if name in ports:
            raise SpecError("--port", "is given twice", value=name)
        ports[name] = count(f"--port {name}", number, 0, 65535) if equals else 0
    return ports


def _without(option: str, old: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    left = dict(old)
    for name in names:
        if name not in old:
            known = ", ".join(sorted(old)) or "none"
            raise SpecError(option, f"there is none of that name; there is: {known}", value=name)
        left.pop(name, None)
    return left
