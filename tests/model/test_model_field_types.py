"""What a program puts into a spec: of the right types, or refused by field and value (S25)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import warren
from warren import (
    Argv,
    Duration,
    ExecCheck,
    FieldError,
    HttpCheck,
    Probe,
    Resources,
    Restart,
    ServiceSpec,
    SpecError,
    StatusRange,
    Stop,
    TcpCheck,
    WarrenError,
)
from warren.model.container import Ulimit
from warren.model.mount import Mount

COMMAND = 'want a list of words, such as ["sleep", "1"]'
SECONDS = "want a number of seconds, such as 1.5"

REFUSED: list[tuple[Any, dict[str, object], str]] = [
    (ServiceSpec, {"name": 1}, "name: 1: want a string"),
    (ServiceSpec, {"command": "sleep 1"}, f"command: 'sleep 1': {COMMAND} or None"),
    (ServiceSpec, {"command": 5}, f"command: 5: {COMMAND} or None"),
    (ServiceSpec, {"command": ["sleep", 1]}, "command: 1: want a string"),
    (ServiceSpec, {"replicas": "3"}, "replicas: '3': want a whole number"),
    (ServiceSpec, {"replicas": True}, "replicas: True: want a whole number"),
    (ServiceSpec, {"ports": [80]}, "ports: [80]: want a mapping"),
    (ServiceSpec, {"ports": {"http": "80"}}, "ports.http: '80': want a whole number"),
    (ServiceSpec, {"ports": {80: 80}}, "ports: 80: want a string"),
    (ServiceSpec, {"env": {"A": 1}}, "env.A: 1: want a string"),
    (ServiceSpec, {"env": {1: "A"}}, "env: 1: want a string"),
    (ServiceSpec, {"env": ["A=1"]}, "env: ['A=1']: want a mapping"),
    (ServiceSpec, {"user": 0}, "user: 0: want a string or None"),
    (ServiceSpec, {"new_privileges": 1}, "new_privileges: 1: want True or False"),
    (ServiceSpec, {"health": HttpCheck()}, "health: HttpCheck("),
    (ServiceSpec, {"restart": "never"}, "restart: 'never': want Restart(...)"),
    (ServiceSpec, {"stop": None}, "stop: want Stop(...)"),
    (ServiceSpec, {"address": None}, "address: want a string"),
    (Probe, {"tcp": TcpCheck(), "interval": "1s"}, f"interval: '1s': {SECONDS}"),
    (Probe, {"tcp": TcpCheck(), "interval": True}, f"interval: True: {SECONDS}"),
    (Probe, {"tcp": TcpCheck(), "interval": -1}, "interval: -1: want a duration from 0 to 366d"),
    (Probe, {"tcp": TcpCheck(), "timeout": 10**400}, "timeout: 1000"),
    (Probe, {"tcp": TcpCheck(), "retries": "3"}, "retries: '3': want a whole number"),
    (Probe, {"tcp": TcpCheck(), "fast_interval": "1"}, f"fast_interval: '1': {SECONDS} or None"),
    (Probe, {"http": "/healthz"}, "http: '/healthz': want HttpCheck(...) or None"),
    (Probe, {"http": TcpCheck()}, "http: TcpCheck("),
    (HttpCheck, {"path": 1}, "path: 1: want a string"),
    (HttpCheck, {"port": 1.5}, "port: 1.5: want a whole number or a string or None"),
    (HttpCheck, {"scheme": "https"}, "scheme: 'https': want Scheme.HTTP or Scheme.HTTPS"),
    (HttpCheck, {"status": "204"}, "status: '204': want StatusRange(...)"),
    (HttpCheck, {"headers": {"A": 1}}, "headers.A: 1: want a string or a tuple"),
    (HttpCheck, {"headers": {"A": (1, "b")}}, "headers.A: 1: want a string"),
    (HttpCheck, {"headers": {1: "A"}}, "headers: 1: want a string"),
    (TcpCheck, {"host": 7}, "host: 7: want a string or None"),
    (ExecCheck, {"command": "true"}, f"command: 'true': {COMMAND}"),
    (Restart, {"condition": "never"}, "condition: 'never': want Condition.ALWAYS or "),
    (Restart, {"max_attempts": 2.0}, "max_attempts: 2.0: want a whole number"),
    (Stop, {"signal": 15}, "signal: 15: want a string"),
    (Stop, {"grace": None}, f"grace: {SECONDS}"),
    (ServiceSpec, {"image": "x", "mounts": ["/a:/b"]}, "mounts: '/a:/b': want Mount(...)"),
    (ServiceSpec, {"image": "x", "mounts": "/a:/b"}, "mounts: '/a:/b': want a tuple"),
    (ServiceSpec, {"image": "x", "cap_add": [1]}, "cap_add: 1: want a string"),
    (ServiceSpec, {"image": "x", "ulimits": {"core": 1}}, "ulimits.core: 1: want Ulimit(...)"),
    (ServiceSpec, {"labels": {1: "a"}}, "labels: 1: want a string"),
    (ServiceSpec, {"labels": {"a": 1}}, "labels.a: 1: want a string"),
    (ServiceSpec, {"pull": "always"}, "pull: 'always': want Pull.MISSING or "),
    (Mount, {"type": "bind", "target": "/a"}, "type: 'bind': want MountType.BIND or "),
    (Ulimit, {"soft": "1", "hard": 2}, "soft: '1': want a whole number"),
    (Resources, {"memory": 0.5}, 'memory: 0.5: want a size, such as "512M" or None'),
    (Resources, {"memory": "lots"}, "memory: 'lots': want a number of bytes, such as"),
    (Resources, {"memory": "1M"}, "memory: 1M: want at least 6M"),
    (Resources, {"cpu": "1"}, "cpu: '1': want a number or None"),
    (Resources, {"pids": 0}, "pids: 0: want a number of processes and threads from 1"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "said"), REFUSED)
def test_value_of_the_wrong_type_is_refused_with_what_would_be_right(
    kind: Any, fields: dict[str, object], said: str
) -> None:
    given: dict[str, Any] = {**fields}
    if kind is ServiceSpec:
        given = {"name": "web", "command": ["x"], **fields}
    make: Callable[..., object] = kind
    with pytest.raises(FieldError) as caught:
        make(**given)
    assert str(caught.value).startswith(said)
    assert isinstance(caught.value, SpecError)
    assert isinstance(caught.value, WarrenError)


def test_command_is_no_text_of_which_the_letters_would_be_words() -> None:
    with pytest.raises(FieldError, match="command: 'sleep 1': want a list of words"):
        Argv("sleep 1")


def test_lists_and_numbers_become_what_the_fields_declare() -> None:
    given: dict[str, Any] = {"command": ["sleep", "1"], "stop": Stop(grace=Duration(3))}
    spec = ServiceSpec(name="web", **given)
    assert spec == ServiceSpec(name="web", command=Argv(["sleep", "1"]), stop=spec.stop)
    assert type(spec.command) is Argv
    numbers: dict[str, Any] = {"interval": 2, "timeout": 0.5, "fast_interval": 1}
    sizes: list[dict[str, Any]] = [{"memory": "512M"}, {"memory": 512 << 20}]
    assert {repr(Resources(**size).memory) for size in sizes} == {"512M"}
    probe = Probe(tcp=TcpCheck(80), **numbers)
    assert repr([probe.interval, probe.timeout, probe.fast_interval]) == "[2s, 500ms, 1s]"


@pytest.mark.parametrize("name", warren.__all__)
def test_everything_at_the_front_door_is_there(name: str) -> None:
    assert getattr(warren, name) is not None


@pytest.mark.parametrize(
    "ends", [("404",), (None, 199), (99,), (600,), (300, 200), (True,), (200, "x"), (200.5,)]
)
def test_a_range_of_statuses_is_of_statuses(ends: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="want a status such as 204"):
        StatusRange(*ends)


def test_a_range_of_one_status_is_that_one() -> None:
    assert str(StatusRange(204)) == str(StatusRange.parse("204")) == "204"
    assert str(StatusRange()) == "200-399"


@pytest.mark.parametrize("words", [None, 3, "sleep 1"])
def test_a_command_is_a_list_of_words(words: Any) -> None:
    with pytest.raises(FieldError, match="want a list of words"):
        Argv(words)
