"""What a node refuses at submit (S25)."""

from __future__ import annotations

from typing import Any

import pytest

from warren.manifest.service_file import load_text
from warren.model.check import Argv
from warren.model.errors import SpecError
from warren.model.service import ServiceSpec
from warren.rules import requirements
from warren.rules.admission import admit


def admit_text(fields: str) -> None:
    (spec,) = load_text(f"services:\n  web:\n    command: [run]\n{fields}")
    admit(spec)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (
            "    image: nginx",
            "services.web.image: 'nginx': no container runtime is available here; "
            "want a command instead",
        ),
        (
            "    resources: {memory: 512M}",
            "services.web.resources.memory: '512M': limits are not enforced yet; want no resources",
        ),
        (
            "    resources: {cpu: 0.5}",
            "services.web.resources.cpu: 0.5: limits are not enforced yet; want no resources",
        ),
        ("    cwd: srv", "services.web.cwd: 'srv': want an absolute path"),
        (
            "    ports: {a: 80, b: 81, c: 80}",
            "services.web.ports.c: 80: is the port of a too; want different numbers",
        ),
        (
            "    health: {http: {}}",
            "services.web.health.http.port: want a port's number or name; "
            "ports of this service: none",
        ),
        (
            "    ports: {a: 80, b: 81}\n    readiness: {tcp: {}}",
            "services.web.readiness.tcp.port: want a port's number or name; "
            "ports of this service: a, b",
        ),
        (
            "    ports: {http: 80}\n    liveness: {http: {port: htpp}}",
            "services.web.liveness.http.port: 'htpp': no such port; ports of this service: http",
        ),
        (
            "    startup: {tcp: {port: http}}",
            "services.web.startup.tcp.port: 'http': no such port; ports of this service: none",
        ),
    ],
)
def test_admission_refuses_naming_field_value_and_what_would_be_right(
    fields: str, refusal: str
) -> None:
    with pytest.raises(SpecError) as caught:
        admit_text(fields)
    assert str(caught.value) == refusal


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "    cwd: /srv",
        "    ports: {a: 0, b: 0}",
        "    ports: {a: 80, b: 81}",
        "    ports: {a: 80}\n    health: {http: {}}",
        "    ports: {a: 80, b: 81}\n    health: {tcp: {port: b}}",
        "    health: {tcp: {port: 5432}}",
        "    liveness: {exec: {command: [pg_isready]}}",
        "    startup: {tcp: {port: 1}}\n    readiness: {http: {port: 1}}",
    ],
)
def test_admission_lets_pass_what_can_be_run(fields: str) -> None:
    admit_text(fields)


OWN = "a container has an address of its own"


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (
            "    ports: {http: 0}",
            f"services.web.ports.http: 0: want the number it listens on: {OWN}",
        ),
        (
            "    ports: {a: 80, b: 80}",
            "services.web.ports.b: 80: is the port of a too; want different numbers",
        ),
        ("    address: '::1'", f"services.web.address: '::1': want none: {OWN} (or network: host)"),
        ("    cwd: app", "services.web.cwd: 'app': want an absolute path"),
        (
            "    network: none\n    health: {tcp: {port: 80}}",
            "services.web.health.tcp: want an exec check: "
            "with network none there is no address to ask",
        ),
        ("    network: host\n    ports: {http: 0}\n    address: '::1'", ""),
        ("    network: none\n    health: {exec: {command: [x]}}\n    ports: {http: 80}", ""),
        ("    network: none\n    health: {tcp: {port: 80, host: '10.0.0.1'}}", ""),
        ("    ports: {http: 80}\n    health: {http: {}}\n    cwd: /app", ""),
    ],
)
def test_admission_knows_which_address_and_ports_a_container_has(
    fields: str, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "FEATURES", ())
    said = ""
    try:
        admit_text(f"    image: nginx\n{fields}")
    except SpecError as error:
        said = str(error)
    assert said == refusal


def test_admission_refuses_values_of_a_type_no_file_could_give() -> None:
    untyped: dict[str, Any] = {"name": "web", "command": Argv(["run"]), "replicas": "two"}
    with pytest.raises(SpecError) as caught:
        admit(ServiceSpec(**untyped))
    assert str(caught.value) == "services.web.replicas: 'two': want a whole number"
