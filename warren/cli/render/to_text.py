"""A command's output for people: lists of lines, with foreign text made safe."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

from warren.cli.render.container_lines import container_lines, what_runs
from warren.cli.render.table import aligned, table
from warren.cli.render.usage_text import USED_HEADS, limits, used, used_cells
from warren.client import views
from warren.client.event_forms import Form, form_of, in_form
from warren.client.phrases import ago, last_sample, one_line, span, state_of, waits_for, why
from warren.model.check import Outcome
from warren.model.check_kinds import kind_of
from warren.model.cluster import Entry
from warren.model.duration import Duration
from warren.model.event import word_of
from warren.model.identity import TaskId
from warren.model.node_description import PROCESS, NodeDescription, RuntimeInfo
from warren.model.plural import counted
from warren.model.probe import Probe
from warren.model.service import LOOPBACK, Condition, Restart, ServiceSpec
from warren.model.task import Phase, ProbeStatus
from warren.model.usage import Usage
from warren.model.view import (
    ManagerStatus,
    NodeState,
    NodeView,
    ServiceView,
    SlotName,
    TaskDetail,
    TaskView,
)

_HEADS = ("TASK", "NODE", "STATE", "READY", "RESTARTS", "PORTS", "WHY")
_LONGEST_COMMAND = 60
_LONGEST_PORTS = 40
_STALE = "stale: the node does not answer"
_WORTH_A_WORD = 0.1  # seconds of waiting for a place


def services(views: Sequence[ServiceView]) -> list[str]:
    """`service ls`."""
    rows = [[view.spec.name, _health(view), _cut(_runs(view.spec))] for view in views]
    return table(["NAME", "HEALTH", "RUNS"], rows)


def service(view: ServiceView, now: float, *, shows_values: bool = False) -> list[str]:
    """`service inspect`: the config, `Health: 3/3 healthy`, and one line a task. With
    `shows_values` those of variables and headers too, which may be secrets."""
    tasks = [_told(one, now) for one in view.tasks]
    return [
        *_config(view.spec, shows_values=shows_values),
        f"Health: {_health(view)}",
        *aligned(tasks),
    ]


def tasks(
    views: Sequence[TaskView], now: float, usages: Mapping[TaskId, Usage] | None = None
) -> list[str]:
    """`service ps` and `task ls`; with `usages` what each uses."""
    if usages is None:
        return table(_HEADS, [_row(view, now) for view in views])
    rows = [[*_row(view, now)[:-1], *used_cells(usages.get(view.id))] for view in views]
    return table([*_HEADS[:-1], *USED_HEADS], rows)


def changed_tasks(
    changed: Sequence[TaskView], gone: Sequence[SlotName], known: Sequence[TaskView], now: float
) -> list[str]:
    """Rows for what has changed, without heads, as wide as those of all that are known."""
    rows = [_row(view, now) for view in changed]
    rows += [[f"{one.service}.{one.slot}", "", "gone", "", "", "", ""] for one in gone]
    before = [_row(view, now) for view in known]
    return table(_HEADS, [*before, *rows])[1 + len(before) :]


def task(detail: TaskDetail, now: float, *, shows_values: bool = False) -> list[str]:
    """`task inspect`: the task, its probes, and the outcomes that are kept of them."""
    view = detail.task
    status = view.status
    lines = [
        f"Task: {view.id}",
        f"Node: {view.node or 'none yet'}",
        f"State: {state_of(status, now)}{' (' + _STALE + ')' if view.is_stale else ''}",
        f"Ready: {_yes(status.ready)}",
        f"Restarts: {_restarts(view)}",
    ]
    if view.is_outdated and not status.phase.is_end:
        lines.append("Outdated: its service has a newer spec; it will be replaced")
    if status.instance is not None:
        one = status.instance
        at = "" if one.address == LOOPBACK else f", at {one_line(one.address)}"
        at += "".join(f", {name} {number}" for name, number in one.ports.items())
        of = "" if one.runtime == PROCESS else f"{one_line(one.runtime)}, "
        of += "" if one.pid is None else f"pid {one.pid}, "
        lines.append(f"Instance: {one.id}, {of}since {when(one.started_at)}{at}")
    if status.last_end is not None:
        end = status.last_end
        lines.append(f"Last end: {when(end.at)} {end.reason.value}: {one_line(end.message)}")
    waits = waits_for(status, now)
    if waits is not None:
        lines.append(f"Pending: {one_line(waits)}")
    if detail.usage is not None:
        lines.append(f"Usage: {', '.join(used(detail.usage, detail.spec.resources))}")
    return [*lines, *_config(detail.spec, shows_values=shows_values), *_probes(detail, now)]


def nodes(views: Sequence[NodeView], now: float) -> list[str]:
    """`node ls`."""
    rows = [
        [
            view.name,
            node_state(view, now),
            str(view.tasks),
            one_line(view.warren),
            one_line(" ".join(one.name for one in view.description.runtimes if _is_there(one))),
            one_line(" ".join(_labels(view.description))),
            one_line(", ".join(one.kind for one in view.conditions)),
        ]
        for view in views
    ]
    heads = ["NODE", "STATE", "TASKS", "WARREN", "RUNTIMES", "LABELS", "CONDITIONS"]
    return table(heads, rows)


def node(view: NodeView, placed: Sequence[TaskView], now: float) -> list[str]:
    """`node inspect`."""
    return [
        f"Node: {view.name}",
        f"State: {node_state(view, now)}",
        f"Joined: {when(view.joined_at)}",
        f"Warren: {one_line(view.warren) or 'unknown'}",
        f"Tasks: {view.tasks}{_and_ended(placed)}",
        *_described(view.description),
        *([f"Containment: {one_line(view.containment)}"] if view.containment else []),
        *(
            f"Condition: {one_line(one.kind)} since {when(one.since)}: {one_line(one.message)}"
            for one in view.conditions
        ),
        *(
            f"Places for {one_line(one.kind)} checks: {one.in_flight} of {one.cap} taken, "
            f"{one.waiting} wait, longest wait {one.longest_wait:.1f}s"
            for one in view.places
        ),
        *aligned([_told(one, now) for one in placed]),
    ]


def _described(node: NodeDescription) -> Iterator[str]:
    """What a node has announced, as far as there is something."""
    if node.address:
        yield f"Address: {one_line(node.address)}"
    if node.cpus:
        yield f"CPUs: {node.cpus:g}"
    if node.memory:
        yield f"Memory: {node.memory / (1 << 30):.1f} GiB"
    if node.labels:
        yield f"Labels: {one_line(', '.join(_labels(node)))}"
    for one in node.runtimes:
        version = f" {one.version}" if one.version else ""
        if _is_there(one):
            said = f": {', '.join(one.features)}" if one.features else ""
            said += f", no other limits: {one.no_limits}" if one.no_limits else ""
        else:
            said = f", not available: {one.unavailable}"
        yield one_line(f"Runtime: {one.name}{version}{said}")
    if node.features:
        yield f"Features: {one_line(', '.join(node.features))}"


def _labels(node: NodeDescription) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(node.labels.items())]


def _is_there(runtime: RuntimeInfo) -> bool:
    return not runtime.unavailable


def _and_ended(placed: Sequence[TaskView]) -> str:
    ended = sum(one.status.phase.is_end for one in placed)
    return f", and {ended} that {'has' if ended == 1 else 'have'} ended" if ended else ""


def node_state(view: NodeView, now: float) -> str:
    """`ready`, or `down 3m10s`."""
    if view.state is NodeState.READY or view.lost_at is None:
        return view.state.value
    return f"{view.state.value} {span(now - view.lost_at)}"


def event(entry: Entry) -> str:
    """`2026-11-24 06:12:01 web.1#1 ready: ...`, and of an edit by whom."""
    form, message = form_of(entry.kind, is_of_node=not entry.service), one_line(entry.message)
    subject = "" if form is Form.SENTENCE and message else f"{one_line(entry.subject)} "
    said = in_form(form, one_line(word_of(entry.kind, entry.word)), message)
    by = f" by {one_line(entry.by)}" if entry.by else ""
    return f"{when(entry.at)} {subject}{said}{by}"


def manager(status: ManagerStatus, trouble: Sequence[str], now: float) -> list[str]:
    """`status`."""
    return [
        f"Warren {one_line(status.warren)}, pid {status.pid}, up {span(now - status.started_at)}",
        f"{counted(status.services, 'service')}, {counted(status.tasks, 'live task')}, "
        f"{status.nodes_ready}/{status.nodes} nodes ready",
        *(f"trouble: {one_line(one)}" for one in trouble),
    ]


def when(at: float) -> str:
    """Wall time as the local calendar and clock show it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _health(view: ServiceView) -> str:
    health = views.health(view)
    said = f"{health}: the node does not answer" if health.stale else str(health)
    return f"{said} (being removed)" if view.is_removing else said


