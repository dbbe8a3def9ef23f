"""The probes of one instance: the loops that wait, ask and report.

    startup probe --passed--> liveness and readiness, side by side (S5)

A probe never overlaps itself: the loop asks, and only then determines its next time (S9). An
exception from a check ends nothing: this is the boundary at which it becomes an error (S1), as
checks and transports may be supplied from outside.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec
import trio

from warren.checks.detail import bounded
from warren.model.check import Outcome, Result, Sample
from warren.model.interfaces import RunCheck, Target
from warren.model.probe import Probe, ProbeKind, Verdict
from warren.model.task import ProbeStatus
from warren.nursery.listener_check import ListenerCheck
from warren.nursery.place_waits import PlaceWaits
from warren.rules.end_reasons import probe_failure
from warren.rules.probe import (
    Observation,
    ProbeRecord,
    ProbeState,
    adopted,
    next_counted,
    observe,
)
from warren.rules.probe_timing import adopted_attempt, first_attempt, next_attempt

OnWarning = Callable[[str], None]
OnObservation = Callable[[ProbeKind, Observation, Sample], None]
_SECOND_WAVE = (ProbeKind.LIVENESS, ProbeKind.READINESS)
_log = logging.getLogger("warren.probe")


class ProbeLoops:
    """The probes of one instance. `records` and `samples` are for display.

    `started` is in Trio's time; `key` names the task for the phase of its grid (S7), which counts
    from `origin`; `proven` has what is kept of an adopted instance (S21). `on_observation` is
    called for every outcome, before the loop goes on; it may cancel the scope around `run`.
    `on_warning` is called when another process answers.
    """

    def __init__(
        self,
        probes: Mapping[ProbeKind, Probe],
        *,
        key: str,
        check: RunCheck,
        wall: Callable[[], float],
        on_observation: OnObservation,
        on_warning: OnWarning,
        samples_kept: int,
        proven: Mapping[ProbeKind, Verdict],
        origin: float = 0.0,
    ) -> None:
        self._probes = probes
        self._key = key
        self._check = check
        self._wall = wall
        self._origin = origin
        self._on_observation = on_observation
        self.records: dict[ProbeKind, ProbeRecord] = {
            kind: adopted(kind, proven.get(kind)) for kind in probes
        }
        self.samples: dict[ProbeKind, deque[Sample]] = {
            kind: deque(maxlen=samples_kept) for kind in probes
        }
        self._warnings: dict[ProbeKind, str] = {}
        self._waits = {kind: PlaceWaits() for kind in probes}
        self._listener_check = ListenerCheck(on_warning)
        self._target: Target | None = None
        self._beside: trio.Nursery | None = None

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{k.value} {r.verdict.value}" for k, r in self.records.items())
        return f"<ProbeLoops {self._key}: {verdicts or 'no probes'}>"

    async def run(self, target: Target, started: float) -> None:
        """Probe until every probe has its final verdict, or until cancelled."""
        self._target = target
        async with trio.open_nursery() as self._beside:
            await self._run(target, started)

    async def _run(self, target: Target, started: float) -> None:
        if ProbeKind.STARTUP in self._probes:
            await self._ask(ProbeKind.STARTUP, target, started)
            if self.records[ProbeKind.STARTUP].verdict is not Verdict.HEALTHY:
                return
        kinds = [kind for kind in _SECOND_WAVE if kind in self._probes]
        if len(kinds) == 1:
            await self._ask(kinds[0], target, started)
            return
        async with trio.open_nursery() as nursery:
            for kind in kinds:
                nursery.start_soon(self._ask, kind, target, started)

    def carry_on(self, other: ProbeLoops, kinds: Iterable[ProbeKind]) -> None:
        """Continue these probes of `other` from their present state. Before `run`."""
        for kind in kinds:
            self.records[kind] = other.records[kind]
            self.samples[kind] = other.samples[kind]
            self._waits[kind] = other._waits[kind]
            if kind in other._warnings:
                self._warnings[kind] = other._warnings[kind]
        self._target, self._listener_check = other._target, other._listener_check

    def proven(self) -> dict[ProbeKind, Verdict]:
        """The verdicts to record: those of probes that have passed on this instance."""
        return {kind: r.verdict for kind, r in self.records.items() if r.has_passed}

    def status(self, kind: ProbeKind, *, is_asked: bool) -> ProbeStatus:
        """The present state of a probe. One that no longer asks is not called healthy."""
        record = self.records[kind]
        is_known = is_asked or record.state is ProbeState.FAILED
        strange = None
        if is_asked:
            strange = self._listener_check.warning(self._probes[kind].check, self._target)
        return ProbeStatus(
            verdict=record.verdict if is_known else Verdict.UNKNOWN,
            consecutive_failures=record.failures,
            consecutive_successes=record.successes,
            warning=self._warnings.get(kind) or strange,
            last=self.samples[kind][-1] if self.samples[kind] else None,
            waited=self._waits[kind].present,
            longest_wait=self._waits[kind].longest,
        )

    def failure(self, kind: ProbeKind) -> str:
        """Why the probe failed, for people."""
        last = self.samples[kind][-1].outcome if self.samples[kind] else None
        return probe_failure(kind, self.records[kind].failures, last)

    async def _ask(self, kind: ProbeKind, target: Target, started: float) -> None:
        probe = self._probes[kind]
        key = f"{self._key}/{kind.value}"
        target = msgspec.structs.replace(target, waiting=self._waits[kind])
        now = trio.current_time()
        if self.records[kind].has_passed:
            at = adopted_attempt(probe, key=key, now=now, origin=self._origin)
        else:
            at = first_attempt(probe, started=started, now=now)
        while not self.records[kind].is_final:
            await trio.sleep_until(at)
            outcome = await self._attempt(kind, target)
            over = trio.current_time()
            observation = observe(
                probe,
                self.records[kind],
                outcome,
                at=at + outcome.waited,
                over=over,
                started=started,
            )
            had_passed = self.records[kind].has_passed
            record = self.records[kind] = observation.record
            self._keep(kind, observation, Sample(self._wall(), outcome))
            if outcome.result is Result.PASS:
                self._look(probe, target, is_news=not had_passed)
            at = next_attempt(
                probe,
                has_passed=record.has_passed,
                key=key,
                origin=self._origin,
                last=at,
                now=trio.current_time(),
                due=next_counted(probe, record, started=started),
            )

    def _look(self, probe: Probe, target: Target, *, is_news: bool) -> None:
        port = self._listener_check.due(probe.check, target)
        if port is not None and self._beside is not None:
            look = partial(self._listener_check.look, port, target, is_news=is_news)
            self._beside.start_soon(look)

    async def _attempt(self, kind: ProbeKind, target: Target) -> Outcome:
        """One attempt's outcome, also where the check raises: in a group beside a cancellation
        too, which is then raised on."""
        probe = self._probes[kind]
        raised: Exception | None = None
        outcome: Outcome | None = None
        try:
            outcome = await self._check(probe.check, target, timeout=probe.timeout)
        except* Exception as group:
            raised = group.exceptions[0] if len(group.exceptions) == 1 else group
        return outcome or self._broken(kind, raised)

    def _broken(self, kind: ProbeKind, raised: Exception | None) -> Outcome:
        said = "".join(traceback.format_exception_only(raised)).strip()
        outcome = Outcome(Result.ERROR, bounded(f"the check raised {said}"))
        before = self.samples[kind][-1].outcome if self.samples[kind] else None
        if before != outcome:  # the same one again is no news, up to 100 times a second
            _log.error("the %s check of %s raised", kind.value, self._key, exc_info=raised)
        return outcome

    def _keep(self, kind: ProbeKind, observation: Observation, sample: Sample) -> None:
        self.samples[kind].append(sample)
        if observation.has_warning:
            detail = sample.outcome.detail
            self._warnings[kind] = f"the {kind.value} check cannot run: {detail}"
        elif observation.record.errors == 0:
            self._warnings.pop(kind, None)
        self._on_observation(kind, observation, sample)
