"""Refusals at submit, so that a bad spec never reaches a supervisor (S25)."""

from __future__ import annotations

from warren.model.check_kinds import asked_port, kind_of
from warren.model.container import HOST_NETWORK, NO_NETWORK
from warren.model.decode import DecodeError, decode, dotted, plain
from warren.model.errors import SpecError
from warren.model.probe import Probe
from warren.model.service import ANY_PORT, LOOPBACK, PROBES, ServiceSpec
from warren.rules.masking import hidden_fields
from warren.rules.requirements import beyond_any_node
from warren.rules.spec_bounds import beyond_bounds


def admit(spec: ServiceSpec) -> ServiceSpec:
    """The spec as a file would have it, or a refusal of what cannot be run.

    A program builds specs without a decoder, so the values' types are checked here.
    Raises SpecError naming field, value and what would be right.
    """
    at = f"services.{spec.name}"
    try:
        spec = decode(plain(spec), ServiceSpec)
    except DecodeError as error:
        raise error.named(at) from None
    for way in hidden_fields(spec):
        wanted = "its value was hidden from the reader; want the value"
        raise SpecError(dotted(at, way), wanted)
    too_large = beyond_bounds(spec)
    if too_large is not None:
        raise too_large.named(at)
    beyond = beyond_any_node(spec)  # what only some nodes can do is for placement to say
    if beyond is not None:
        raise SpecError(f"{at}.{beyond.field}", beyond.refusal or "", value=beyond.value(spec))
    if spec.cwd is not None and not spec.cwd.startswith("/"):
        raise SpecError(f"{at}.cwd", "want an absolute path", value=spec.cwd)
    _admit_address(spec, at)
    _admit_ports(spec, at)
    for kind in PROBES:
        probe: Probe | None = getattr(spec, kind)
        if probe is not None:
            _admit_probe(spec, probe, f"{at}.{kind}")
    return spec


def _admit_address(spec: ServiceSpec, at: str) -> None:
    if spec.has_own_address and spec.address != LOOPBACK:
        wanted = f"want none: a container has an address of its own (or network: {HOST_NETWORK})"
        raise SpecError(f"{at}.address", wanted, value=spec.address)


def _admit_ports(spec: ServiceSpec, at: str) -> None:
    by_number: dict[int, str] = {}
    for name, number in spec.ports.items():
        if number != ANY_PORT and number in by_number:
            wanted = f"is the port of {by_number[number]} too; want different numbers"
            raise SpecError(f"{at}.ports.{name}", wanted, value=number)
        if number == ANY_PORT and spec.has_own_address:
            wanted = "want the number it listens on: a container has an address of its own"
            raise SpecError(f"{at}.ports.{name}", wanted, value=number)
        by_number[number] = name


def _admit_probe(spec: ServiceSpec, probe: Probe, at: str) -> None:
    check = asked_port(probe.check)
    if check is None:
        return
    if spec.network == NO_NETWORK and check.host is None:
        wanted = f"want an exec check: with network {NO_NETWORK} there is no address to ask"
        raise SpecError(f"{at}.{kind_of(probe.check).name}", wanted)
    field = f"{at}.{kind_of(probe.check).name}.port"
    named = ", ".join(spec.ports) or "none"
    if check.port is None and len(spec.ports) != 1:
        wanted = f"want a port's number or name; ports of this service: {named}"
        raise SpecError(field, wanted, value=None)
    if isinstance(check.port, str) and check.port not in spec.ports:
        raise SpecError(field, f"no such port; ports of this service: {named}", value=check.port)
