"""The probes of a task's instance, and what follows from them: whether it is ready, and its end.

Where nothing but the probes of a spec is changed, the instance is kept and judged by the new ones
(rules/exchange.py): what is still true of it stands, and its readiness too, until their verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from warren.model.check import Sample
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.model.task import EventKind, ProbeStatus
from warren.nursery.backward import backward
from warren.nursery.ledger import Ledger
from warren.nursery.probing import Probing
from warren.nursery.surroundings import Surroundings
from warren.rules.exchange import Exchange, exchange, holds_readiness, still_proving
from warren.rules.health import is_ready, probes
from warren.rules.probe import Observation, Publish

_AFRESH = Exchange(frozenset(), {}, ())


class Judgement:
    """Judges one instance after another. `is_running` tells whether there is one to be judged;
    `fail` is called, synchronously, when a probe's verdict ends it."""

    def __init__(
        self,
        ledger: Ledger,
        around: Surroundings,
        *,
        is_running: Callable[[], bool],
        fail: Callable[[ProbeKind], None],
    ) -> None:
        self._ledger = ledger
        self._around = around
        self._is_running = is_running
        self._fail = fail
        self.probing = self._made(ledger.record.spec, ledger.record.proven)

    def __repr__(self) -> str:
        return f"<Judgement by {self.probing!r}>"

    @property
    def is_ready(self) -> bool:
        """Whether the task takes traffic."""
        if not self._is_running():
            return False
        record = self._ledger.record
        if record.ready_since is not None and holds_readiness(record.spec, record.proving):
            return True
        return is_ready(record.spec, self.probing.records)

    def begin(self, proven: Mapping[ProbeKind, Verdict]) -> Probing:
        """The probes of an instance that starts, or with what it has proven is adopted."""
        self.probing = self._made(self._ledger.record.spec, proven)
        return self.probing

    def exchange(self, spec: ServiceSpec, revision: int, *, is_kept: bool) -> None:
        """Go on by a spec that differs in its probes alone; where there is no instance to be kept
        the next one starts afresh."""
        before = self.probing
        change = _AFRESH
        if is_kept:
            change = exchange(self._ledger.record.spec, spec, before.records)
        self.probing = self._made(spec, change.proven)
        self.probing.carry_on(before, change.kept)
        proven = self.probing.proven() if is_kept else {}
        self._ledger.write(spec=spec, revision=revision, proven=proven, proving=change.proving)
        kinds = " and ".join(kind.value for kind in change.proving)
        proved = f"; {kinds} to be proved" if kinds else ""
        self._ledger.announce(EventKind.PROBES_CHANGED, f"probes changed{proved}")
        self.note_readiness()

    def note_readiness(self, kind: ProbeKind | None = None) -> bool:
        """Tell whether the task is ready where that is news; `kind` is the probe it is because
        of."""
        was_ready = self._ledger.record.ready_since is not None
        if not was_ready and self.is_ready:
            self._ledger.note_ready(self.probing.proven())
            return True
        if was_ready and kind is not None and not self.is_ready:
            message = f"not ready: {self.probing.failure(kind)}"
            self._ledger.note_unready(self.probing.proven(), message)
            return True
        return False

    def statuses(self) -> dict[ProbeKind, ProbeStatus]:
        """Every probe as it stands."""
        is_asked, status = self._is_running(), self.probing.status
        return {kind: status(kind, is_asked=is_asked) for kind in self.probing.records}

    def samples(self) -> dict[ProbeKind, list[Sample]]:
        """The last outcomes of every probe of the current instance, oldest first (S24)."""
        return {kind: list(kept) for kind, kept in self.probing.samples.items()}

    def _made(self, spec: ServiceSpec, proven: Mapping[ProbeKind, Verdict]) -> Probing:
        return Probing(
            probes(spec),
            key=str(self._ledger.record.id),
            check=self._around.check,
            wall=self._around.wall,
            on_observation=backward(self._observed),
            on_warning=backward(self._warned),
            samples_kept=self._around.samples_kept,
            proven=proven,
            origin=self._around.grid_origin,
        )

    def _warned(self, message: str) -> None:
        if self._is_running():
            self._ledger.announce(EventKind.PROBE_WARNING, message)

    def _observed(self, kind: ProbeKind, observation: Observation, sample: Sample) -> None:
        if not self._is_running():
            return
        if observation.has_warning:
            message = f"the {kind.value} check cannot run: {sample.outcome.detail}"
            self._ledger.announce(EventKind.PROBE_WARNING, message)
        before = self._ledger.record.proving
        proving = still_proving(before, self.probing.records)
        if observation.publish is Publish.NOTHING and proving == before:
            return
        if observation.publish is Publish.UNHEALTHY and kind is not ProbeKind.READINESS:
            self._fail(kind)
            return
        if proving != before:
            self._ledger.write(proven=self.probing.proven(), proving=proving)
        if self.note_readiness(kind):
            return
        if before and not proving:
            self._ledger.announce(EventKind.PROBES_CHANGED, "probes changed: proved")
        else:
            self._ledger.write(proven=self.probing.proven())
