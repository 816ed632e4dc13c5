"""The judge's memory: what status keeps between ticks, JSON both ways without loss, under 4 KiB for 5 metrics."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from visionmodel_operator.core.sequential.certificate import SafetyEvidence
from visionmodel_operator.core.sequential.dispersion import Dispersion
from visionmodel_operator.core.sequential.late_fault import LateFaultEvidence
from visionmodel_operator.core.sequential.latency import EdgePair, TailEvidence
from visionmodel_operator.core.sequential.ratio import RatioEvidence
from visionmodel_operator.core.sequential.sign import SignEvidence

MAX_TEXT: Final = 200
"""Characters kept of a message."""

MAX_SKIP_REASONS: Final = 16
OTHER_REASONS: Final = "other"


@dataclass(frozen=True)
class Finding:
    """The first tick at which a metric found harm; `reason` is a constant, `message` names the numbers."""

    tick: float
    reason: str
    message: str


@dataclass(frozen=True)
class TailMemory:
    """What a LatencyTail remembers: stable's buckets until its edges are chosen, then the evidence."""

    seen: tuple[tuple[float, int], ...] = ()
    evidence: TailEvidence | None = None


@dataclass(frozen=True)
class MetricState:
    """What one metric remembers.

    Attributes:
        ratio: evidence of an ErrorRate by counts, plain or tempered; None for the others and before its first tick.
        late, noise: what method Tempered adds.
        sign: evidence of an ErrorRate by method Paired.
        safety: evidence of an ErrorRate for its certificate.
        tail: memory of a LatencyTail.
        streak: bad ticks in a row; a silent tick neither adds to it nor ends it.
        judged: ticks of this step about which the metric had something to say.
        note: the newest of those in words.
        finding: harm, once found, stays found.
    """

    name: str
    ratio: RatioEvidence | None = None
    streak: int = 0
    judged: int = 0
    note: str = ""
    finding: Finding | None = None
    late: LateFaultEvidence | None = None
    noise: Dispersion | None = None
    sign: SignEvidence | None = None
    safety: SafetyEvidence | None = None
    tail: TailMemory | None = None


@dataclass(frozen=True)
class JudgeState:
    """Everything the verdict depends on.

    Attributes:
        started: unix seconds at which judging began.
        last_tick: end of the newest tick seen; a tick at or before it is never used again.
        last_used: end of the newest tick that was counted for both sides.
        last_reason: why the newest tick was skipped, empty if it was not.
        step_started: unix seconds at which the weight of the current step was in force; a tick that began earlier is
            evidence, but none of the step's own. None: before the first step, or written by an operator that did not
            record it, and every tick counts.
        step_requests: canary requests judged in the current step.
        skipped: (reason, ticks), sorted.
    """

    started: float
    last_tick: float | None = None
    last_used: float | None = None
    last_reason: str = ""
    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0
    step_started: float | None = None
    step_requests: int = 0
    used_ticks: int = 0
    skipped: tuple[tuple[str, int], ...] = ()
    metrics: tuple[MetricState, ...] = ()


def initial_state(started: float) -> JudgeState:
    """Return the memory of a rollout about which nothing is known; `started` in unix seconds."""
    return JudgeState(started)


def start_step(state: JudgeState, started: float) -> JudgeState:
    """Return the memory at the start of a step: evidence and findings stay, the step's own counts begin at 0."""
    metrics = tuple(replace(metric, judged=0) for metric in state.metrics)
    return replace(state, step_started=started, step_requests=0, metrics=metrics)


def counted_skip(skipped: tuple[tuple[str, int], ...], reason: str) -> tuple[tuple[str, int], ...]:
    """Return the counts with each part of a skipped tick's reason added; the number of reasons is bounded."""
    counts = dict(skipped)
    for part in reason.split(", "):
        known = part in counts or len(counts) < MAX_SKIP_REASONS
        counts[part if known else OTHER_REASONS] = counts.get(part if known else OTHER_REASONS, 0) + 1
    return tuple(sorted(counts.items()))


_NUMBERS: Final = {
    "canaryRequests": "canary_requests",
    "canaryErrors": "canary_errors",
    "stableRequests": "stable_requests",
    "stableErrors": "stable_errors",
    "stepRequests": "step_requests",
    "usedTicks": "used_ticks",
}


def state_to_dict(state: JudgeState) -> dict[str, Any]:
    """Return JSON values with camelCase keys; absent is left out, there are no nulls."""
    document: dict[str, Any] = {"startedAt": state.started}
    if state.last_tick is not None:
        document["lastTick"] = state.last_tick
    if state.last_used is not None:
        document["lastUsed"] = state.last_used
    if state.last_reason:
        document["lastReason"] = state.last_reason
    if state.step_started is not None:
        document["stepStartedAt"] = state.step_started
    document |= {key: getattr(state, name) for key, name in _NUMBERS.items()}
    document["skipped"] = dict(state.skipped)
    document["metrics"] = [_metric_to_dict(metric) for metric in state.metrics]
    return document