def _row(view: TaskView, now: float) -> list[str]:
    return [
        str(view.id),
        view.node or "-",
        state_of(view.status, now),
        "-" if view.status.phase is Phase.COMPLETE else _yes(view.status.ready),
        _restarts(view),
        _ports(view),
        _why(view, now),
    ]


def _told(view: TaskView, now: float) -> list[str]:
    return [
        str(view.id),
        view.node or "-",
        state_of(view.status, now),
        _ready(view),
        _restarts(view, "restart"),
        _last_check(view, now),
        _why(view, now),
    ]


def _ready(view: TaskView) -> str:
    if view.status.phase is Phase.COMPLETE:
        return "-"  # it has finished its work
    return "ready" if view.status.ready else "not ready"


def _restarts(view: TaskView, noun: str = "") -> str:
    """Restarts of the task, and of its slot where tasks before it had some too."""
    own = view.status.restarts
    said = counted(own, noun) if noun else str(own)
    return said if view.slot_restarts <= own else f"{said} ({view.slot_restarts} in the slot)"


def _ports(view: TaskView) -> str:
    """`http=41233 admin=41234`: the ports that its instance got."""
    if view.status.instance is None:
        return "-"
    ports = view.status.instance.ports.items()
    return _cut(" ".join(f"{name}={number}" for name, number in ports), _LONGEST_PORTS) or "-"


