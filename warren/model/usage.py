"""What the instance of a task uses, as its node reads it when it is asked (S27)."""

from __future__ import annotations

import msgspec

from warren.model.identity import TaskId


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one instance and all that it started use; None is what its node cannot tell.

    `memory_used` and `memory_peak` are bytes, now and at most so far. `cpu_seconds` is time on all
    cores so far, and `throttled_seconds` for how long its limit of cpu has kept it waiting.
    `processes` counts processes and threads, `processes_refused` how often its limit of pids was
    in the way of another.
    """

    memory_used: int | None = None
    memory_peak: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    processes: int | None = None
    processes_refused: int | None = None


class TaskUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the present instance of a task uses."""

    task: TaskId
    usage: Usage
