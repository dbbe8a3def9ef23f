"""The environment of a process task (S23), and `$(NAME)` in its command."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.model.check import Args, Argv, ExecCheck
from warren.model.identity import TaskId
from warren.model.probe import Probe
from warren.model.service import ServiceSpec
from warren.rules.environment import (
    DEFAULT_PATH,
    INHERITED,
    environment,
    expand,
    port_variable,
    port_variables,
    undefined,
)

WARREN = {
    "WARREN_SERVICE": "web",
    "WARREN_TASK": "web.2#7",
    "WARREN_INSTANCE": "web.2-7.3-9f2c41ab",
    "WARREN_NODE": "hutch",
}


def made(
    env: dict[str, str] | None = None,
    ports: dict[str, int] | None = None,
    inherited: dict[str, str] | None = None,
) -> dict[str, str]:
    return environment(
        ServiceSpec(name="web", command=Argv(["true"]), env=env or {}),
        task=TaskId("web", 2, 7),
        instance="web.2-7.3-9f2c41ab",
        node="hutch",
        ports=ports or {},
        inherited=inherited or {},
    )


def test_environment_of_a_bare_supervisor_has_a_path() -> None:
    assert made() == {"PATH": DEFAULT_PATH} | WARREN


def test_environment_takes_four_names_from_the_supervisor_and_no_more() -> None:
    own = {"PATH": "/bin", "HOME": "/root", "LANG": "C", "TZ": "UTC"}
    others = {"SECRET": "s", "LD_PRELOAD": "x", "PORT": "1", "WARREN_NODE": "liar"}
    assert made(inherited=own | others) == own | WARREN


def test_environment_of_a_container_has_its_images_path_and_home() -> None:
    spec = ServiceSpec(name="web", image="nginx", env={"A": "1"})
    found = environment(
        spec,
        task=TaskId("web", 2, 7),
        instance="web.2-7.3-9f2c41ab",
        node="hutch",
        ports={"http": 80},
        inherited={"PATH": "/opt/bin", "HOME": "/root", "LANG": "C", "TZ": "UTC"},
    )
    assert found == WARREN | {"A": "1", "PORT": "80", "PORT_HTTP": "80"}


def test_environment_service_may_override_all_but_warrens_own() -> None:
    env = made(
        env={"PATH": "/opt", "PORT": "9", "NEW": "ü\n", "WARREN_TASK": "fake", "EMPTY": ""},
        ports={"http": 8080},
        inherited={"PATH": "/bin"},
    )
    own = {"PATH": "/opt", "PORT": "9", "PORT_HTTP": "8080", "NEW": "ü\n", "EMPTY": ""}
    assert env == own | WARREN


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_environment_has_nothing_else_of_the_supervisor(
    inherited: dict[str, str], env: dict[str, str]
) -> None:
    own = {name: text for name, text in env.items() if name and not set(name) & {"=", "\0"}}
    own = {name: text.replace("\0", "") for name, text in own.items()}
    made_of = made(env=own, inherited=inherited)
    assert set(made_of) <= {*INHERITED, *own, *WARREN}
    assert made_of == made_of | own | WARREN


def test_port_variables_name_every_port_and_the_first() -> None:
    ports = {"http": 8080, "admin-api": 9090}
    assert port_variables(ports) == {"PORT": "8080", "PORT_HTTP": "8080", "PORT_ADMIN_API": "9090"}
    assert port_variables({}) == {}
    assert port_variable("a-b-c1") == "PORT_A_B_C1"


@pytest.mark.parametrize(
    ("word", "expanded"),
    [
        ("$(PORT)", "8080"),
        ("--port=$(PORT)", "--port=8080"),
        ("$(PORT)$(PORT_HTTP)", "80808080"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(PORT)", "$(PORT)"),
        ("$$$(PORT)", "$8080"),
        ("$$", "$"),
        ("$$$$", "$$"),
        ("$", "$"),
        ("$PORT", "$PORT"),
        ("${PORT}", "${PORT}"),
        ("$(PORT", "$(PORT"),
        ("$()", "$()"),
        ("$( PORT)", "$( PORT)"),
        ("$(SELF)", "$(SELF)"),
        ("", ""),
    ],
)
def test_expand_replaces_known_names_once(word: str, expanded: str) -> None:
    env = {"PORT": "8080", "PORT_HTTP": "8080", "SELF": "$(SELF)"}
    assert expand(Argv(["run", word]), env) == Argv(["run", expanded])
    assert isinstance(expand(Argv([word]), env), Argv)


@given(st.lists(st.text()), st.dictionaries(st.text("AB"), st.text()))
def test_expand_gives_back_what_has_no_dollar(words: list[str], env: dict[str, str]) -> None:
    plain = Argv(word.replace("$", "") for word in words)
    assert expand(plain, env) == plain


@given(st.lists(st.text(st.sampled_from("$()AB x"))), st.dictionaries(st.text("AB"), st.text()))
def test_expand_of_doubled_dollars_is_the_text_itself(
    words: list[str], env: dict[str, str]
) -> None:
    assert expand(Argv(word.replace("$", "$$") for word in words), env) == Argv(words)


def test_undefined_names_are_told_by_field_and_name() -> None:
    spec = ServiceSpec(
        name="web",
        command=Argv(["run", "$(PORT)$(PORT_HTTP)$(HOME)$(WARREN_TASK)$(OWN)", "$$(MEANT)"]),
        env={"OWN": "1"},
        ports={"http": 0},
        liveness=Probe(exec=ExecCheck(Argv(["ask", "$(PORT)", "$(PRT)", "$(PRT)"]))),
    )
    (said,) = undefined(spec)
    assert said.startswith("services.web.liveness.exec.command: $(PRT): there is no such variable")
    script = Argv(["/bin/sh", "-c", "echo $(date) $(PRT)"])
    (said,) = undefined(ServiceSpec(name="web", command=script))  # $(date) is the shell's
    assert said.startswith("services.web.command: $(PRT): ")
    (said,) = undefined(ServiceSpec(name="web", image="web", args=Args(["$(PRT)"])))
    assert said.startswith("services.web.args: $(PRT): ")
    bare = msgspec.structs.replace(spec, ports={}, liveness=None)
    assert [line.split(": ")[1] for line in undefined(bare)] == ["$(PORT)", "$(PORT_HTTP)"]
