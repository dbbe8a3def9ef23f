"""What a spec needs of a node: a runtime, and features. The one table of features.

A node of an earlier version does not know a field that is newer than itself, and would run the task
without what it says. So a field of a spec that was added after nodes began to announce features
(or that no node could do before) has a row here, with the word that a node which honours it
announces, as its runtime's or as its own. The manager places by it, and the node asks it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from warren.model.container import HOST_NETWORK, NO_NETWORK, Pull
from warren.model.node_description import PROCESS, NodeDescription, RuntimeInfo
from warren.model.service import ServiceSpec


class Feature(msgspec.Struct, frozen=True):
    """Something that not every node can do. `value` returns what the spec asks of it, None where
    it asks nothing; `field` is where it stands in the spec. `refusal`: no node can do it yet, and
    what would be right; a spec that asks it is refused at submit."""

    word: str
    field: str
    value: Callable[[ServiceSpec], object]
    refusal: str | None = None


class Needs(NamedTuple):
    """`runtime` None: whichever has the features."""

    runtime: str | None
    features: frozenset[str]


def limit_word(resource: str) -> str:
    """The feature of holding a limit (S27) of `memory`, `cpu` or `pids`."""
    return f"{resource}-limit"


LIMITS = frozenset(map(limit_word, ("memory", "cpu", "pids")))
IMAGES = "images"
FEATURES: tuple[Feature, ...] = (
    Feature(IMAGES, "image", lambda spec: spec.image),
    Feature(limit_word("memory"), "resources.memory", lambda spec: spec.resources.memory),
    Feature(limit_word("cpu"), "resources.cpu", lambda spec: spec.resources.cpu),
    Feature(limit_word("pids"), "resources.pids", lambda spec: spec.resources.pids),
    Feature("args", "args", lambda spec: spec.args),
    Feature("mounts", "mounts", lambda spec: spec.mounts or None),
    Feature("read-only-root", "read_only", lambda spec: spec.read_only or None),
    Feature("capabilities", "cap_add", lambda spec: spec.cap_add or spec.cap_drop or None),
    Feature("ulimits", "ulimits", lambda spec: spec.ulimits or None),
    Feature("host-network", "network", lambda spec: _if_equal(spec.network, HOST_NETWORK)),
    Feature("no-network", "network", lambda spec: _if_equal(spec.network, NO_NETWORK)),
    Feature("named-networks", "network", lambda spec: _named_network(spec)),
    Feature("labels", "labels", lambda spec: spec.labels if spec.image and spec.labels else None),
    Feature("pull-policy", "pull", lambda spec: None if spec.pull is Pull.MISSING else spec.pull),
    Feature("image-healthcheck", "health", lambda spec: None if spec.image_health else "none"),
)


def needs(spec: ServiceSpec) -> Needs:
    """What a node must have for this spec. Labels of a process are shown, and no node's concern."""
    runtime = PROCESS if spec.image is None else spec.runtime
    asked = [feature.word for feature in FEATURES if feature.value(spec) is not None]
    return Needs(runtime, frozenset(asked))


def _if_equal(network: str | None, wanted: str) -> str | None:
    return wanted if network == wanted else None


def _named_network(spec: ServiceSpec) -> str | None:
    return None if spec.network in (HOST_NETWORK, NO_NETWORK) else spec.network


def beyond_any_node(spec: ServiceSpec) -> Feature | None:
    """The first thing the spec asks that no node can do yet; None where there may be one."""
    for feature in FEATURES:
        if feature.refusal is not None and feature.value(spec) is not None:
            return feature
    return None


def fitting_runtime(node: NodeDescription, spec: ServiceSpec) -> RuntimeInfo | None:
    """The node's runtime that runs this spec: the first that can; None where none can."""
    wanted = needs(spec)
    for runtime in _candidates(node, wanted):
        if not runtime.unavailable and not _missing(node, runtime, wanted):
            return runtime
    return None


def would_fit(node: NodeDescription, spec: ServiceSpec) -> bool:
    """Whether one of the node's runtimes runs this spec once it is there."""
    wanted = needs(spec)
    return any(not _missing(node, one, wanted) for one in _candidates(node, wanted))


def lack(node: NodeDescription, spec: ServiceSpec) -> str | None:
    """What the node lacks for this spec, in words for people; None where it can run it (S26)."""
    if fitting_runtime(node, spec) is not None:
        return None
    wanted = needs(spec)
    candidates = _candidates(node, wanted)
    if not candidates:
        return "lacks any runtime" if wanted.runtime is None else f"lacks runtime {wanted.runtime}"
    nearest = min(candidates, key=lambda one: len(_missing(node, one, wanted)))
    missing = _missing(node, nearest, wanted)
    if missing:
        why = f": {nearest.no_limits}" if nearest.no_limits and missing & LIMITS else ""
        return f"lacks {', '.join(sorted(missing))}{why}"
    return f"runtime {nearest.name} is not available: {nearest.unavailable}"


def _candidates(node: NodeDescription, wanted: Needs) -> list[RuntimeInfo]:
    return [one for one in node.runtimes if wanted.runtime in (None, one.name)]


def _missing(node: NodeDescription, runtime: RuntimeInfo, wanted: Needs) -> frozenset[str]:
    return wanted.features.difference(runtime.features, node.features)
