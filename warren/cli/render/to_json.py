"""A command's output for programs: the only place that defines its keys.

Times are RFC 3339 in UTC; null where there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from warren.client import views
from warren.client.event_forms import facts_json
from warren.client.json_text import json_text
from warren.client.phrases import stamp
from warren.manifest.forms import written
from warren.model.check import Sample
from warren.model.cluster import Entry
from warren.model.event import word_of
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, ProbeStatus
from warren.model.usage import Usage
from warren.model.view import (
    Applied,
    ManagerStatus,
    NodeView,
    ServiceView,
    SlotName,
    TaskDetail,
    TaskView,
)
from warren.rules.masking import hidden_fields

Shape = dict[str, Any]


def text(shape: object) -> str:
    """JSON for a whole answer, indented."""
    return json_text(shape, indent=2)


def line(shape: object) -> str:
    """JSON for one of many, on one line."""
    return json_text(shape)


def service(view: ServiceView, now: float) -> Shape:
    """A service with its tasks. `spec` is what a service file has under the service's name."""
    sums = views.health(view)
    return {
        "name": view.spec.name,
        "replicas": view.spec.replicas,
        "health": {
            "healthy": sums.healthy,
            "total": sums.total,
            "restarting": sums.restarting,
            "complete": sums.complete,
            "failed": sums.failed,
            "stale": sums.stale,
        },
        "spec": spec(view.spec),
        "tasks": [task(one, now) for one in view.tasks],
    }


def spec(value: ServiceSpec) -> Shape:
    """A spec as a service file has it; null stands for a value that is not shown."""
    body: Shape = written(value)
    for *way, name in hidden_fields(value):
        place = body
        for step in way:
            place = place[step]
        place[name] = None
    return body


def task(view: TaskView, now: float) -> Shape:
    """A task as it is now."""
    status = view.status
    return {
        "id": str(view.id),
        "slot": view.id.slot,
        "node": view.node,
        "state": views.state(view, now),
        "ready": status.ready,
        "restarts": status.restarts,
        "slot_restarts": view.slot_restarts,
        "pending_reason": status.pending_reason,
        "restart_at": None if status.restart_at is None else stamp(status.restart_at),
        "last_end": status.last_end and _end(status.last_end),
        "instance": status.instance and _instance(status.instance),
        "probes": {
            kind.value: _probe(probe, is_stale=view.is_stale)
            for kind, probe in status.probes.items()
        },
    }


def gone(slot: SlotName) -> Shape:
    """A slot that is no more, among changed tasks."""
    return {"service": slot.service, "slot": slot.slot, "gone": True}


def detail(view: TaskDetail, now: float) -> Shape:
    """A task with its spec, its warnings and the kept outcomes of its probes, oldest first."""
    shape = task(view.task, now)
    for kind, probe in view.task.status.probes.items():
        shape["probes"][kind.value] |= {
            "warning": probe.warning,
            "history": [_sample(one) for one in view.samples.get(kind, ())],
        }
    return {
        "service": view.task.id.service,
        **shape,
        "created_at": stamp(view.task.created_at),
        "desired": view.task.desired.value,
        "stale": view.task.is_stale,
        "outdated": view.task.is_outdated,
        "spec": spec(view.spec),
        "usage": view.usage and usage(view.usage),
    }


def usage(value: Usage) -> Shape:
    """What an instance uses: bytes, seconds of cores, processes and threads."""
    return msgspec.structs.asdict(value)


def node(view: NodeView) -> Shape:
    """A node."""
    return {
        "name": view.name,
        "state": view.state.value,
        "joined_at": stamp(view.joined_at),
        "lost_at": None if view.lost_at is None else stamp(view.lost_at),
        "warren": view.warren,
        "tasks": view.tasks,
        "address": view.description.address,
        "cpus": view.description.cpus,
        "memory": view.description.memory,
        "labels": dict(view.description.labels),
        "features": list(view.description.features),
        "runtimes": [
            {
                "name": one.name,
                "version": one.version,
                "features": list(one.features),
                "unavailable": one.unavailable or None,
                "no_limits": one.no_limits or None,
            }
            for one in view.description.runtimes
        ],
        "containment": view.containment,
        "conditions": [
            {"kind": one.kind, "message": one.message, "since": stamp(one.since)}
            for one in view.conditions
        ],
        "places": [
            {
                "kind": one.kind,
                "cap": one.cap,
                "in_flight": one.in_flight,
                "waiting": one.waiting,
                "longest_wait_ms": round(one.longest_wait * 1000, 3),
            }
            for one in view.places
        ],
    }


def event(entry: Entry) -> Shape:
    """An event."""
    return {
        "seq": entry.seq,
        "at": stamp(entry.at),
        "kind": word_of(entry.kind, entry.word),
        "subject": entry.subject,
        "service": entry.service or None,
        "reason": entry.reason or None,
        "message": entry.message,
        "by": entry.by or None,
        "facts": facts_json(entry.facts),
    }


def applied(parts: Iterable[Applied]) -> list[Shape]:
    """The action taken for every service of a file."""
    return [{"service": part.service, "action": part.action.value} for part in parts]


def manager(status: ManagerStatus, trouble: Iterable[str]) -> Shape:
    """The state of Warren itself."""
    troubles = [*trouble]
    return {
        "well": not troubles,
        "warren": status.warren,
        "pid": status.pid,
        "started_at": stamp(status.started_at),
        "generation": status.generation,
        "services": status.services,
        "tasks": status.tasks,
        "nodes_ready": status.nodes_ready,
        "nodes": status.nodes,
        "trouble": troubles,
    }


def _end(end: End) -> Shape:
    return {
        "reason": end.reason.value,
        "exit_code": end.exit_code,
        "signal": end.signal,
        "message": end.message,
        "memory": end.memory and msgspec.structs.asdict(end.memory),
        "at": stamp(end.at),
    }


def _instance(instance: Instance) -> Shape:
    return {
        "id": instance.id,
        "runtime": instance.runtime,
        "pid": instance.pid,
        "started_at": stamp(instance.started_at),
        "address": instance.address,
        "ports": dict(instance.ports),
    }


def _probe(probe: ProbeStatus, *, is_stale: bool) -> Shape:
    return {
        "verdict": probe.verdict.value,
        "consecutive_failures": probe.consecutive_failures,
        "consecutive_successes": probe.consecutive_successes,
        "stale": is_stale,
        "last": probe.last and _sample(probe.last),
        "waited_ms": round(probe.waited * 1000, 3),
        "longest_wait_ms": round(probe.longest_wait * 1000, 3),
    }


def _sample(sample: Sample) -> Shape:
    return {
        "outcome": sample.outcome.result.value,
        "detail": sample.outcome.detail,
        "at": stamp(sample.at),
        "duration_ms": round(sample.outcome.duration * 1000, 3),
        "waited_ms": round(sample.outcome.waited * 1000, 3),
    }
