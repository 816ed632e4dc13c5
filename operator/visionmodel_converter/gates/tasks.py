"""What a network does, as far as the gates must know it: its kind, and how its images and outputs are read.

The settings are the ones that the serving steps get (`ConversionRequest.task`), so that calibration, gates and
serving share one pre-processing and one decoder.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from numpy.typing import NDArray

from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_pipeline.segmentation import MAX_CLASSES
from visionmodel_pipeline.settings import (
    CLASSIFICATION_DECODERS,
    DETECTION_DECODERS,
    SEGMENTATION_DECODERS,
    ClassificationSettings,
    DetectionSettings,
    PreSettings,
    SegmentationSettings,
    SettingsError,
)

Specs = tuple[TensorSpec, ...]

CHANNELS: Final = {"RGB": 3, "BGR": 3, "Gray": 1}
RANKS: Final[Mapping[str, Mapping[str, int]]] = {
    "Grid": {"boxes": 3, "scores": 3},
    "Triple": {"boxes": 3, "scores": 2, "labels": 2},
    "YOLOv8": {"predictions": 3},
    "Softmax": {"scores": 2},
    "Probabilities": {"scores": 2},
    "ClassScores": {"scores": 4},
    "ClassMap": {"classes": 3},
    "Sigmoid": {"scores": 4},
}
"""Axes of each output that a decoder reads, the batch included."""


class TaskKind(StrEnum):
    """What is predicted, which decides the metrics that mean something."""

    TENSOR = "Tensor"
    CLASSIFICATION = "Classification"
    DETECTION = "Detection"
    SEGMENTATION = "Segmentation"


DECODERS_OF: Final = {
    TaskKind.CLASSIFICATION: CLASSIFICATION_DECODERS,
    TaskKind.DETECTION: DETECTION_DECODERS,
    TaskKind.SEGMENTATION: SEGMENTATION_DECODERS,
}


S = TypeVar("S", DetectionSettings, ClassificationSettings, SegmentationSettings)


@dataclass(frozen=True)
class Plan(Generic[S]):
    """How raw outputs are read.

    Attributes:
        outputs: the network's outputs by the names that the decoder has for them.
        settings: decoder and thresholds of serving.
    """

    outputs: Mapping[str, str]
    settings: S

    def decoded(self, arrays: Mapping[str, NDArray[Any]], row: int) -> dict[str, NDArray[Any]]:
        """Return one sample's outputs by the decoder's names, as `visionmodel_pipeline` takes them."""
        return {name: arrays[raw][row] for name, raw in self.outputs.items()}


DetectionPlan = Plan[DetectionSettings]
ClassificationPlan = Plan[ClassificationSettings]
SegmentationPlan = Plan[SegmentationSettings]


def kind_of(task: ImageTask | None, outputs: Specs, labelled: Collection[TaskKind] = ()) -> TaskKind:
    """Return what the network predicts.

    An image task says it by its decoder, else by the rank of its first output: [n, classes] is classification,
    [n, classes, height, width] segmentation. Tensors alone say nothing, there the dataset's labels do.
    """
    if task is None:
        return next(
            (kind for kind in (TaskKind.DETECTION, TaskKind.CLASSIFICATION) if kind in labelled), TaskKind.TENSOR
        )
    decoder = task.postprocess.get("decoder")
    for kind, decoders in DECODERS_OF.items():
        if decoder in decoders:
            return kind
    by_rank = {2: TaskKind.CLASSIFICATION, 4: TaskKind.SEGMENTATION}
    return by_rank.get(len(outputs[0].dims), TaskKind.TENSOR)


def class_names(task: ImageTask | None) -> tuple[str, ...]:
    """Return the names of the classes by number; empty where the task names none. Raises BadRequest."""
    text = "[]" if task is None else task.postprocess.get("labels", "[]")
    try:
        names = json.loads(text)
    except json.JSONDecodeError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConversionFailure(Reason.BAD_REQUEST, f"task.postprocess.labels is {text!r}, not a JSON list of names")
    return tuple(names)


def pre_settings(task: ImageTask, inputs: Specs) -> PreSettings:
    """Return how an image becomes the network's only input; a size the task leaves out is the model's.

    Raises BadRequest: the parameters make no sense, the model has no such input, or nobody says the size.
    """
    if len(inputs) != 1:
        raise _bad(f"an image task needs a model with one input, this one has {[spec.name for spec in inputs]}")
    (spec,) = inputs
    if len(spec.dims) != 4 or spec.dtype != "float32":
        raise _bad(f"input {spec.name!r} is {spec.dtype} {list(spec.dims)}; images become float32 with four axes")
    is_nchw = task.preprocess.get("layout", "NCHW") == "NCHW"
    channels, height, width = spec.dims[1:] if is_nchw else (spec.dims[3], spec.dims[1], spec.dims[2])
    if channels not in (CHANNELS.get(task.preprocess.get("color_space", "RGB")), -1):
        raise _bad(
            f"input {spec.name!r} is {list(spec.dims)}, which is {channels} channels; correct task.input.layout or"
            " task.input.colorSpace"
        )
    sizes = {"height": _side(task, "height", height), "width": _side(task, "width", width)}
    try:
        return PreSettings.from_parameters({**task.preprocess, **sizes})
    except SettingsError as error:
        raise _bad(f"task.preprocess: {error}") from error


def _side(task: ImageTask, name: str, found: int) -> str:
    wanted = task.preprocess.get(name)
    if wanted is None and found < 0:
        raise _bad(f"the model takes any {name}; say which one in task.input.{name}")
    if wanted is not None and found >= 0 and wanted != str(found):
        raise _bad(f"task.input.{name} is {wanted} and the model's input has {found}; leave it out or correct it")
    return str(found) if wanted is None else wanted


def detection_plan(task: ImageTask | None, outputs: Specs) -> DetectionPlan | None:
    """Return how to read detections, or None where the outputs are no detector's.

    Without a task the outputs' names and ranks tell a Grid or Triple; a decoder that reads one tensor takes the
    model's only output under any name. Raises BadRequest when the task's parameters make no sense.
    """
    if _is_other(task, TaskKind.DETECTION):
        return None
    if task is not None and "decoder" in task.postprocess:
        settings = _read(DetectionSettings, task.postprocess)
        matched = _matched(settings.decoder, outputs)
        return None if matched is None else Plan(matched, settings)
    for decoder in ("Grid", "Triple"):
        matched = _matched(decoder, outputs)
        if matched is not None:
            return Plan(matched, DetectionSettings(decoder))
    return None


def classification_plan(task: ImageTask | None, outputs: Specs) -> ClassificationPlan | None:
    """Return how to read classes, or None where the outputs are no classifier's.

    Without a decoder the scores are the first output, [n, classes]. Raises BadRequest as `detection_plan` does.
    """
    if _is_other(task, TaskKind.CLASSIFICATION):
        return None
    settings = ClassificationSettings(CLASSIFICATION_DECODERS[0])
    if task is not None and "decoder" in task.postprocess:
        settings = _read(ClassificationSettings, task.postprocess)
    matched = _matched(settings.decoder, outputs)
    return None if matched is None else Plan(matched, settings)


def segmentation_plan(task: ImageTask | None, inputs: Specs, outputs: Specs) -> SegmentationPlan | None:
    """Return how to read masks, or None where the outputs are no segmenter's or nobody knows where the image lies.

    Without a decoder the scores are the first output, [n, classes, height, width]; Sigmoid reads one channel alone.
    Raises BadRequest as `detection_plan` and `pre_settings` do.
    """
    if task is None or _is_other(task, TaskKind.SEGMENTATION):
        return None
    sides = pre_settings(task, inputs)
    settings = SegmentationSettings(SEGMENTATION_DECODERS[0], sides.height, sides.width)
    if "decoder" in task.postprocess:
        size = {"height": str(sides.height), "width": str(sides.width)}
        settings = _read(SegmentationSettings, {**task.postprocess, **size})
    matched = _matched(settings.decoder, outputs)
    plan = None if matched is None else Plan(matched, settings)
    return plan if plan is not None and _has_channels(plan, outputs) else None


def _has_channels(plan: SegmentationPlan, outputs: Specs) -> bool:
    """Return whether the output has as many channels as the decoder reads, as far as its shape tells."""
    if plan.settings.decoder == "Sigmoid":
        return any(spec.name == plan.outputs["scores"] and spec.dims[1] in (1, -1) for spec in outputs)
    return 1 < mask_classes(plan, outputs) <= MAX_CLASSES


def mask_classes(plan: SegmentationPlan, outputs: Specs) -> int:
    """Return how many classes a mask may hold; as many as a byte can number where the outputs do not tell."""
    match plan.settings.decoder:
        case "Sigmoid":
            return 2
        case "ClassScores":
            (classes,) = (spec.dims[1] for spec in outputs if spec.name == plan.outputs["scores"])
            return classes if classes > 0 else MAX_CLASSES
        case _:
            return MAX_CLASSES


def _is_other(task: ImageTask | None, kind: TaskKind) -> bool:
    """Return whether the task names a decoder of another kind."""
    asked = None if task is None else task.postprocess.get("decoder")
    return any(asked in decoders for other, decoders in DECODERS_OF.items() if other is not kind)


def _read(settings: type[S], parameters: Mapping[str, str]) -> S:
    try:
        return settings.from_parameters(parameters)
    except SettingsError as error:
        raise _bad(f"task.postprocess: {error}") from error


def _matched(decoder: str, outputs: Specs) -> dict[str, str] | None:
    """Match by name and rank, else one output by its place: a detector's only one, the first one of the others."""
    ranks = RANKS[decoder]
    found = {spec.name: spec for spec in outputs if len(spec.dims) == ranks.get(spec.name)}
    is_sole = len(outputs) == 1 or decoder not in DETECTION_DECODERS
    if len(ranks) == 1 and is_sole and not found:
        found = dict.fromkeys(ranks, outputs[0])
    fits = all(name in found and len(found[name].dims) == rank for name, rank in ranks.items())
    return {name: found[name].name for name in ranks} if fits else None


def _bad(message: str) -> ConversionFailure:
    return ConversionFailure(Reason.BAD_REQUEST, message)
