"""Judge an artifact against its source and against the user's goals, before anything is published.

Agreement is measured on seeded random inputs and on the dataset, labelled metrics on the dataset. Without any
goal the artifact must agree with its source within DEFAULT_RELATIVE_ERROR. Everything fails closed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_contract.conversion import MetricGoal, ParityRequest
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import GateResult, TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.dataset import Dataset
from visionmodel_converter.gates.metrics import Map50, Top1
from visionmodel_converter.graph.agreement import Agreement
from visionmodel_converter.graph.session import Run, Tensors, random_inputs

DEFAULT_RELATIVE_ERROR: Final = 1e-4
"""FP32 on another graph of the same network: ten times what reordering costs, far below any visible change."""
RANDOM_BATCHES: Final = (1, 3)
DATASET_BATCH: Final = 8

AGREEMENT_METRICS: Final = {"maxAbsError": False, "maxRelativeError": False, "cosine": True}
LABELLED_METRICS: Final = {"top1": True, "map50": True}
HIGHER_IS_BETTER: Final = AGREEMENT_METRICS | LABELLED_METRICS
PERFECT_AGREEMENT: Final = {"maxAbsError": 0.0, "maxRelativeError": 0.0, "cosine": 1.0}
"""The source compared with itself: what max-degradation of an agreement metric starts from."""
ROUNDING: Final = 1e-9
"""So that 0.96 - 0.95 counts as 0.01, which in binary it exceeds."""
DEFAULT_GOAL: Final = MetricGoal(name="maxRelativeError", goal=Goal.THRESHOLD, value=DEFAULT_RELATIVE_ERROR)


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of the artifact and of its source, over so many samples."""

    value: float
    source_value: float
    samples: int


def goals_of(parity: ParityRequest) -> tuple[MetricGoal, ...]:
    """Return the goals of a request, or the default one when it names none."""
    return parity.metrics or (DEFAULT_GOAL,)


