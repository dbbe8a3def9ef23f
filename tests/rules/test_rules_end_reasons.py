"""Why something ended, in words a person understands (S18)."""

from __future__ import annotations

import pytest

from warren.model.check import Outcome, Result
from warren.model.probe import ProbeKind
from warren.model.task import End, Reason
from warren.rules.end_reasons import probe_failure, settle

CAUSE = End(reason=Reason.PROBE_FAILED, message="liveness probe failed", at=10.0)


@pytest.mark.parametrize(
    ("kind", "failures", "detail", "words"),
    [
        (ProbeKind.LIVENESS, 3, "HTTP 500", "liveness probe failed 3 times: HTTP 500"),
        (ProbeKind.STARTUP, 1, "refused", "startup probe failed once: refused"),
        (ProbeKind.READINESS, 2, None, "readiness probe failed 2 times: no outcome"),
    ],
)
def test_probe_failure_names_the_probe_and_its_last_outcome(
    kind: ProbeKind, failures: int, detail: str | None, words: str
) -> None:
    last = None if detail is None else Outcome(Result.FAIL, detail)
    assert probe_failure(kind, failures, last) == words


def test_end_without_a_cause_of_ours_is_the_processs_own() -> None:
    own = End(reason=Reason.OUT_OF_MEMORY, message="out of memory", at=11.0, signal="SIGKILL")
    assert settle(None, own) is own


def test_end_of_what_never_ran_is_our_cause() -> None:
    assert settle(CAUSE, None) is CAUSE


@pytest.mark.parametrize(
    ("exit_code", "signal", "message"),
    [
        (0, None, "liveness probe failed"),
        (3, None, "liveness probe failed; exit code 3"),
        (None, "SIGTERM", "liveness probe failed"),
        (None, "SIGKILL", "liveness probe failed; killed by SIGKILL"),
    ],
)
def test_end_that_we_caused_says_how_the_process_took_it(
    exit_code: int | None, signal: str | None, message: str
) -> None:
    own = End(reason=Reason.EXITED, message="own", at=11.0, exit_code=exit_code, signal=signal)
    assert settle(CAUSE, own) == End(
        reason=Reason.PROBE_FAILED, message=message, at=11.0, exit_code=exit_code, signal=signal
    )


def test_end_by_a_failed_probe_is_a_failure_whatever_the_exit_code() -> None:
    own = End(reason=Reason.EXITED, message="own", at=11.0, exit_code=0)
    assert settle(CAUSE, own).is_failure  # S16