def _last_check(view: TaskView, now: float) -> str:
    found = last_sample(view.status)
    if found is None:
        return "-"
    kind, sample = found
    outcome = sample.outcome
    said = f"{kind.value} {outcome.result.value}: {_cut(one_line(outcome.detail))}"
    # An absent node had reported only changes: it has asked since, but the last time is unknown.
    return f"{said}, {'as of ' if view.is_stale else ''}{ago(now - sample.at)}"


def _why(view: TaskView, now: float) -> str:
    end = view.status.last_end
    if view.status.phase.is_end:
        return one_line(end.message) if end is not None else ""
    said = ["outdated"] if view.is_outdated else []
    said.append(one_line(why(view.status, now, cause_first=True) or ""))
    if view.is_stale:
        said.append(_STALE)
    return "; ".join(one for one in said if one)


def _config(spec: ServiceSpec, *, shows_values: bool) -> list[str]:
    lines = [
        ("Name", spec.name),
        ("Command", shlex.join(spec.command) if spec.command else ""),
        ("Image", spec.image or ""),
        ("Replicas", str(spec.replicas)),
        ("Directory", spec.cwd or ""),
        ("User", f"{spec.user or ''}{', may gain privileges' if spec.new_privileges else ''}"),
        ("Ports", ", ".join(f"{name} {number or 'any'}" for name, number in spec.ports.items())),
        ("Address", "" if spec.address == LOOPBACK else spec.address),
        ("Variables", ", ".join(_variables(spec.env, shows_values=shows_values))),
        ("Labels", ", ".join(f"{name}={shlex.quote(text)}" for name, text in spec.labels.items())),
        ("Runtime", spec.runtime or ""),
        *container_lines(spec),
        ("Restart", _restart(spec.restart)),
        ("Stop", f"SIG{spec.stop.signal}, then {spec.stop.grace} until the kill"),
        ("Limits", ", ".join(limits(spec.resources))),
        *((kind.capitalize(), probe(chosen, shows_values=shows_values))
          for kind, chosen in _chosen(spec)),
    ]  # fmt: skip
    return [f"{title}: {one_line(said)}" for title, said in lines if said]


