"""The probes of a task's instance, and what follows from them: whether it is ready, and its end.

rules/probe_meaning.py says what an observation means; this file performs it.

Where only the probes of a spec change, the instance is kept and judged by the new ones
(rules/probe_exchange.py): verdicts that are still valid are kept, and so is its readiness, until
the new verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from warren.model.check import Sample
from warren.model.event import EventFacts, EventKind
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.model.task import ProbeStatus
from warren.nursery.dependencies import Dependencies
from warren.nursery.probe_loops import ProbeLoops
from warren.nursery.recorder import Recorder
from warren.nursery.weak_callback import weak_callback
from warren.rules.health import probes
from warren.rules.probe import Observation
from warren.rules.probe_exchange import ProbeExchange, exchange
from warren.rules.probe_meaning import Judgement, Meaning, judge, readiness_turn, takes_traffic

_AFRESH = ProbeExchange(frozenset(), {}, ())


class InstanceProbes:
    """Judges one instance after another. `is_running` returns whether there is one to judge;
    `fail` is called, synchronously, when a probe's verdict ends it."""

    def __init__(
        self,
        recorder: Recorder,
        around: Dependencies,
        *,
        is_running: Callable[[], bool],
        fail: Callable[[ProbeKind], None],
    ) -> None:
        self._recorder = recorder
        self._around = around
        self._is_running = is_running
        self._fail = fail
        self.probing = self._made(recorder.record.spec, recorder.record.proven)

    def __repr__(self) -> str:
        return f"<InstanceProbes by {self.probing!r}>"

    @property
    def is_ready(self) -> bool:
        """Whether the task takes traffic."""
        return self._is_running() and takes_traffic(self._recorder.record, self.probing.records)

    def begin(self, proven: Mapping[ProbeKind, Verdict]) -> ProbeLoops:
        """The probes of an instance that starts, or is adopted with what it has proven."""
        self.probing = self._made(self._recorder.record.spec, proven)
        return self.probing

    def exchange(self, spec: ServiceSpec, revision: int, *, is_kept: bool) -> None:
        """Go on with a spec that differs only in its probes; without an instance to keep, the next
        one begins unproven."""
        before = self.probing
        change = _AFRESH
        if is_kept:
            change = exchange(self._recorder.record.spec, spec, before.records)
        self.probing = self._made(spec, change.proven)
        self.probing.carry_on(before, change.kept)
        proven = self.probing.proven() if is_kept else {}
        self._recorder.write(spec=spec, revision=revision, proven=proven, proving=change.proving)
        kinds = " and ".join(kind.value for kind in change.proving)
        proved = f"; {kinds} to be proved" if kinds else ""
        facts = EventFacts(probes=change.proving)
        self._recorder.announce(EventKind.PROBES_CHANGED, f"probes changed{proved}", facts=facts)
        if self._is_running() and self._turn() is Meaning.READY:
            self._recorder.note_ready(proven=self.probing.proven())

    def note_running(self) -> None:
        """The instance runs: note whether it is ready by what it has proven before."""
        proven = self.probing.proven()
        match self._turn():
            case Meaning.READY:
                self._recorder.note_ready(proven=proven)
            case Meaning.UNREADY:  # killed between a verdict and its record
                message = "not ready: its probes have not passed"
                self._recorder.note_unready(message, proven=proven)
            case _:
                self._recorder.resume_readiness()

    def statuses(self) -> dict[ProbeKind, ProbeStatus]:
        """The present state of every probe."""
        is_asked, status = self._is_running(), self.probing.status
        return {kind: status(kind, is_asked=is_asked) for kind in self.probing.records}

    def samples(self) -> dict[ProbeKind, list[Sample]]:
        """The last outcomes of every probe of the current instance, oldest first (S24)."""
        return {kind: list(kept) for kind, kept in self.probing.samples.items()}

    def _made(self, spec: ServiceSpec, proven: Mapping[ProbeKind, Verdict]) -> ProbeLoops:
        return ProbeLoops(
            probes(spec),
            key=str(self._recorder.record.id),
            check=self._around.check,
            wall=self._around.wall,
            on_observation=weak_callback(self._observed),
            on_warning=weak_callback(self._warned),
            samples_kept=self._around.samples_kept,
            proven=proven,
            origin=self._around.grid_origin,
        )

    def _warned(self, message: str) -> None:
        if self._is_running():
            self._recorder.announce(EventKind.PROBE_WARNING, message)

    def _observed(self, kind: ProbeKind, observation: Observation, sample: Sample) -> None:
        if not self._is_running():
            return
        if observation.has_warning:
            message = f"the {kind.value} check cannot run: {sample.outcome.detail}"
            facts = EventFacts(probes=(kind,))
            self._recorder.announce(EventKind.PROBE_WARNING, message, facts=facts)
        self._perform(kind, judge(observation, self._recorder.record, self.probing.records))

    def _perform(self, kind: ProbeKind, now: Judgement) -> None:
        if now.meaning is Meaning.NOTHING:
            return
        if now.meaning is Meaning.FAILED:
            self._fail(kind)
            return
        proven = self.probing.proven()
        match now.meaning:
            case Meaning.READY:
                self._recorder.note_ready(proven=proven, proving=now.proving)
            case Meaning.UNREADY:
                message = f"not ready: {self.probing.failure(kind)}"
                self._recorder.note_unready(message, kind, proven=proven, proving=now.proving)
            case Meaning.PROVEN:
                self._recorder.write(proven=proven, proving=now.proving)
                self._recorder.announce(EventKind.PROBES_CHANGED, "probes changed: proved")
            case Meaning.VERDICT:
                self._recorder.write(proven=proven, proving=now.proving)

    def _turn(self) -> Meaning:
        return readiness_turn(self._recorder.record, self.probing.records)
