"""The meaning of a cluster's views: the health of a service, the state of a task."""

from __future__ import annotations

from warren.client.phrases import state_word
from warren.model.cluster import Desired
from warren.model.view import ServiceView, TaskView
from warren.rules.health import Health, has_failed_for_good, summarize


def health(view: ServiceView) -> Health:
    """A service's health. Tasks that are to go do not count; the state of stale ones is
    unknown, and they are counted as such."""
    wanted = [task for task in view.tasks if task.desired is Desired.RUN]
    known = [task.status for task in wanted if not task.is_stale]
    failed = sum(has_failed(view, task) for task in wanted)
    stale = len(wanted) - len(known)
    return summarize(view.spec.replicas, known, failed=failed, stale=stale)


def has_failed(view: ServiceView, task: TaskView) -> bool:
    """Whether a task has failed for good: no other follows it."""
    return has_failed_for_good(view.spec, task.status) and not task.is_outdated


def state(view: TaskView, now: float) -> str:
    """One word: pending, starting, running, backoff, stopping, complete, failed, crashed,
    stopped or, of a node of a later version, unknown."""
    return state_word(view.status, now)
