"""Run the source and the artifact on the same inputs and measure how far apart they are, and how good each is.

Pure but for the two runs. Agreement element by element is measured on seeded random inputs and on the samples,
predictions and labels on the samples alone, because noise has no class. What the numbers must reach is in `goals`.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_contract.conversion import ImageTask, MetricGoal
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.comparison import Worst
from visionmodel_converter.gates.goals import LABELLED_METRICS, PERFECT_AGREEMENT, TENSOR_METRICS, Measured
from visionmodel_converter.gates.metrics import (
    Classification,
    Detection,
    Family,
    Segmentation,
    words_of,
)
from visionmodel_converter.gates.samples import Samples
from visionmodel_converter.gates.tasks import (
    Specs,
    TaskKind,
    classification_plan,
    detection_plan,
    kind_of,
    mask_classes,
    segmentation_plan,
)
from visionmodel_converter.graph.agreement import Agreement
from visionmodel_converter.graph.session import Run, random_inputs
from visionmodel_pipeline.classification import SCORES

RANDOM_BATCHES: Final = (1, 3)
SAMPLE_BATCH: Final = 8

KIND_OF_METRIC: Final = {
    "top1": TaskKind.CLASSIFICATION,
    "top5": TaskKind.CLASSIFICATION,
    "top1Agreement": TaskKind.CLASSIFICATION,
    "top5Agreement": TaskKind.CLASSIFICATION,
    "map50": TaskKind.DETECTION,
    "map50_95": TaskKind.DETECTION,
    "mapAgreement": TaskKind.DETECTION,
    "maskIou": TaskKind.SEGMENTATION,
}
NEEDED_OUTPUTS: Final = {
    TaskKind.CLASSIFICATION: "scores [batch, classes] as its first output or under that name",
    TaskKind.DETECTION: "the outputs of its decoder, or without an image task the outputs 'boxes' [batch, K, 4] and "
    "'scores' [batch, K, classes]",
    TaskKind.SEGMENTATION: "an image task and the output of its decoder: scores [batch, classes, height, width], or "
    "classes [batch, height, width] with ClassMap",
}
LABELS_OF: Final = {
    TaskKind.CLASSIFICATION: "'label', or folders or a list of labels for images",
    TaskKind.DETECTION: "'gt_boxes', or annotations.json for images",
    TaskKind.SEGMENTATION: "masks for images",
}


def measure(
    run_source: Run,
    run_artifact: Run,
    samples: Samples | None,
    goals: tuple[MetricGoal, ...],
    *,
    inputs: Specs,
    outputs: Specs,
    noise_inputs: Specs | None = None,
    task: ImageTask | None = None,
    seed: int,
    random_counts: bool = True,
    worst: Worst | None = None,
) -> dict[str, Measured]:
    """Run both models and return every metric that can be had, those of the goals among them.

    Args:
        run_source: the model as it came.
        run_artifact: what was made of it.
        samples: the dataset, or calibration samples where there is none.
        goals: what will be judged; a metric in them that cannot be measured is refused.
        inputs: of both models.
        outputs: of both models.
        noise_inputs: the sizes of random inputs, where the artifact does not take any; else those of `inputs`.
        task: how outputs become predictions; without it the outputs' names and the labels tell.
        seed: of the random inputs.
        random_counts: whether agreement on random inputs enters the numbers (INT8 scales are chosen for real
            samples, so there it must not); both models must stay finite on them in any case.
        worst: takes the samples on which the two are furthest apart.

    Raises:
        ConversionFailure: ParityFailed when an output is not finite or has another shape, MetricNotApplicable when
            an output that a metric needs is not there, DatasetInvalid when labels are missing or impossible.
    """
    families = _families(goals, samples, inputs, outputs, task)
    own = None if samples is None else kind_of(task, outputs, samples.labelled)
    agreement = Agreement()
    on_noise = agreement if random_counts or samples is None else Agreement()
    _compare_on_noise(on_noise, run_source, run_artifact, noise_inputs or inputs, seed)
    if samples is not None:
        _refuse_impossible_labels(samples, outputs, families)
        for found in samples.batches(SAMPLE_BATCH):
            expected, actual = run_source(found.tensors), run_artifact(found.tensors)
            _compare(agreement, expected, actual, len(found), f"{found.names[0]} to {found.names[-1]} of the dataset")
            compared = {kind: family.add(found, expected, actual) for kind, family in families.items()}
            if worst is not None and own in compared:
                worst.add(compared[own])
    measured = _metrics(agreement, families)
    _refuse_unmeasured(goals, measured)
    return measured


def _compare_on_noise(target: Agreement, run_source: Run, run_artifact: Run, inputs: Specs, seed: int) -> None:
    for batch in RANDOM_BATCHES:
        noise = random_inputs(inputs, batch=batch, seed=seed + batch)
        _compare(target, run_source(noise), run_artifact(noise), batch, "random inputs")


def _families(
    goals: tuple[MetricGoal, ...], samples: Samples | None, inputs: Specs, outputs: Specs, task: ImageTask | None
) -> dict[TaskKind, Family]:
    """Return the families that the goals ask for, and the task's own where the outputs allow it."""
    if samples is None:
        return {}
    asked = {KIND_OF_METRIC[goal.name]: goal.name for goal in goals if goal.name in KIND_OF_METRIC}
    families: dict[TaskKind, Family] = {}
    for kind in sorted({*asked, kind_of(task, outputs, samples.labelled)}):
        family = _family(kind, inputs, outputs, task)
        if family is not None:
            families[kind] = family
        elif kind in asked:
            raise ConversionFailure(
                Reason.METRIC_NOT_APPLICABLE,
                f"the metric {asked[kind]} needs {NEEDED_OUTPUTS[kind]}; the model has {words_of(outputs)}",
            )
    for goal in goals:
        if goal.name in LABELLED_METRICS and KIND_OF_METRIC[goal.name] not in samples.labelled:
            raise ConversionFailure(
                Reason.DATASET_INVALID,
                f"the metric {goal.name} needs labels that the dataset does not hold: "
                f"{LABELS_OF[KIND_OF_METRIC[goal.name]]}",
            )
    return families


