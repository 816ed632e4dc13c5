"""What `plan` says about a rollout before it begins: a document, and the sentences that people must not miss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from visionmodel_cli.devices import DeviceNeed, canary_pods, full_replicas
from visionmodel_operator.api.capacity import CapacityChoice, CapacityStatus
from visionmodel_operator.api.spec import Analysis, OnInconclusive, Strategy, VisionModelSpec
from visionmodel_operator.core.forecast import ExpectedTraffic, Forecast, RatioForecast, StepTimes
from visionmodel_operator.core.judge_config import ErrorRate, alpha_per_test, config_from_analysis, min_samples
from visionmodel_operator.core.plan import plan_of

DOUBLING = 2.0
FEW = 0.5
MORE_IS_FOUND = {
    Strategy.CANARY: "Longer steps, larger weights or more traffic find more.",
    Strategy.BLUE_GREEN: "A longer scaleDownDelay, a larger baselineWeight or more traffic finds more.",
}


@dataclass(frozen=True)
class RolloutPlan:
    """One VisionModel's rollout as it would go.

    Attributes:
        traffic: what is expected; `traffic_source` says where the numbers are from.
        forecast: what its ErrorRate metrics find; None where it has none that acts.
        devices: per accelerator.
        capacity: where they would come from; `unknown_because` says why that is not known.
        is_in_one_jump: the revision was stable lately, so that it has no steps, and nothing else here comes about.
    """

    name: str
    spec: VisionModelSpec
    traffic: ExpectedTraffic
    traffic_source: str
    forecast: Forecast | None
    devices: tuple[DeviceNeed, ...]
    capacity: CapacityStatus | None = None
    unknown_because: str = ""
    is_in_one_jump: bool = False

    @property
    def analysis(self) -> Analysis:
        """Return how the canary is judged."""
        return self.spec.rollout.analysis


def has_error_test(analysis: Analysis) -> bool:
    """Return whether a metric with a stated false-rollback rate may send a canary back."""
    return any(isinstance(metric, ErrorRate) and metric.gating for metric in config_from_analysis(analysis).metrics)


def document_of(plan: RolloutPlan) -> dict[str, Any]:
    """Return the plan as JSON values; times in seconds, chances in 0..1."""
    steps = plan.forecast.steps if plan.forecast else ()
    pods = canary_pods(plan.spec, plan_of(plan.spec.rollout))
    return {
        "name": plan.name,
        "inOneJump": plan.is_in_one_jump,
        "traffic": {
            "requestsPerSecond": plan.traffic.requests_per_second,
            "errorRate": plan.traffic.error_rate,
            "source": plan.traffic_source,
        },
        "steps": [_step_document(plan, index, step, pods[index]) for index, step in enumerate(steps)],
        "ratios": [_ratio_document(ratio) for ratio in (plan.forecast.ratios if plan.forecast else ())],
        "devices": [_device_document(need) for need in plan.devices],
        "capacity": None
        if plan.capacity is None
        else {"choice": plan.capacity.choice, "message": plan.capacity.message},
        "notes": list(notes_of(plan)),
    }


def notes_of(plan: RolloutPlan) -> tuple[str, ...]:
    """Return what to know before the rollout, in sentences."""
    return (
        *_jump_notes(plan),
        *_judging_notes(plan),
        *_device_notes(plan),
    )


def _jump_notes(plan: RolloutPlan) -> Sequence[str]:
    if not plan.is_in_one_jump:
        return []
    return [
        f"This revision was stable lately (rollbackWindow): once {full_replicas(plan.spec)} pods of it are ready, all"
        " requests go back to it in one jump, without steps and without being judged. What else is said here is for a"
        " rollout step by step."
    ]


def _judging_notes(plan: RolloutPlan) -> Sequence[str]:
    analysis, found = plan.analysis, plan.forecast
    if found is None:
        return ["No ErrorRate metric may send the canary back: nothing with a stated false-alarm rate is tested."]
    alpha = alpha_per_test(config_from_analysis(analysis))
    notes = [
        f"A canary as good as stable is sent back with a chance of at most {100 * analysis.false_rollback_rate:g} %"
        f" if its requests fail independently ({100 * alpha:.3g} % for each test)."
    ]
    doubling = next((ratio for ratio in found.ratios if ratio.ratio == DOUBLING), None)
    if doubling is not None and doubling.found < FEW:
        notes.append(
            f"This rollout cannot detect a doubling of the error rate: it finds {100 * doubling.found:.0f} % of such"
            f" canaries. {MORE_IS_FOUND[plan.spec.rollout.strategy]}"
        )
    for number, step in enumerate(found.steps, start=1):
        if step.is_undecided:
            notes.append(_undecided_note(number, step, plan))
        elif step.is_open:
            notes.append(f"Step {number} ends when it is promoted by hand{_open_note(step)}.")
    return notes


def _open_note(step: StepTimes) -> str:
    if step.weight_ppm == 0:
        return ", without any user's traffic until then"
    return "; counted here is its shortest time only, so it finds more if it takes longer"


def _undecided_note(number: int, step: StepTimes, plan: RolloutPlan) -> str:
    per_minute = 60 * plan.traffic.requests_per_second * step.weight_ppm / 1_000_000
    result = {
        OnInconclusive.HOLD: "is held as Inconclusive",
        OnInconclusive.ABORT: "is turned back",
        OnInconclusive.PROMOTE: "goes on without a verdict",
    }[plan.analysis.on_inconclusive]
    return (
        f"Step {number} has {per_minute:.3g} canary requests a minute, too few for minSamples"
        f" {min_samples(config_from_analysis(plan.analysis))} within maxStepDuration {plan.analysis.max_step_duration}:"
        f" the rollout {result}."
    )


def _device_notes(plan: RolloutPlan) -> Sequence[str]:
    chosen = plan.capacity
    if chosen is None:
        return [
            f"{need.resource if need.product is None else f'{need.resource} ({need.product})'}: {need.canary} more than"
            f" stable's {need.stable} are needed; how many are free is unknown: {plan.unknown_because}."
            for need in plan.devices
            if need.canary
        ]
    notes = [f"Devices, {chosen.choice}: {chosen.message}"]
    if chosen.choice is CapacityChoice.WAIT:
        notes.append(
            "The rollout is Held(NoCapacity) then, without any traffic moved, and is turned back after"
            f" {plan.spec.progress_deadline_seconds} s (progressDeadlineSeconds) unless devices become free."
        )
    return notes


def _step_document(plan: RolloutPlan, index: int, step: StepTimes, pods: int) -> dict[str, Any]:
    assert plan.forecast is not None
    detected = plan.forecast.detected(index)
    return {
        "step": index + 1,
        "weight": step.weight_ppm / 10_000,
        "startsAfter": round(step.start, 3),
        "endsAfter": round(step.end, 3),
        "untilPromoted": step.is_open,
        "undecided": step.is_undecided,
        "canaryPods": pods,
        "detectsRatio": detected,
        "foundByEnd": {f"{ratio.ratio:g}": round(ratio.found_by_step[index], 4) for ratio in plan.forecast.ratios},
    }


def _ratio_document(ratio: RatioForecast) -> dict[str, Any]:
    return {
        "ratio": ratio.ratio,
        "found": round(ratio.found, 4),
        "medianSeconds": ratio.median_seconds,
        "p90Seconds": ratio.p90_seconds,
        "medianFailedRequests": ratio.median_failures,
    }


def _device_document(need: DeviceNeed) -> dict[str, Any]:
    return {
        "resource": need.resource,
        "product": need.product,
        "stable": need.stable,
        "canary": need.canary,
        "largest": need.largest,
        "free": "unknown" if need.free is None else need.free,
    }