def _restart(rule: Restart) -> str:
    if rule.condition is Condition.NEVER:
        return rule.condition.value
    return f"{rule.condition.value}, at most {rule.max_attempts} in {rule.window}"


def _variables(env: Mapping[str, str], *, shows_values: bool) -> list[str]:
    return (
        [f"{name}={shlex.quote(value)}" for name, value in env.items()] if shows_values else [*env]
    )


def _chosen(spec: ServiceSpec) -> list[tuple[str, Probe]]:
    kinds = ("startup", "liveness", "readiness")
    chosen = [("health check", spec.health), *((kind, getattr(spec, kind)) for kind in kinds)]
    return [(kind, one) for kind, one in chosen if one is not None]


def probe(one: Probe, *, shows_values: bool = False) -> str:
    """A probe's check and its numbers."""
    numbers = [f"every {one.interval}", f"timeout {one.timeout}", f"retries {one.retries}"]
    if one.successes != 1:
        numbers.append(f"successes {one.successes}")
    for name in ("start_period", "initial_delay", "fast_interval"):
        value: Duration | None = getattr(one, name)
        if value:
            numbers.append(f"{name.replace('_', ' ')} {value}")
    return f"{kind_of(one.check).shown(one.check, shows_values)}, {', '.join(numbers)}"


def _probes(detail: TaskDetail, now: float) -> list[str]:
    lines: list[str] = []
    for kind, status in detail.task.status.probes.items():
        stale = f" ({_STALE})" if detail.task.is_stale else ""
        lines.append(
            f"{kind.value}: {status.verdict.value}, "
            f"{counted(status.consecutive_failures, 'fail')} and "
            f"{counted(status.consecutive_successes, 'pass', 'passes')} in a row{stale}"
        )
        if status.warning is not None:
            lines.append(f"  warning: {one_line(status.warning)}")
        lines += _waits(status)
        samples = detail.samples.get(kind) or ((status.last,) if status.last else ())
        rows = [
            [
                f"  {when(sample.at)}",
                sample.outcome.result.value,
                f"{sample.outcome.duration * 1000:.1f} ms",
                _with_wait(sample.outcome),
            ]
            for sample in samples
        ]
        lines += aligned(rows)
    return lines


def _waits(status: ProbeStatus) -> list[str]:
    """Words about waiting for a place (S10); none where there was no wait."""
    if status.waited < _WORTH_A_WORD and status.longest_wait < _WORTH_A_WORD:
        return []
    waits = f"waits for a place, {status.waited:.1f}s by now; " if status.waited else ""
    return [f"  {waits}longest wait for a place {status.longest_wait:.1f}s"]


def _with_wait(outcome: Outcome) -> str:
    said = one_line(outcome.detail)
    return (
        f"{said} (waited {outcome.waited:.1f}s for a place)"
        if outcome.waited >= _WORTH_A_WORD
        else said
    )


def _runs(spec: ServiceSpec) -> str:
    return one_line(what_runs(spec))


def _cut(text: str, longest: int = _LONGEST_COMMAND) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
