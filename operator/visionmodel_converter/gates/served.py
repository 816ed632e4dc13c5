"""What serving makes of raw outputs by its own decoders: whether it is an answer, and whether the decoder fits.

A wrong decoder gives numbers that look right: the softmax of probabilities still sums to one, and the order of the
classes, which every accuracy is taken from, stays; the sigmoid of probabilities makes every mask one class, in the
artifact as in its source. So the outputs' values are looked at before anything serves.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_contract.conversion import ImageTask
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.comparison import are_shares
from visionmodel_converter.gates.metrics import words_of
from visionmodel_converter.gates.predictions import detections_of, mask_of
from visionmodel_converter.gates.tasks import (
    RANKS,
    ClassificationPlan,
    SegmentationPlan,
    Specs,
    classification_plan,
    detection_plan,
    segmentation_plan,
)
from visionmodel_converter.graph.session import Run, random_inputs
from visionmodel_pipeline.classification import SCORES
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.segmentation import MAX_CLASSES

Outputs = Mapping[str, NDArray[Any]]

PROBED: Final = 4
"""Random inputs whose scores are looked at."""
ROUNDING: Final = 0.01
"""How far a probability may leave 0 to 1: INT8 and FP16 round."""
CHANNELS_WANTED: Final = {"ClassScores": f" and 2 to {MAX_CLASSES} classes", "Sigmoid": " and 1 channel"}
"""What a decoder asks of an output's shape beside its rank, in words."""


def served_problem(
    answer: Outputs, geometry: Geometry, *, inputs: Specs, outputs: Specs, task: ImageTask
) -> str | None:
    """Return why serving's answer for one image would be none, or None. Raises BadRequest as `mask_of` does."""
    boxes = detection_plan(task, outputs)
    if boxes is not None:
        (found,) = detections_of(answer, [geometry], boxes)
        return None if np.isfinite(found.boxes).all() else "a box is not finite"
    classes = classification_plan(task, outputs)
    if classes is not None:
        return _not_probabilities(classes, answer)
    mask = segmentation_plan(task, inputs, outputs)
    if mask is not None:
        mask_of(answer, 0, geometry, mask)  # any class is an answer, so all that can go wrong is the decoding
    return None


def refuse_wrong_decoder(run: Run, *, inputs: Specs, outputs: Specs, task: ImageTask | None, seed: int) -> None:
    """Raise BadRequest where the decoder that serving will use is not the one for what the network gives.

    Serving would refuse the outputs' shapes too, but only after a whole conversion; values it would not look at.

    Args:
        run: the model as it came.
        inputs: of the model.
        outputs: of the model.
        task: names the decoder; without one nothing is decoded.
        seed: of the random inputs.
    """
    if task is None or "decoder" not in task.postprocess:
        return
    if detection_plan(task, outputs) is not None:
        return
    classes = classification_plan(task, outputs)
    if classes is not None:
        answer = run(random_inputs(inputs, batch=PROBED, seed=seed))
        _refuse_wrong_scores(classes, answer)
        return
    mask = segmentation_plan(task, inputs, outputs)
    if mask is None:
        raise _unreadable(task.postprocess["decoder"], outputs)
    if mask.settings.decoder == "Sigmoid":
        answer = run(random_inputs(inputs, batch=PROBED, seed=seed))
        _refuse_second_sigmoid(mask, answer[mask.outputs[SCORES]])


def _refuse_wrong_scores(plan: ClassificationPlan, answer: Outputs) -> None:
    scores = answer[plan.outputs[SCORES]]
    if plan.settings.decoder == "Softmax" and all(are_shares(row) for row in scores):
        raise _wrong(plan, "already are what a softmax gives", "set it to Probabilities")
    if _not_probabilities(plan, answer) is not None:
        raise _wrong(plan, f"reach from {scores.min():.4g} to {scores.max():.4g}", "set it to Softmax")


def _refuse_second_sigmoid(plan: SegmentationPlan, scores: NDArray[Any]) -> None:
    """Logits of noise reach below 0 or above 1 somewhere; what never does is a probability already."""
    if _are_probabilities(scores):
        remedy = "export the model without its last sigmoid, which the decoder applies"
        raise _wrong(plan, "already are what a sigmoid gives, 0 to 1 everywhere", remedy)


def _unreadable(decoder: str, outputs: Specs) -> ConversionFailure:
    wanted = ", ".join(f"{name} with {rank} axes" for name, rank in RANKS[decoder].items())
    limit = CHANNELS_WANTED.get(decoder, "")
    return ConversionFailure(
        Reason.BAD_REQUEST,
        f"task.output.decoder is {decoder}, which reads {wanted}{limit}; the model has {words_of(outputs)}: set the "
        "decoder that fits, or export the model with such outputs",
    )


def _not_probabilities(plan: ClassificationPlan, answer: Outputs) -> str | None:
    scores = answer[plan.outputs[SCORES]]
    if plan.settings.decoder != "Probabilities" or _are_probabilities(scores):
        return None
    return f"output {plan.outputs[SCORES]!r} holds what is no probability"


def _are_probabilities(scores: NDArray[Any]) -> bool:
    return bool((scores >= -ROUNDING).all() and (scores <= 1 + ROUNDING).all())


def _wrong(plan: ClassificationPlan | SegmentationPlan, what: str, remedy: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.BAD_REQUEST,
        f"task.output.decoder is {plan.settings.decoder}, but the values of output {plan.outputs[SCORES]!r} {what}; "
        f"{remedy}",
    )
