"""Which numbers an artifact must reach, and whether it does: pure.

Goals use Olive's words. Those of the user hold; where he names none, `default_goals` says what each precision has
to prove. Everything fails closed: NaN meets no goal, neither does a measurement without samples.
"""

import math
from dataclasses import dataclass
from typing import Final

from visionmodel_contract.conversion import MetricGoal, ParityRequest
from visionmodel_contract.precision import Goal, Precision
from visionmodel_contract.report import GateResult
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.tasks import TaskKind

TENSOR_METRICS: Final = {"maxAbsError": False, "maxRelativeError": False, "cosine": True}
"""Element by element against the source, on any inputs; the value says whether higher is better."""
PREDICTION_METRICS: Final = {"top1Agreement": True, "top5Agreement": True, "mapAgreement": True}
"""The artifact's predictions with the source's as the truth: need real samples, but no labels."""
LABELLED_METRICS: Final = {"top1": True, "top5": True, "map50": True, "map50_95": True, "maskIou": True}
"""The artifact's and the source's predictions against the dataset's labels."""
AGREEMENT_METRICS: Final = TENSOR_METRICS | PREDICTION_METRICS
HIGHER_IS_BETTER: Final = AGREEMENT_METRICS | LABELLED_METRICS
PERFECT_AGREEMENT: Final = {name: 1.0 if higher else 0.0 for name, higher in AGREEMENT_METRICS.items()}
"""The source compared with itself: what max-degradation of an agreement metric starts from."""
TASK_METRIC: Final = {
    TaskKind.CLASSIFICATION: "top1",
    TaskKind.DETECTION: "map50",
    TaskKind.SEGMENTATION: "maskIou",
}

FP32_RELATIVE_ERROR: Final = 1e-4
"""FP32 on another graph of the same network: ten times what reordering costs, far below any visible change."""
FP16_RELATIVE_ERROR: Final = 1e-2
"""FP16 keeps 11 bits, 5e-4 per rounding; the engine vendor's own tolerance between FP16 and FP32 is 1e-2."""
FP16_DEGRADATION: Final = 0.005
INT8_DEGRADATION: Final = 0.01
INT8_AGREEMENT: Final = 0.99
"""Share of samples whose best class is the source's: the same one in a hundred as with labels."""
INT8_MAP_AGREEMENT: Final = 0.98
"""Measured on a detector: 0.999 and more where INT8 cost at most 0.35 points of mAP, 0.957 where it cost 1.3."""
INT8_COSINE: Final = 0.95
"""Of the worst sample; measured 0.98 for good scales of a detector, 0.36 for bad ones. Says little: give labels."""
ROUNDING: Final = 1e-9
"""So that 0.96 - 0.95 counts as 0.01, which in binary it exceeds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of the artifact and of its source, over so many samples."""

    value: float
    source_value: float
    samples: int


def default_goals(precision: Precision, kind: TaskKind, has_labels: bool) -> tuple[MetricGoal, ...]:
    """Return what a precision must prove when the user names no goal.

    FP32 is the same arithmetic in another order, so its outputs must be the same. FP16 rounds: its outputs must be
    near, and where labels exist the task's metric is the proof. INT8 changes outputs so much that element-wise
    numbers do not tell a good model from a bad one (measured: they ranked a detector of 0.80 mAP above one of
    0.95), so predictions are compared; only where nobody knows what the outputs mean, their direction is.
    """
    metric = TASK_METRIC.get(kind) if has_labels else None
    if precision is Precision.FP32:
        return (_goal("maxRelativeError", Goal.THRESHOLD, FP32_RELATIVE_ERROR),)
    if precision is Precision.FP16:
        near = _goal("maxRelativeError", Goal.THRESHOLD, FP16_RELATIVE_ERROR)
        return (near,) if metric is None else (near, _goal(metric, Goal.MAX_DEGRADATION, FP16_DEGRADATION))
    if metric is not None:
        return (_goal(metric, Goal.MAX_DEGRADATION, INT8_DEGRADATION),)
    if kind is TaskKind.CLASSIFICATION:
        return (_goal("top1Agreement", Goal.THRESHOLD, INT8_AGREEMENT),)
    if kind is TaskKind.DETECTION:
        return (_goal("mapAgreement", Goal.THRESHOLD, INT8_MAP_AGREEMENT),)
    return (_goal("cosine", Goal.THRESHOLD, INT8_COSINE),)


def _goal(name: str, goal: Goal, value: float) -> MetricGoal:
    return MetricGoal(name=name, goal=goal, value=value)


def goals_of(
    parity: ParityRequest, precision: Precision, kind: TaskKind, *, has_labels: bool, is_pruned: bool = False
) -> tuple[MetricGoal, ...]:
    """Return the goals of a request, or the default ones when it names none.

    A pruned network has other outputs than its source in any precision: it may lose what INT8 may of the task's
    metric. Raises BadRequest where it is pruned and nothing says what it may lose.
    """
    if parity.metrics or not is_pruned:
        return parity.metrics or default_goals(precision, kind, has_labels)
    if not has_labels:
        raise _unjudged_pruning("the samples have no labels of the task")
    return default_goals(Precision.INT8, kind, has_labels=True)


