"""What a node refuses at submit (S25)."""

from __future__ import annotations

from typing import Any

import pytest

from warren.manifest.service_file import load_text
from warren.model import bounds
from warren.model.check import Argv, ExecCheck, HttpCheck
from warren.model.errors import SpecError
from warren.model.probe import Probe
from warren.model.service import ServiceSpec
from warren.rules import requirements, spec_bounds
from warren.rules.admission import admit


def admit_text(fields: str) -> None:
    (spec,) = load_text(f"services:\n  web:\n    command: [run]\n{fields}")
    admit(spec)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
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


def test_admission_refuses_numbers_that_no_file_could_give() -> None:
    with pytest.raises(SpecError) as caught:
        admit(ServiceSpec(name="web", command=Argv(["run"]), replicas=10_001))
    assert str(caught.value) == "services.web.replicas: 10001: want a whole number <= 10000"


MANY = 10_001
LONG = "x" * (bounds.TEXT + 1)
TOO_LARGE: list[tuple[dict[str, Any], str]] = [
    (
        {"ports": {f"p{n}": 0 for n in range(1_001)}},
        "services.web.ports: '1001 items': want at most 1000",
    ),
    ({"env": {f"V{n}": "" for n in range(MANY)}}, "services.web.env: '10001 items': want at most"),
    ({"env": {"V": LONG}}, "services.web.env.V: 'xxx"),
    ({"env": {LONG: "v"}}, "services.web.env: 'xxx"),
    ({"command": Argv(["run"] * MANY)}, "services.web.command: '10001 items': want at most 10000"),
    ({"command": Argv(["run", LONG])}, "services.web.command[1]: 'xxx"),
    ({"cwd": f"/{LONG}"}, "services.web.cwd: '/xxx"),
    ({"user": LONG}, "services.web.user: 'xxx"),
    ({"readiness": Probe(exec=ExecCheck(Argv(["x"] * MANY)))}, "services.web.readiness.exec.com"),
    (
        {"readiness": Probe(http=HttpCheck(port=1, headers={"X": ("v",) * 1_001}))},
        "services.web.readiness.http.headers: '1001 items': want at most 1000",
    ),
    (
        {"readiness": Probe(http=HttpCheck(port=1, headers={"X": LONG}))},
        "services.web.readiness.http.headers.X: 'xxx",
    ),
]


BEYOND_A_PROGRAM: list[tuple[dict[str, Any], str]] = [
    ({"env": {"V": "x" * (spec_bounds.ARGUMENT + 1)}}, "services.web.env.V: 'xxx"),
    ({"command": Argv(["run", "x" * (spec_bounds.ARGUMENT + 1)])}, "services.web.command[1]: 'xxx"),
]


def web_with(fields: dict[str, Any]) -> ServiceSpec:
    given: dict[str, Any] = {"name": "web", "command": Argv(["run"]), **fields}
    return ServiceSpec(**given)


@pytest.mark.parametrize(("fields", "refusal"), [*TOO_LARGE, *BEYOND_A_PROGRAM])
def test_what_no_message_may_have_is_refused_at_submit(
    fields: dict[str, Any], refusal: str
) -> None:
    # S25
    with pytest.raises(SpecError) as refused:
        admit(web_with(fields))
    said = str(refused.value)
    assert said.startswith(refusal)
    assert "want at most" in said
    assert len(said) < 200


def test_service_is_bounded_as_a_whole_too() -> None:  # S25
    large = "x" * spec_bounds.ARGUMENT
    spec = ServiceSpec(
        name="web", command=Argv(["run"]), env={f"V{n}": large for n in range(2 * 64 + 1)}
    )
    with pytest.raises(SpecError, match=r"^services.web: 'about 16 MiB': want at most 16 MiB of"):
        admit(spec)


def test_service_may_be_as_large_as_a_message_lets_it() -> None:
    spec = ServiceSpec(
        name="web",
        command=Argv(["run"] * (MANY - 1)),
        env={"V": "x" * spec_bounds.ARGUMENT},
        ports={f"p{n}": 0 for n in range(1_000)},
    )
    assert admit(spec) == spec
