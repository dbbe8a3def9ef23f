"""What a spec hides from readers that may only view: values of variables (also those of env
files) and of headers. Their names stay; a command, a path and a user are no secrets.

A spec with hidden values can be shown and nothing else: `admit` refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from warren.model.check import HIDDEN
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
        if probe.http is not None:
            for name, value in probe.http.header_lines():
                if value == HIDDEN:
                    yield kind, "http", "headers", name


def _probes(spec: ServiceSpec) -> Iterator[tuple[str, Probe]]:
    for kind in PROBES:
        probe: Probe | None = getattr(spec, kind)
        if probe is not None:
            yield kind, probe


def _masked(probe: Probe) -> Probe:
    if probe.http is None:
        return probe
    headers = dict.fromkeys(probe.http.headers, HIDDEN)
    return _replace(probe, http=_replace(probe.http, headers=headers))
