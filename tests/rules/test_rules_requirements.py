"""What a spec needs, and what a node lacks for it (S26)."""

from __future__ import annotations

from typing import Any

import pytest

from warren.model.byte_size import ByteSize
from warren.model.check import Args, Argv
from warren.model.container import Pull, Ulimit
from warren.model.mount import Mount, MountType
from warren.model.node_description import PROCESS, UNDESCRIBED, NodeDescription, RuntimeInfo
from warren.model.service import Resources, ServiceSpec
from warren.rules import requirements
from warren.rules.requirements import FEATURES, Feature, Needs, fitting_runtime, lack, needs

WEB = ServiceSpec(name="web", command=Argv(["web"]))
LIMITED = ServiceSpec(
    name="web",
    command=Argv(["web"]),
    resources=Resources(memory=ByteSize(1 << 30), cpu=0.5, pids=9),
)
IMAGE = ServiceSpec(name="web", image="nginx")


def node(*runtimes: RuntimeInfo, features: tuple[str, ...] = ()) -> NodeDescription:
    return NodeDescription(runtimes=runtimes, features=features)


def runtime(name: str, *features: str, unavailable: str = "") -> RuntimeInfo:
    return RuntimeInfo(name=name, features=features, unavailable=unavailable)


ALL = ("memory-limit", "cpu-limit", "pids-limit")
UNLIMITED = RuntimeInfo(
    name=PROCESS, features=("memory-limit",), no_limits="cpu, pids in /a: not delegated"
)


def test_a_spec_without_an_image_means_a_process_and_needs_nothing_else() -> None:
    assert needs(WEB) == Needs(PROCESS, frozenset())
    assert lack(UNDESCRIBED, WEB) is None


def test_every_field_that_no_earlier_node_honours_has_its_word() -> None:
    assert needs(LIMITED) == Needs(PROCESS, frozenset(ALL))
    assert needs(IMAGE) == Needs(None, frozenset({"images"}))
    words = [feature.word for feature in FEATURES]
    assert sorted(set(words)) == sorted(words)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"args": Args()}, "args"),
        ({"mounts": (Mount(type=MountType.TMPFS, target="/run"),)}, "mounts"),
        ({"read_only": True}, "read-only-root"),
        ({"cap_add": ("NET_RAW",)}, "capabilities"),
        ({"cap_drop": ("ALL",)}, "capabilities"),
        ({"ulimits": {"core": Ulimit(soft=0, hard=0)}}, "ulimits"),
        ({"network": "host"}, "host-network"),
        ({"network": "none"}, "no-network"),
        ({"network": "front"}, "named-networks"),
        ({"labels": {"team": "shop"}}, "labels"),
        ({"pull": Pull.NEVER}, "pull-policy"),
        ({"image_health": False}, "image-healthcheck"),
    ],
)
def test_every_field_of_a_container_has_its_word(fields: dict[str, Any], word: str) -> None:
    spec = ServiceSpec(name="web", image="nginx", **fields)
    assert needs(spec) == Needs(None, frozenset({"images", word}))
    assert lack(node(runtime("docker", "images")), spec) == f"lacks {word}"
    assert lack(node(runtime("docker", "images", word)), spec) is None


def test_labels_of_a_process_need_nothing() -> None:
    spec = ServiceSpec(name="web", command=Argv(["web"]), labels={"team": "shop"})
    assert needs(spec) == Needs(PROCESS, frozenset())


def test_a_runtime_that_is_insisted_on_is_the_one() -> None:
    there = node(runtime(PROCESS), runtime("podman", "images"), runtime("docker", "images"))
    wanted = ServiceSpec(name="web", image="nginx", runtime="docker")
    assert fitting_runtime(there, wanted) == runtime("docker", "images")
    assert lack(node(runtime("podman", "images")), wanted) == "lacks runtime docker"
    away = node(runtime("podman", "images"), runtime("docker", "images", unavailable="no socket"))
    assert lack(away, wanted) == "runtime docker is not available: no socket"


@pytest.mark.parametrize(
    ("there", "spec", "said"),
    [
        (UNDESCRIBED, LIMITED, "lacks cpu-limit, memory-limit, pids-limit"),
        (node(runtime(PROCESS, "memory-limit", "cpu-limit")), LIMITED, "lacks pids-limit"),
        (node(UNLIMITED), LIMITED, "lacks cpu-limit, pids-limit: cpu, pids in /a: not delegated"),
        (node(runtime(PROCESS), features=ALL), LIMITED, None),
        (node(runtime(PROCESS, *ALL, "teleport")), LIMITED, None),
        (node(runtime("docker", "images", *ALL)), LIMITED, "lacks runtime process"),
        (node(), WEB, "lacks runtime process"),
        (node(), IMAGE, "lacks any runtime"),
        (node(runtime(PROCESS)), IMAGE, "lacks images"),
        (
            node(runtime(PROCESS), runtime("docker", "images", unavailable="no socket")),
            IMAGE,
            "runtime docker is not available: no socket",
        ),
        (
            node(runtime("docker", "images", unavailable="no socket"), runtime("podman", "images")),
            IMAGE,
            None,
        ),
    ],
)
def test_what_a_node_lacks_is_said(
    there: NodeDescription, spec: ServiceSpec, said: str | None
) -> None:
    assert lack(there, spec) == said
    assert (fitting_runtime(there, spec) is None) == (said is not None)


def test_the_first_runtime_that_can_is_the_one() -> None:
    there = node(runtime(PROCESS), runtime("podman", "images"), runtime("docker", "images"))
    assert fitting_runtime(there, IMAGE) == runtime("podman", "images")
    assert fitting_runtime(there, WEB) == runtime(PROCESS)


def test_a_feature_that_is_made_up_is_asked_like_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_up = Feature("levitation", "user", lambda spec: spec.user)
    monkeypatch.setattr(requirements, "FEATURES", (*FEATURES, made_up))
    wanted = ServiceSpec(name="web", command=Argv(["web"]), user="yogi")
    assert lack(UNDESCRIBED, wanted) == "lacks levitation"
    assert lack(node(runtime(PROCESS, "levitation")), wanted) is None
    assert lack(UNDESCRIBED, WEB) is None
