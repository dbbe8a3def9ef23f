"""What an event of an edit says of it: the names of what has changed, and how many are wanted."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from tests.model.specs import specs
from warren.model.check import Args, Argv, HttpCheck, TcpCheck
from warren.model.container import Ulimit
from warren.model.duration import Duration
from warren.model.event import EventFacts
from warren.model.probe import Probe
from warren.model.service import Resources, Restart, ServiceSpec, Stop
from warren.rules.spec_changes import MOST, edit_facts, in_words

SPEC = ServiceSpec(
    name="web",
    command=Argv(["run"]),
    replicas=3,
    env={"LEVEL": "info", "OLD": "x"},
    ports={"http": 0},
    liveness=Probe(http=HttpCheck(headers={"Token": "secret"})),
)
changed = msgspec.structs.replace


@pytest.mark.parametrize(
    ("edit", "names", "said"),
    [
        ({"replicas": 4}, ("replicas",), "replicas 3 -> 4"),
        ({"command": Argv(["run", "-v"]), "replicas": 1}, ("command", "replicas"),
         "command, replicas 3 -> 1"),
        ({"env": {"LEVEL": "debug", "NEW": "y"}}, ("env.LEVEL", "env.NEW", "env.OLD"),
         "env.LEVEL, env.NEW, env.OLD"),
        ({"liveness": Probe(tcp=TcpCheck(), interval=Duration(5))},
         ("liveness.http", "liveness.interval", "liveness.tcp"),
         "liveness.http, liveness.interval, liveness.tcp"),
        ({"liveness": None, "readiness": SPEC.liveness}, ("liveness", "readiness"),
         "liveness, readiness"),
        ({"liveness": Probe(http=HttpCheck(headers={"Token": "other"}))},
         ("liveness.http.headers.Token",), "liveness.http.headers.Token"),
        ({"command": None, "image": "web", "args": Args(["-v"]), "image_health": False,
          "ulimits": {"core": Ulimit(soft=0, hard=1)}, "labels": {"team": "shop"}},
         ("args", "command", "image", "health", "labels.team", "ulimits.core"),
         "args, command, image, health, labels.team and 1 more"),
        ({"restart": Restart(max_attempts=9)}, ("restart.max_attempts",), "restart.max_attempts"),
        ({"env": {}}, ("env.LEVEL", "env.OLD"), "env.LEVEL, env.OLD"),
        ({"resources": Resources(pids=9)}, ("resources.pids",), "resources.pids"),
        ({"resources": Resources(), "stop": Stop(), "replicas": 4}, ("replicas",),
         "replicas 3 -> 4"),  # a default that is written is no change
        ({"env": {f"V{i}": "" for i in range(8)}},
         ("env.LEVEL", "env.OLD", *(f"env.V{i}" for i in range(8))),
         "env.LEVEL, env.OLD, env.V0, env.V1, env.V2 and 5 more"),
        ({"env": {f"V{i}": "" for i in range(MOST)}, "ports": {}}, ("env", "ports"), "env, ports"),
        ({"env": {"E" * 2000: "1", "LEVEL": "debug"}, "replicas": 1}, ("env", "replicas"),
         "env, replicas 3 -> 1"),
        ({"liveness": Probe(http=HttpCheck(headers={"H" * 2000: "x"}))}, ("liveness",),
         "liveness"),
    ],
)  # fmt: skip
def test_an_edit_names_what_it_changes_and_no_value(
    edit: dict[str, object], names: tuple[str, ...], said: str
) -> None:
    facts = edit_facts(SPEC, changed(SPEC, **edit))
    assert (facts.changed, in_words(facts)) == (names, said)
    assert (facts.replicas_before is None) == ("replicas" not in edit)


def test_the_number_of_replicas_is_said_before_and_after() -> None:
    facts = edit_facts(SPEC, changed(SPEC, replicas=0))
    assert facts == EventFacts(changed=("replicas",), replicas=0, replicas_before=3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specs(), specs())
def test_an_edit_says_something_exactly_if_it_changes_something(
    old: ServiceSpec, new: ServiceSpec
) -> None:
    new = changed(new, name=old.name)
    facts = edit_facts(old, new)
    assert bool(facts.changed) == (old != new) == bool(in_words(facts))
    assert len(facts.changed) <= MOST