def _family(kind: TaskKind, inputs: Specs, outputs: Specs, task: ImageTask | None) -> Family | None:
    match kind:
        case TaskKind.CLASSIFICATION:
            classes = classification_plan(task, outputs)
            return None if classes is None else Classification(classes)
        case TaskKind.DETECTION:
            boxes = detection_plan(task, outputs)
            return None if boxes is None else Detection(boxes)
        case TaskKind.SEGMENTATION:
            mask = segmentation_plan(task, inputs, outputs)
            return None if mask is None else Segmentation(mask, mask_classes(mask, outputs))
        case TaskKind.TENSOR:
            return None


def _refuse_impossible_labels(samples: Samples, outputs: Specs, families: dict[TaskKind, Family]) -> None:
    classes = _known_classes(outputs, families)
    largest = max(samples.class_counts, default=-1)
    if 0 < classes <= largest:
        raise ConversionFailure(
            Reason.DATASET_INVALID,
            f"the dataset's labels name class {largest}, the model has {classes} classes ({words_of(outputs)})",
        )


def _known_classes(outputs: Specs, families: dict[TaskKind, Family]) -> int:
    by_name: dict[str, TensorSpec] = {spec.name: spec for spec in outputs}
    detection, classification = families.get(TaskKind.DETECTION), families.get(TaskKind.CLASSIFICATION)
    if isinstance(detection, Detection):
        names = detection.plan.outputs
        match detection.plan.settings.decoder:
            case "Grid":
                return by_name[names["scores"]].dims[2]
            case "YOLOv8":
                return by_name[names["predictions"]].dims[1] - 4
    if isinstance(classification, Classification):
        return by_name[classification.plan.outputs[SCORES]].dims[1]
    return -1


def _metrics(agreement: Agreement, families: dict[TaskKind, Family]) -> dict[str, Measured]:
    values = {
        "maxAbsError": agreement.max_abs_error(),
        "maxRelativeError": agreement.max_relative_error(),
        "cosine": agreement.cosine(),
    }
    found = {name: Measured(values[name], PERFECT_AGREEMENT[name], agreement.samples) for name in TENSOR_METRICS}
    for family in families.values():
        found |= family.measured()
    return found


UNMEASURED: Final = {
    "mapAgreement": "the source finds nothing in any sample at the score threshold; lower "
    "task.output.scoreThreshold, or use samples that show objects",
    "map50": "there is no object in any sample; use samples that show objects",
    "map50_95": "there is no object in any sample; use samples that show objects",
    "maskIou": "no pixel of any mask has a class; use masks that do",
}
"""Why a metric that the outputs allow has no value."""


def _refuse_unmeasured(goals: tuple[MetricGoal, ...], measured: dict[str, Measured]) -> None:
    for goal in goals:
        if goal.name not in measured:
            why = UNMEASURED.get(goal.name, "it needs samples; set gates.parity.datasetUri")
            raise ConversionFailure(
                Reason.METRIC_NOT_APPLICABLE, f"the metric {goal.name} could not be measured: {why}"
            )


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
