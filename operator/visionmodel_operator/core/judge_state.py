"""The judge's memory: what status keeps between ticks, JSON both ways without loss, under 4 KiB for 5 metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from visionmodel_operator.core.sequential.ratio import RatioEvidence

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
class MetricState:
    """What one metric remembers.

    Attributes:
        ratio: evidence of an ErrorRate, None for the other kinds and before its first tick.
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
    if metric.finding is not None:
        found = metric.finding
        document["finding"] = {"tick": found.tick, "reason": found.reason, "message": found.message}
    return document


def _metric_from_dict(document: Mapping[str, Any]) -> MetricState:
    weights, found = document.get("logWeights"), document.get("finding")
    return MetricState(
        name=str(document["name"]),
        ratio=None if weights is None else RatioEvidence(tuple(float(weight) for weight in weights)),
        streak=int(document["streak"]),
        judged=int(document["judged"]),
        note=str(document.get("note", "")),
        finding=None if found is None else Finding(float(found["tick"]), str(found["reason"]), str(found["message"])),
    )
