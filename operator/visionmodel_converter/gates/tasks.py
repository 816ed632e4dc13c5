"""What a network does, as far as the gates must know it: its kind, and how its images and outputs are read.

The settings are the ones that the serving steps get (`ConversionRequest.task`), so that calibration, gates and
serving share one pre-processing and one decoder.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_pipeline.decoders import DECODERS
from visionmodel_pipeline.settings import PostSettings, PreSettings, SettingsError

Specs = tuple[TensorSpec, ...]

CHANNELS: Final = 3
RANKS: Final[Mapping[str, Mapping[str, int]]] = {
    "Grid": {"boxes": 3, "scores": 3},
    "Triple": {"boxes": 3, "scores": 2, "labels": 2},
    "YOLOv8": {"predictions": 3},
}
"""Axes of each output that a decoder reads, the batch included."""


class TaskKind(StrEnum):
    """What is predicted, which decides the metrics that mean something."""

    TENSOR = "Tensor"
    CLASSIFICATION = "Classification"
    DETECTION = "Detection"
    SEGMENTATION = "Segmentation"


@dataclass(frozen=True, slots=True)
class DetectionPlan:
    """How a detector's raw outputs are read.

    Attributes:
        outputs: the network's outputs by the names that the decoder has for them.
        settings: decoder and thresholds of serving.
    """

    outputs: Mapping[str, str]
    settings: PostSettings


def kind_of(task: ImageTask | None, outputs: Specs, labelled: Collection[TaskKind] = ()) -> TaskKind:
    """Return what the network predicts.

    An image task says it by its decoder, else by the rank of its first output: [n, classes] is classification,
    [n, classes, height, width] segmentation. Tensors alone say nothing, there the dataset's labels do.
    """
    if task is None:
        return next(
            (kind for kind in (TaskKind.DETECTION, TaskKind.CLASSIFICATION) if kind in labelled), TaskKind.TENSOR
        )
    if task.postprocess.get("decoder") in DECODERS:
        return TaskKind.DETECTION
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
    if channels not in (CHANNELS, -1):
        raise _bad(f"input {spec.name!r} is {list(spec.dims)}, which is {channels} channels; correct task.input.layout")
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
    if task is not None and "decoder" in task.postprocess:
        try:
            settings = PostSettings.from_parameters(task.postprocess)
        except SettingsError as error:
            raise _bad(f"task.postprocess: {error}") from error
        matched = _matched(settings.decoder, outputs)
        return None if matched is None else DetectionPlan(matched, settings)
    for decoder in ("Grid", "Triple"):
        matched = _matched(decoder, outputs)
        if matched is not None:
            return DetectionPlan(matched, PostSettings(decoder))
    return None


def _matched(decoder: str, outputs: Specs) -> dict[str, str] | None:
    ranks = RANKS[decoder]
    found = {spec.name: spec for spec in outputs}
    if len(ranks) == 1 and len(outputs) == 1:
        found = dict.fromkeys(ranks, outputs[0])
    fits = all(name in found and len(found[name].dims) == rank for name, rank in ranks.items())
    return {name: found[name].name for name in ranks} if fits else None


def _bad(message: str) -> ConversionFailure:
    return ConversionFailure(Reason.BAD_REQUEST, message)
