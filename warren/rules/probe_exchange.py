"""What happens to the probes of a running instance when only they are changed.

    the same probe as before       goes on, with its counters
    startup, where it has passed   stays passed (S5: never again for this instance)
    any other                      starts anew (S6), and is being proved until it has a verdict

Until the probe that readiness waits for has its verdict, the readiness before it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.rules.health import probes
from warren.rules.probe import ProbeRecord, ProbeState


class ProbeExchange(msgspec.Struct, frozen=True):
    """`kept` go on as they are, `proven` are the verdicts that stand, `proving` have none yet."""

    kept: frozenset[ProbeKind]
    proven: Mapping[ProbeKind, Verdict]
    proving: tuple[ProbeKind, ...]


def exchange(
    old: ServiceSpec, new: ServiceSpec, records: Mapping[ProbeKind, ProbeRecord]
) -> ProbeExchange:
    """From the old spec's probes, with these records, to the new spec's."""
    before, after = probes(old), probes(new)
    kept = frozenset(kind for kind, probe in after.items() if before.get(kind) == probe)
    proven = {kind: records[kind].verdict for kind in kept if records[kind].has_passed}
    settled = {kind for kind in kept if records[kind].state is not ProbeState.UNPROVEN}
    startup = records.get(ProbeKind.STARTUP)
    has_started = startup is None or startup.verdict is Verdict.HEALTHY
    if has_started and ProbeKind.STARTUP in after:
        proven[ProbeKind.STARTUP] = Verdict.HEALTHY
        settled.add(ProbeKind.STARTUP)
    # Readiness that has passed, short of `successes`, has no verdict: it is still being proved.
    proving = tuple(kind for kind in after if kind not in settled)
    return ProbeExchange(kept, proven, proving)


def still_proving(
    proving: Collection[ProbeKind], records: Mapping[ProbeKind, ProbeRecord]
) -> tuple[ProbeKind, ...]:
    """Those of the probes that have no verdict yet."""
    return tuple(kind for kind in proving if records[kind].state is ProbeState.UNPROVEN)


def holds_readiness(spec: ServiceSpec, proving: Collection[ProbeKind]) -> bool:
    """Whether the probe that readiness waits for is being proved."""
    gate = ProbeKind.READINESS if spec.readiness is not None else ProbeKind.LIVENESS
    return gate in proving and (spec.readiness is not None or spec.health is not None)
