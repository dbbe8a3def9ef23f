"""The options that ask for a spec: the way back from `service_spec.py`, for its property."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec.structs import astuple

from warren.cli.options.check_options import CHECK_OPTIONS
from warren.model.check import ExecCheck, HttpCheck, TcpCheck
from warren.model.check_kinds import NAMES, asked_port, kind_of
from warren.model.duration import Duration
from warren.model.identity import is_name
from warren.model.probe import Probe
from warren.model.service import Restart, ServiceSpec, Stop

GROUPS = ("health", "startup", "liveness", "readiness")


def is_sayable(spec: ServiceSpec) -> bool:
    """Whether options can ask for it: not for everything that a file can."""
    restart = Restart(condition=spec.restart.condition, max_attempts=spec.restart.max_attempts)
    stop = Stop(signal=spec.stop.signal, grace=spec.stop.grace)
    return (
        (spec.restart, spec.stop) == (restart, stop)
        and spec.args != ()  # no arguments, in place of the image's
        and (spec.cwd is None or spec.cwd.startswith("/"))
        and all(_is_probe_sayable(getattr(spec, group)) for group in GROUPS)
    )


def words(spec: ServiceSpec) -> list[str]:
    """The arguments of `warren service create`."""
    options = [
        *(f"--env={name}={value}" for name, value in spec.env.items()),
        *(f"--port={name}={number}" for name, number in spec.ports.items()),
        f"--address={spec.address}",
        f"--replicas={spec.replicas}",
        f"--restart={spec.restart.condition.value}",
        f"--max-attempts={spec.restart.max_attempts}",
        f"--stop-signal={spec.stop.signal}",
        f"--stop-grace={spec.stop.grace}",
    ]
    if spec.new_privileges:
        options.append("--new-privileges")
    for option in ("image", "user", "cwd", "runtime", "network"):
        value: str | None = getattr(spec, option)
        if value is not None:
            options.append(f"--{option}={value}")
    options += [f"--label={name}={value}" for name, value in spec.labels.items()]
    if spec.image is not None:
        options += _container(spec)
    limits = zip(("memory", "cpus", "pids"), astuple(spec.resources), strict=True)
    options += [f"--{name}={value}" for name, value in limits if value is not None]
    for group in GROUPS:
        options += _probe(group, getattr(spec, group))
    last = spec.command if spec.image is None else spec.args
    return [spec.name, *options, *(["--", *last] if last else [])]


def _container(spec: ServiceSpec) -> Iterator[str]:
    if spec.command is not None:
        yield f"--entrypoint={shlex.join(spec.command)}"
    yield f"--pull={spec.pull.value}"
    for name, is_set in (("read-only", spec.read_only), ("healthcheck", spec.image_health)):
        yield f"--{name}" if is_set else f"--no-{name}"
    yield from (f"--cap-add={name}" for name in spec.cap_add)
    yield from (f"--cap-drop={name}" for name in spec.cap_drop)
    for name, limit in spec.ulimits.items():
        yield f"--ulimit={name}={limit.soft}:{limit.hard}"
    for mount in spec.mounts:
        pairs = [("type", mount.type.value), ("target", mount.target)]
        if mount.source is not None:
            pairs.append(("source", mount.source))
        if mount.size is not None:
            pairs.append(("size", str(mount.size)))
        said = ",".join(f"{key}={_escaped(value)}" for key, value in pairs)
        yield f"--mount={said}{',readonly' if mount.read_only else ''}"


def _is_probe_sayable(probe: Probe | None) -> bool:
    asked = None if probe is None else asked_port(probe.check)
    if asked is None:
        return True
    if isinstance(asked, TcpCheck) and asked.port is None:
        return False
    return not isinstance(asked.port, str) or is_name(asked.port)


def _probe(group: str, probe: Probe | None) -> Iterator[str]:
    if probe is None:
        return
    kind = kind_of(probe.check).name
    yield f"--{group}-{CHECK_OPTIONS[kind].word}={SAID[kind](probe.check)}"
    for name in Probe.__struct_fields__:
        value: Duration | int | None = getattr(probe, name)
        if name not in NAMES and value is not None:
            yield f"--{group}-{name.replace('_', '-')}={value}"


def _exec(check: ExecCheck) -> str:
    return shlex.join(check.command)


def _tcp(check: TcpCheck) -> str:
    host = "" if check.host is None else f",host={check.host}"
    return f"port={check.port}{host}"


def _http(check: HttpCheck) -> str:
    pairs = [("path", check.path), ("scheme", check.scheme.value), ("status", str(check.status))]
    if check.port is not None:
        pairs.append(("port", str(check.port)))
    pairs.append(("verify", str(check.verify).lower()))
    if check.host is not None:
        pairs.append(("host", check.host))
    pairs += [("header", f"{name}:{value}") for name, value in check.header_lines()]
    return ",".join(f"{key}={_escaped(value)}" for key, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")


SAID: Mapping[str, Callable[[Any], str]] = {
    "http": _http,
    "tcp": _tcp,
    "exec": _exec,
}