def state_from_dict(document: Mapping[str, Any]) -> JudgeState:
    """Return the state that was written; raises KeyError, TypeError or ValueError on anything else.

    Numbers are read as what they were: JSON written by other programs turns 5.0 into 5.
    """
    return JudgeState(
        started=float(document["startedAt"]),
        last_tick=_time_in(document, "lastTick"),
        last_used=_time_in(document, "lastUsed"),
        step_started=_time_in(document, "stepStartedAt"),
        last_reason=str(document.get("lastReason", "")),
        skipped=tuple(sorted((str(reason), int(count)) for reason, count in document["skipped"].items())),
        metrics=tuple(_metric_from_dict(metric) for metric in document["metrics"]),
        **{name: int(document[key]) for key, name in _NUMBERS.items()},
    )


def _time_in(document: Mapping[str, Any], key: str) -> float | None:
    return None if document.get(key) is None else float(document[key])


def _metric_to_dict(metric: MetricState) -> dict[str, Any]:
    document: dict[str, Any] = {"name": metric.name, "judged": metric.judged, "streak": metric.streak}
    if metric.note:
        document["note"] = metric.note
    if metric.ratio is not None:
        document["logWeights"] = list(metric.ratio.log_weights)
    document |= _methods_to_dict(metric)
    if metric.finding is not None:
        found = metric.finding
        document["finding"] = {"tick": found.tick, "reason": found.reason, "message": found.message}
    return document


def _metric_from_dict(document: Mapping[str, Any]) -> MetricState:
    found = document.get("finding")
    return MetricState(
        name=str(document["name"]),
        ratio=None if "logWeights" not in document else RatioEvidence(_floats(document["logWeights"])),
        streak=int(document["streak"]),
        judged=int(document["judged"]),
        note=str(document.get("note", "")),
        finding=None if found is None else Finding(float(found["tick"]), str(found["reason"]), str(found["message"])),
        **_methods_from_dict(document),
    )


def _methods_to_dict(metric: MetricState) -> dict[str, Any]:
    """Return what the methods beside plain counts remember."""
    document: dict[str, Any] = {}
    if metric.late is not None:
        late = metric.late
        document["late"] = {"plannedTicks": late.planned_ticks, "ticks": late.ticks, "logSums": list(late.log_sums)}
    if metric.noise is not None:
        document["noise"] = {"ticks": metric.noise.ticks, "total": metric.noise.total}
    if metric.sign is not None:
        document["sign"] = _sign_to_dict(metric.sign)
    if metric.safety is not None:
        document["safety"] = {"maxRatio": metric.safety.max_ratio, "logFactors": list(metric.safety.log_factors)}
    if metric.tail is not None:
        document["tail"] = _tail_to_dict(metric.tail)
    return document


def _methods_from_dict(document: Mapping[str, Any]) -> dict[str, Any]:
    late, noise, safety = (document.get(key) for key in ("late", "noise", "safety"))
    return {
        "late": late and LateFaultEvidence(int(late["plannedTicks"]), int(late["ticks"]), _floats(late["logSums"])),
        "noise": noise and Dispersion(int(noise["ticks"]), float(noise["total"])),
        "sign": None if "sign" not in document else _sign_from_dict(document["sign"]),
        "safety": safety and SafetyEvidence(float(safety["maxRatio"]), _floats(safety["logFactors"])),
        "tail": None if "tail" not in document else _tail_from_dict(document["tail"]),
    }


def _sign_to_dict(state: SignEvidence) -> dict[str, Any]:
    return {
        "seed": state.seed,
        "ticks": state.ticks,
        "differences": state.differences,
        "logWealth": list(state.log_wealth),
    }


def _sign_from_dict(document: Mapping[str, Any]) -> SignEvidence:
    return SignEvidence(
        int(document["seed"]), int(document["ticks"]), int(document["differences"]), _floats(document["logWealth"])
    )


def _tail_to_dict(tail: TailMemory) -> dict[str, Any]:
    """JSON has no infinity: the last bucket is the number of requests."""
    if tail.evidence is None:
        *finite, (_, requests) = tail.seen or ((math.inf, 0),)
        return {"requests": requests, "below": [list(bucket) for bucket in finite]}
    return {
        "edges": [[pair.stable, pair.canary] for pair in tail.evidence.edges],
        "signs": [_sign_to_dict(known) for known in tail.evidence.evidence if isinstance(known, SignEvidence)],
    }


def _tail_from_dict(document: Mapping[str, Any]) -> TailMemory:
    if "edges" not in document:
        below = tuple((float(edge), int(count)) for edge, count in document["below"])
        return TailMemory((*below, (math.inf, int(document["requests"]))))
    edges = tuple(EdgePair(float(stable), float(canary)) for stable, canary in document["edges"])
    return TailMemory(evidence=TailEvidence(edges, tuple(map(_sign_from_dict, document["signs"]))))


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
