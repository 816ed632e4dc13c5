"""An image task as texts: the parameters of the ensemble's steps, which `visionmodel_pipeline.settings` reads.

The same texts go into config.pbtxt and into the conversion request, so that calibration and gates see the pixels and
the answers that serving will see. The defaults of `task.output` are here: they depend on the type of the task.
"""

import json
from math import floor
from typing import Final, TypeVar

from visionmodel_contract.conversion import ImageTask
from visionmodel_operator.api.spec import Decoder, ImageInput, Task, TaskOutput, TaskType
from visionmodel_operator.core.quantity import amount

DECODER: Final = {TaskType.CLASSIFICATION: Decoder.SOFTMAX, TaskType.SEGMENTATION: Decoder.CLASS_SCORES}
"""Of a detector there is none that most would have, so the API asks for it."""
SCORE_THRESHOLD: Final = {TaskType.DETECTION: 0.3, TaskType.CLASSIFICATION: 0.0, TaskType.SEGMENTATION: 0.5}
IOU_THRESHOLD: Final = 0.5
MAX_DETECTIONS: Final = 100
TOP_K: Final = 5


def image_task(task: Task) -> ImageTask | None:
    """Return what the converter is told about images; None for a task of tensors."""
    if task.type == TaskType.TENSOR:
        return None
    return ImageTask(preprocess=preprocess_parameters(task), postprocess=postprocess_parameters(task))


def preprocess_parameters(task: Task) -> dict[str, str]:
    """Return the parameters of the first step; height and width only where the spec has them."""
    wanted = task.input or ImageInput()
    sides = {"height": wanted.height, "width": wanted.width}
    return {name: str(side) for name, side in sides.items() if side is not None} | {
        "layout": wanted.layout.value,
        "resize": wanted.resize.value,
        "color_space": wanted.color_space.value,
        "mean": json.dumps(wanted.mean),
        "std": json.dumps(wanted.std),
        "max_bytes": str(floor(amount(wanted.max_bytes))),
        "max_pixels": str(wanted.max_pixels),
    }


def postprocess_parameters(task: Task) -> dict[str, str]:
    """Return the parameters of the last step; a mask's also needs the size of the network's input, from the model."""
    output = task.output or TaskOutput()
    parameters = {
        "decoder": decoder_of(task).value,
        "score_threshold": str(_given(output.score_threshold, SCORE_THRESHOLD[task.type])),
    }
    if task.type == TaskType.DETECTION:
        parameters["iou_threshold"] = str(_given(output.iou_threshold, IOU_THRESHOLD))
    if task.type != TaskType.SEGMENTATION:
        name = "max_detections" if task.type == TaskType.DETECTION else "top_k"
        parameters[name] = str(answer_rows(task))
    return parameters | {"labels": json.dumps(task.labels, ensure_ascii=False)}


def decoder_of(task: Task) -> Decoder:
    """Return the decoder that is asked for, or the default of the type."""
    asked = None if task.output is None else task.output.decoder
    return asked or DECODER[task.type]


def answer_rows(task: Task) -> int:
    """Return how many detections or classes every answer has room for."""
    output = task.output or TaskOutput()
    if task.type == TaskType.DETECTION:
        return _given(output.max_detections, MAX_DETECTIONS)
    return _given(output.top_k, TOP_K)


_T = TypeVar("_T")


def _given(value: _T | None, default: _T) -> _T:
    return default if value is None else value
