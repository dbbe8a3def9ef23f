"""What an observation of a running instance's probe means for its task.

The first row that fits, once the outcome is in its probe's record:

    the startup or liveness verdict is unhealthy        FAILED   the instance is ended (S16)
    no verdict has changed, and none is the first       NOTHING
    it was not ready, and now it is                     READY
    it was ready, and now it is not                     UNREADY  the instance stays
    the last of its exchanged probes has a verdict      PROVEN   readiness is as it was
    any other                                           VERDICT  to be recorded (S21)
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from warren.model.probe import ProbeKind
from warren.model.task import TaskRecord
from warren.rules.health import is_ready
from warren.rules.probe import Observation, ProbeRecord, Publish
from warren.rules.probe_exchange import holds_readiness, still_proving


class Meaning(enum.Enum):
    """What the caller has to do."""

    NOTHING = "nothing"
    FAILED = "failed"  # end the instance: no request may follow (S6)
    READY = "ready"
    UNREADY = "unready"
    PROVEN = "proven"
    VERDICT = "verdict"


class Judgement(msgspec.Struct, frozen=True):
    """What an observation means; `proving` are the exchanged probes still without a verdict. A
    failure leaves those as they were: the next instance has to prove them too."""

    meaning: Meaning
    proving: tuple[ProbeKind, ...]


_TURNS = {  # was ready, is ready
    (False, False): Meaning.NOTHING,
    (False, True): Meaning.READY,
    (True, False): Meaning.UNREADY,
    (True, True): Meaning.NOTHING,
}


def judge(
    seen: Observation, task: TaskRecord, records: Mapping[ProbeKind, ProbeRecord]
) -> Judgement:
    """What an observation means; `records` has it already, and `task` is as recorded before it."""
    if seen.publish is Publish.UNHEALTHY and seen.record.kind is not ProbeKind.READINESS:
        return Judgement(Meaning.FAILED, task.proving)
    left = still_proving(task.proving, records)
    if seen.publish is Publish.NOTHING and left == task.proving:
        return Judgement(Meaning.NOTHING, left)
    turn = readiness_turn(msgspec.structs.replace(task, proving=left), records)
    if turn is not Meaning.NOTHING:
        return Judgement(turn, left)
    return Judgement(Meaning.PROVEN if task.proving and not left else Meaning.VERDICT, left)


def readiness_turn(task: TaskRecord, records: Mapping[ProbeKind, ProbeRecord]) -> Meaning:
    """READY or UNREADY where the recorded readiness of a running instance is not what its probes
    say, else NOTHING."""
    return _TURNS[task.ready_since is not None, takes_traffic(task, records)]


def takes_traffic(task: TaskRecord, records: Mapping[ProbeKind, ProbeRecord]) -> bool:
    """Whether a running instance is ready: by its verdicts, or as before, while the exchanged
    probe that readiness waits for is being proved. One that is being stopped is not."""
    if task.failing is not None:
        return False
    was_ready = task.ready_since is not None
    return (was_ready and holds_readiness(task.spec, task.proving)) or is_ready(task.spec, records)