def _unjudged_pruning(why: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.BAD_REQUEST,
        f"pruning costs accuracy, and {why}: set gates.parity.datasetUri to labelled data, or gates.parity.metrics to"
        " what may be lost; or leave pruning out",
    )


def refuse_impossible_goals(parity: ParityRequest, *, has_calibration: bool = False, is_pruned: bool = False) -> None:
    """Raise UnknownMetric, MetricNotApplicable or BadRequest before anything is fetched."""
    if is_pruned and not parity.metrics and parity.dataset_uri is None:
        raise _unjudged_pruning("there is neither a dataset nor a goal")
    for goal in parity.metrics:
        if goal.name not in HIGHER_IS_BETTER:
            raise ConversionFailure(
                Reason.UNKNOWN_METRIC,
                f"gates.parity.metrics: unknown metric {goal.name!r}; known are {', '.join(HIGHER_IS_BETTER)}",
            )
        if not math.isfinite(goal.value):
            raise ConversionFailure(
                Reason.BAD_REQUEST, f"gates.parity.metrics: the limit of {goal.name} is not a finite number"
            )
        if parity.dataset_uri is not None:
            continue
        if goal.name in LABELLED_METRICS:
            raise _not_applicable(goal.name, "labels")
        if goal.name in PREDICTION_METRICS and not has_calibration:
            raise _not_applicable(goal.name, "real samples")


def _not_applicable(metric: str, needs: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.METRIC_NOT_APPLICABLE, f"gates.parity.metrics: {metric} needs {needs}; set gates.parity.datasetUri"
    )


def goal_met(goal: MetricGoal, measured: Measured) -> bool:
    """Compare a measurement with a goal; NaN meets none, neither does a measurement without samples.

    `threshold`: at least the limit where higher is better, at most the limit elsewhere. The degradations and
    improvements compare with the source model, in the metric's own unit or in percent of the source's value.
    """
    if measured.samples == 0:
        return False
    higher = HIGHER_IS_BETTER[goal.name]
    if goal.goal is Goal.THRESHOLD:
        return measured.value >= goal.value if higher else measured.value <= goal.value
    gain = (measured.value - measured.source_value) * (1 if higher else -1)
    if goal.goal in (Goal.PERCENT_MAX_DEGRADATION, Goal.PERCENT_MIN_IMPROVEMENT):
        gain = 100 * gain / abs(measured.source_value) if measured.source_value else math.nan
    if goal.goal in (Goal.MAX_DEGRADATION, Goal.PERCENT_MAX_DEGRADATION):
        return -gain <= goal.value + ROUNDING
    return gain >= goal.value - ROUNDING


def judge(goals: tuple[MetricGoal, ...], measured: dict[str, Measured]) -> tuple[GateResult, ...]:
    """Return one result per goal, in the order of the request."""
    return tuple(
        GateResult(
            metric=goal.name,
            goal=goal.goal,
            limit=goal.value,
            value=measured[goal.name].value,
            source_value=measured[goal.name].source_value,
            passed=goal_met(goal, measured[goal.name]),
            samples=measured[goal.name].samples,
        )
        for goal in goals
    )


def refuse_missed_goals(gates: tuple[GateResult, ...], *, is_pruned: bool = False) -> None:
    """Raise ParityFailed for a missed agreement goal, else GateFailed for a missed labelled one."""
    missed = [gate for gate in gates if not gate.passed]
    if not missed:
        return
    disagreement = [gate for gate in missed if gate.metric in AGREEMENT_METRICS]
    reason = Reason.PARITY_FAILED if disagreement else Reason.GATE_FAILED
    words = "; ".join(_gate_words(gate) for gate in (disagreement or missed))
    remedy = (
        "try simplify: false, or a goal on the task's own metric"
        if disagreement
        else "serve a better model, or relax the goal in gates.parity.metrics"
    )
    if is_pruned:
        remedy = "prune while training instead (docs/training.md), or relax the goal in gates.parity.metrics"
    raise ConversionFailure(reason, f"{words}; nothing was published: {remedy}", gates=gates)


def _gate_words(gate: GateResult) -> str:
    sign = ">=" if HIGHER_IS_BETTER[gate.metric] else "<="
    asked = {
        Goal.THRESHOLD: f"{sign} {gate.limit:g}",
        Goal.MAX_DEGRADATION: f"at most {gate.limit:g} worse than the source's {gate.source_value:.6g}",
        Goal.PERCENT_MAX_DEGRADATION: f"at most {gate.limit:g} % worse than the source's {gate.source_value:.6g}",
        Goal.MIN_IMPROVEMENT: f"at least {gate.limit:g} better than the source's {gate.source_value:.6g}",
        Goal.PERCENT_MIN_IMPROVEMENT: f"at least {gate.limit:g} % better than the source's {gate.source_value:.6g}",
    }[gate.goal]
    return f"{gate.metric} is {gate.value:.6g} over {gate.samples} samples, the goal is {asked}"
