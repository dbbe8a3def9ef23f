"""Tasks and their events in words: the same on a terminal, in a log and in JSON."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from warren.client.event_forms import facts_json, form_of, in_form
from warren.client.json_text import json_text
from warren.model.check import Result, Sample
from warren.model.event import EventKind, TaskEvent, word_of
from warren.model.probe import ProbeKind, Verdict
from warren.model.task import Phase, Reason, TaskStatus
from warren.rules.health import Health

_BACKOFF = "backoff"
_CALLED = {Phase.PENDING: "pending", Phase.ASSIGNED: "pending", Phase.STARTING: "starting"}


def state_of(status: TaskStatus, now: float, *, is_stopping: bool = False) -> str:
    """The state of a task, and since when or until when it is so. `now` is wall time;
    `is_stopping` says that all are being stopped."""
    word = state_word(status, now, is_stopping=is_stopping)
    if word == _BACKOFF and status.restart_at is not None:
        return f"{word} {_until(status.restart_at, now)}"
    if status.instance is None or _is_told_by_phase(status) or _failed(status) is not None:
        return word
    return f"{word} {span(now - status.instance.started_at)}"


def state_word(status: TaskStatus, now: float, *, is_stopping: bool = False) -> str:
    """The state of a task in one word."""
    if _is_told_by_phase(status):
        return str(status.phase)
    if status.instance is not None:
        return "stopping" if _failed(status) else _CALLED.get(status.phase, "running")
    if is_stopping:
        return "stopped"
    if status.restart_at is not None and status.restart_at > now:
        return _BACKOFF
    if status.pending_reason is not None:
        return "pending"
    return _CALLED.get(status.phase, "starting")


def _is_told_by_phase(status: TaskStatus) -> bool:
    return status.phase.is_end or status.phase in (Phase.STOPPING, Phase.UNKNOWN)


def _failed(status: TaskStatus) -> ProbeKind | None:
    """The probe that the instance has failed, for which it is being stopped now."""
    if status.phase is not Phase.RUNNING or status.instance is None:
        return None
    verdicts = {kind: probe.verdict for kind, probe in status.probes.items()}
    ending = (ProbeKind.STARTUP, ProbeKind.LIVENESS)
    return next((kind for kind in ending if verdicts.get(kind) is Verdict.UNHEALTHY), None)


_LONG_WAIT = 1.0  # seconds for a place to ask from, that are worth a word (S10)


def last_sample(status: TaskStatus) -> tuple[ProbeKind, Sample] | None:
    """The outcome to show, and its probe: the last one that did not pass, else the last one."""
    samples = [(kind, probe.last) for kind, probe in status.probes.items() if probe.last]
    bad = [(kind, one) for kind, one in samples if one.outcome.result is not Result.PASS]
    return max(bad or samples, key=lambda found: found[1].at, default=None)


def waits_for(status: TaskStatus, now: float) -> str | None:
    """What a task is pending for, and how much longer where that is known; None where it does
    not wait."""
    reason, at = status.pending_reason, status.restart_at
    if reason is None or at is None or at <= now:
        return reason
    return f"{reason}; starts in {_until(at, now)}"


def why(status: TaskStatus, now: float, *, cause_first: bool = False) -> str | None:
    """Why a task waits or is stopped, what is wrong with its checks, or why it last ended unasked;
    of an end with `cause_first` when it was comes last, where the line may be cut."""
    waits = waits_for(status, now)
    if waits is not None:
        return f"pending: {waits}"
    failed = _failed(status)
    if failed is not None:
        last = status.probes[failed].last
        said = f": {last.outcome.detail}" if last is not None else ""
        return f"the {failed.value} probe has failed{said}; it is being stopped"
    for probe in status.probes.values():
        if probe.warning is not None:
            return probe.warning
    for kind, probe in status.probes.items():
        if probe.waited >= _LONG_WAIT:
            return f"the {kind.value} check has waited {span(probe.waited)} for a place"
    end = status.last_end
    if end is None or end.reason is Reason.STOP_ASKED:
        return None
    when = f"ended {ago(now - end.at)}"
    return f"{end.message} ({when})" if cause_first else f"{when}: {end.message}"


def sentence(status: TaskStatus, event: TaskEvent) -> str:
    """What happened, without the time and the task."""
    message = one_line(event.message)
    if event.kind is EventKind.RESTARTING:  # the next step comes first, as the end may be cut
        delay = event.facts and event.facts.restart_in
        when = f" in {delay:.1f}s" if delay else ""
        ended = status.last_end and one_line(status.last_end.message)
        return f"restarting{when}: {ended}" if ended else f"restarting{when}"
    return in_form(form_of(event.kind), one_line(word_of(event.kind, event.word)), message)


def event_line(status: TaskStatus, event: TaskEvent) -> str:
    """`12:00:01 web.1#1 ready`."""
    return f"{clock(event.at)} {event.task} {sentence(status, event)}"


def event_json(status: TaskStatus, event: TaskEvent, health: Health | None) -> str:
    """The same for programs, as one line of JSON."""
    fields = {
        "at": stamp(event.at),
        "task": str(event.task),
        "service": event.task.service,
        "kind": word_of(event.kind, event.word),
        "reason": event.reason or None,
        "message": event.message,
        "phase": str(status.phase),
        "ready": status.ready,
        "restarts": status.restarts,
        "pid": status.instance and status.instance.pid,
        "health": None if health is None else str(health),
        "facts": facts_json(event.facts),
    }
    return json_text(fields)


def clock(at: float) -> str:
    """Wall time as the local clock shows it."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def stamp(at: float) -> str:
    """Wall time for programs: RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def ago(seconds: float) -> str:
    """How long ago, for people."""
    return "now" if seconds < 1 else f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """A length of time in at most two units, rounded down."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02}s"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60:02}m"
    return f"{left // 86400}d{left % 86400 // 3600:02}h"


def _until(at: float, now: float) -> str:
    return span(at - now + 0.999)  # rounded up: it is not over at 0s


def one_line(text: str) -> str:
    """Foreign text on one line, without terminal control characters."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
