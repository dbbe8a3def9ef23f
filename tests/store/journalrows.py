"""Rows of a journal, for its tests."""

from __future__ import annotations

from warren.model.check import Argv
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, Phase, Reason, RestartHistory, TaskRecord

SPEC = ServiceSpec(name="web", command=Argv(["web"]), env={"A": "b"}, ports={"http": 0})


def record(number: int = 1, *, padding: int = 0) -> TaskRecord:
    """A task that runs; `padding` is about how many bytes longer its row is."""
    task = TaskId("web", 1, number)
    return TaskRecord(
        id=task,
        spec=SPEC,
        phase=Phase.RUNNING,
        instance=Instance(id="i", task=task, pid=7, started_at=1.5, handle={"boot": "b" * padding}),
        starts=3,
        history=RestartHistory((1.0, 2.0), 2, 2),
        last_end=End(reason=Reason.EXITED, message="exited with code 3", at=2.5, exit_code=3),
        ready_since=3.5,
        proven={ProbeKind.LIVENESS: Verdict.HEALTHY},
    )