def refuse_impossible_goals(parity: ParityRequest) -> None:
    """Raise UnknownMetric, MetricNotApplicable or BadRequest before anything is fetched."""
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
        if goal.name in LABELLED_METRICS and parity.dataset_uri is None:
            raise ConversionFailure(
                Reason.METRIC_NOT_APPLICABLE,
                f"gates.parity.metrics: {goal.name} needs labels; set gates.parity.datasetUri",
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


def refuse_missed_goals(gates: tuple[GateResult, ...]) -> None:
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


def measure(
    run_source: Run,
    run_artifact: Run,
    *,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    goals: tuple[MetricGoal, ...],
    dataset: Dataset | None,
    seed: int,
) -> dict[str, Measured]:
    """Run both models on random inputs and the dataset; returns every agreement metric and the labelled ones asked.

    Raises ParityFailed when an output is not finite or has another shape, MetricNotApplicable when an output a
    metric needs is not there.
    """
    agreement = Agreement()
    for batch in RANDOM_BATCHES:
        random = random_inputs(inputs, batch=batch, seed=seed + batch)
        _compare(agreement, run_source(random), run_artifact(random), batch, "random inputs")
    result: dict[str, Measured] = {}
    names = {goal.name for goal in goals}
    if dataset is not None:
        source_metrics, artifact_metrics = _labelled(names, outputs, dataset), _labelled(names, outputs, dataset)
        for start, tensors in _batches(dataset):
            expected, actual = run_source(tensors), run_artifact(tensors)
            count = len(next(iter(tensors.values())))
            _compare(agreement, expected, actual, count, f"samples {start} to {start + count - 1} of the dataset")
            rows = slice(start, start + count)
            for name in source_metrics:
                _add(source_metrics[name], expected, outputs, dataset, rows)
                _add(artifact_metrics[name], actual, outputs, dataset, rows)
        for name, metric in artifact_metrics.items():
            result[name] = Measured(metric.value(), source_metrics[name].value(), metric.samples)
    values = {
        "maxAbsError": agreement.max_abs_error(),
        "maxRelativeError": agreement.max_relative_error(),
        "cosine": agreement.cosine(),
    }
    return result | {
        name: Measured(value, PERFECT_AGREEMENT[name], agreement.samples) for name, value in values.items()
    }


def _batches(dataset: Dataset) -> Iterator[tuple[int, Tensors]]:
    for start in range(0, dataset.samples, DATASET_BATCH):
        yield start, {name: array[start : start + DATASET_BATCH] for name, array in dataset.inputs.items()}


def _compare(
    agreement: Agreement,
    expected: dict[str, NDArray[Any]],
    actual: dict[str, NDArray[Any]],
    batch: int,
    where: str,
) -> None:
    for name, array in expected.items():
        if array.ndim == 0 or len(array) != batch:
            raise ConversionFailure(
                Reason.STATIC_BATCH,
                f"output {name!r} has shape {list(array.shape)} for a batch of {batch}: its first axis must be the "
                "batch; export with a batched output",
            )
        for role, values in (("source", array), ("artifact", actual[name])):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ConversionFailure(
                    Reason.PARITY_FAILED,
                    f"output {name!r} of the {role} holds NaN or infinity for {where}; nothing was published: check "
                    "the model's weights and the range of its inputs",
                )
        if array.shape != actual[name].shape:
            raise ConversionFailure(
                Reason.PARITY_FAILED,
                f"output {name!r} has shape {list(actual[name].shape)} in the artifact and {list(array.shape)} in the "
                f"source for {where}; nothing was published: try simplify: false",
            )
        agreement.add(name, array, actual[name])
    agreement.samples += batch


def _labelled(names: set[str], outputs: tuple[TensorSpec, ...], dataset: Dataset) -> dict[str, Top1 | Map50]:
    metrics: dict[str, Top1 | Map50] = {}
    if "top1" in names:
        _require(dataset.label is not None, "label", "top1")
        _require_output(len(outputs[0].dims) == 2, outputs, "top1", "logits [batch, classes] as its first output")
        classes = outputs[0].dims[1]
        if dataset.label is not None and 0 < classes <= int(dataset.label.max()):
            raise ConversionFailure(
                Reason.DATASET_INVALID,
                f"dataset array 'label' names class {int(dataset.label.max())}, output {outputs[0].name!r} has "
                f"{classes} classes",
            )
        metrics["top1"] = Top1()
    if "map50" in names:
        _require(dataset.gt_boxes is not None, "gt_boxes", "map50")
        ranks = {spec.name: len(spec.dims) for spec in outputs}
        _require_output(
            ranks.get("boxes") == 3 and ranks.get("scores") == 3,
            outputs,
            "map50",
            "the outputs 'boxes' [batch, K, 4] and 'scores' [batch, K, classes]",
        )
        metrics["map50"] = Map50()
    return metrics


def _require(present: bool, array: str, metric: str) -> None:
    if not present:
        raise ConversionFailure(
            Reason.DATASET_INVALID, f"dataset array {array!r} is missing; the metric {metric} needs it"
        )


def _require_output(fits: bool, outputs: tuple[TensorSpec, ...], metric: str, wanted: str) -> None:
    if not fits:
        real = ", ".join(f"{spec.name!r} {list(spec.dims)}" for spec in outputs)
        raise ConversionFailure(
            Reason.METRIC_NOT_APPLICABLE, f"the metric {metric} needs {wanted}; the model has {real}"
        )


def _add(
    metric: Top1 | Map50,
    produced: dict[str, NDArray[Any]],
    outputs: tuple[TensorSpec, ...],
    dataset: Dataset,
    rows: slice,
) -> None:
    match metric:
        case Top1():
            assert dataset.label is not None  # _labelled made sure
            metric.add(produced[outputs[0].name], dataset.label[rows])
        case Map50():
            assert dataset.gt_boxes is not None
            assert dataset.gt_labels is not None
            metric.add(produced["boxes"], produced["scores"], dataset.gt_boxes[rows], dataset.gt_labels[rows])
