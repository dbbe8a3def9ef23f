"""From outcomes to verdicts (S2-S4, S6, S8): one literal table, state x event.

    UNPROVEN --pass--> PROVEN <--passes-- FAILED        startup: PROVEN and FAILED are final
        \\--fails--> FAILED      --fails-->             liveness: FAILED is final
                                                       readiness: goes to and fro

UNPROVEN has never passed: its fails count at most once an `interval`, and not in the grace.
`at` everywhere is when the attempt began or ought to have, and `over` when its answer was there, in
the caller's monotonic seconds. A fail counts at the moment it was due if its attempt was under way
then: so neither a late answer nor an attempt that takes long stretches the judgement.
"""

from __future__ import annotations

import enum

import msgspec

from warren.model.check import Outcome, Result
from warren.model.probe import Probe, ProbeKind, Verdict

ERRORS_BEFORE_WARNING = 3
SLACK = 1e-6  # seconds: sums of intervals are not exact


class ProbeState(enum.Enum):
    """Where a probe stands. UNPROVEN is before the first pass."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    FAILED = "failed"


class ProbeEvent(enum.Enum):
    """An outcome's class, given the counters."""

    PASS = "pass"  # a pass, short of `successes`
    ENOUGH_PASSES = "enough passes"
    SPARED_FAIL = "spared fail"  # in the grace, or too soon after the last counted one
    FAIL = "fail"  # a counted fail, short of `retries`
    ENOUGH_FAILS = "enough fails"
    ERROR = "error"


class Publish(enum.Enum):
    """The effect that the shell performs."""

    NOTHING = "nothing"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


_U, _P, _F = ProbeState.UNPROVEN, ProbeState.PROVEN, ProbeState.FAILED
_E = ProbeEvent

TABLE: dict[tuple[ProbeState, ProbeEvent], tuple[ProbeState, Publish]] = {
    (_U, _E.PASS): (_U, Publish.NOTHING),
    (_U, _E.ENOUGH_PASSES): (_P, Publish.HEALTHY),
    (_U, _E.SPARED_FAIL): (_U, Publish.NOTHING),
    (_U, _E.FAIL): (_U, Publish.NOTHING),
    (_U, _E.ENOUGH_FAILS): (_F, Publish.UNHEALTHY),
    (_U, _E.ERROR): (_U, Publish.NOTHING),
    (_P, _E.PASS): (_P, Publish.NOTHING),
    (_P, _E.ENOUGH_PASSES): (_P, Publish.NOTHING),
    (_P, _E.SPARED_FAIL): (_P, Publish.NOTHING),
    (_P, _E.FAIL): (_P, Publish.NOTHING),
    (_P, _E.ENOUGH_FAILS): (_F, Publish.UNHEALTHY),
    (_P, _E.ERROR): (_P, Publish.NOTHING),
    (_F, _E.PASS): (_F, Publish.NOTHING),
    (_F, _E.ENOUGH_PASSES): (_P, Publish.HEALTHY),
    (_F, _E.SPARED_FAIL): (_F, Publish.NOTHING),
    (_F, _E.FAIL): (_F, Publish.NOTHING),
    (_F, _E.ENOUGH_FAILS): (_F, Publish.NOTHING),
    (_F, _E.ERROR): (_F, Publish.NOTHING),
}

INITIAL_VERDICT = {
    ProbeKind.STARTUP: Verdict.UNKNOWN,
    ProbeKind.LIVENESS: Verdict.HEALTHY,
    ProbeKind.READINESS: Verdict.UNHEALTHY,
}  # S4

FINAL = {
    ProbeKind.STARTUP: frozenset({ProbeState.PROVEN, ProbeState.FAILED}),
    ProbeKind.LIVENESS: frozenset({ProbeState.FAILED}),
    ProbeKind.READINESS: frozenset[ProbeState](),
}  # no attempt after these (S5, S6)


class ProbeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A probe's memory of one instance. A new instance starts with a new record (S6)."""

    kind: ProbeKind
    state: ProbeState = ProbeState.UNPROVEN
    has_passed: bool = False
    failures: int = 0
    successes: int = 0
    errors: int = 0
    last_counted_fail: float | None = None

    @property
    def verdict(self) -> Verdict:
        """The probe's verdict on the service."""
        if self.state is ProbeState.UNPROVEN:
            return INITIAL_VERDICT[self.kind]
        return Verdict.HEALTHY if self.state is ProbeState.PROVEN else Verdict.UNHEALTHY

    @property
    def is_final(self) -> bool:
        """Whether the probe makes no further attempt."""
        return self.state in FINAL[self.kind]


class Observation(msgspec.Struct, frozen=True):
    """The result of one outcome. `has_warning` is true once per series of errors (S2)."""

    record: ProbeRecord
    publish: Publish
    has_warning: bool = False


def observe(
    probe: Probe,
    record: ProbeRecord,
    outcome: Outcome,
    *,
    at: float,
    started: float,
    over: float | None = None,
) -> Observation:
    """Take in the outcome of the attempt made at `at` and over at `over` (None: at once); the
    instance started at `started`."""
    over = at if over is None else over
    counted, event = _count(probe, record, outcome.result, at=at, over=over, started=started)
    state, publish = TABLE[record.state, event]
    if publish is Publish.UNHEALTHY and counted.verdict is Verdict.UNHEALTHY:
        publish = Publish.NOTHING  # readiness was not ready to begin with: only changes (S3)
    return Observation(
        msgspec.structs.replace(counted, state=state),
        publish,
        has_warning=event is _E.ERROR and counted.errors == ERRORS_BEFORE_WARNING,
    )


def next_counted(probe: Probe, record: ProbeRecord, *, started: float) -> float | None:
    """From when on the next fail counts: None where every fail does (S8)."""
    if record.has_passed:
        return None
    last = record.last_counted_fail
    return started + probe.start_period if last is None else last + probe.interval


def _count(
    probe: Probe, record: ProbeRecord, result: Result, *, at: float, over: float, started: float
) -> tuple[ProbeRecord, ProbeEvent]:
    change = msgspec.structs.replace
    if result is Result.ERROR:
        return change(record, errors=record.errors + 1), _E.ERROR
    if result is Result.PASS:
        passes = record.successes + 1
        enough = passes >= probe.successes
        counted = change(record, has_passed=True, successes=passes, failures=0, errors=0)
        return counted, _E.ENOUGH_PASSES if enough else _E.PASS
    due = next_counted(probe, record, started=started)
    # The grace is for attempts that begin in it, however long they take.
    reached = at if record.last_counted_fail is None else over
    if due is not None and reached < due - SLACK:
        return change(record, successes=0, errors=0), _E.SPARED_FAIL
    fails = record.failures + 1
    counted_at = at if due is None else max(at, due)
    counted = change(record, failures=fails, successes=0, errors=0, last_counted_fail=counted_at)
    return counted, _E.ENOUGH_FAILS if fails >= probe.retries else _E.FAIL


def adopted(kind: ProbeKind, proven: Verdict | None) -> ProbeRecord:
    """The record of a probe whose instance was adopted: kept as it was until disproved (S21).

    `proven` is its last verdict if it had passed on this instance, else None.
    """
    if proven is None:
        return ProbeRecord(kind=kind)
    state = ProbeState.PROVEN if proven is Verdict.HEALTHY else ProbeState.FAILED
    return ProbeRecord(kind=kind, state=state, has_passed=True)
