"""What a spec hides from readers that may only view: values of variables (also those of env
files) and of headers. Their names stay; a command, a path, a label and a user are no
secrets.

A spec with hidden values can be shown and nothing else: `admit` refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from warren.model.check import HIDDEN
from warren.model.check_kinds import kind_of, secrets_of
from warren.model.probe import Probe
from warren.model.service import PROBES, ServiceSpec

_replace = msgspec.structs.replace


def masked(spec: ServiceSpec) -> ServiceSpec:
    """The spec with every such value hidden."""
    probes = {kind: _masked(probe) for kind, probe in _probes(spec)}
    return _replace(spec, env=dict.fromkeys(spec.env, HIDDEN), **probes)


def hidden_fields(spec: ServiceSpec) -> Iterator[tuple[str, ...]]:
    """The paths of hidden values: `env`, `TOKEN`, and `liveness`, `http`, `headers`, a name."""
    for name, value in spec.env.items():
        if value == HIDDEN:
            yield "env", name
    for kind, probe in _probes(spec):
        for field, secrets in secrets_of(probe.check).items():
            for name, value in secrets.items():
                if value == HIDDEN or (not isinstance(value, str) and HIDDEN in value):
                    yield kind, kind_of(probe.check).name, field, name


def _probes(spec: ServiceSpec) -> Iterator[tuple[str, Probe]]:
    for kind in PROBES:
        probe: Probe | None = getattr(spec, kind)
        if probe is not None:
            yield kind, probe


def _masked(probe: Probe) -> Probe:
    check = probe.check
    hidden = {name: dict.fromkeys(value, HIDDEN) for name, value in secrets_of(check).items()}
    return _replace(probe, **{kind_of(check).name: _replace(check, **hidden)}) if hidden else probe
