"""An image task as texts: the parameters of the ensemble's steps, which `visionmodel_pipeline.settings` reads.

The same texts go into config.pbtxt and into the conversion request, so that calibration and gates see the pixels and
the boxes that serving will see.
"""

import json
from math import floor

from visionmodel_contract.conversion import ImageTask
from visionmodel_operator.api.spec import DetectionOutput, ImageInput, Task
from visionmodel_operator.core.quantity import amount


def image_task(task: Task) -> ImageTask | None:
    """Return what the converter is told about images; None for a task of tensors."""
    if task.output is None:
        return None
    return ImageTask(preprocess=preprocess_parameters(task), postprocess=postprocess_parameters(task, task.output))


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


def postprocess_parameters(task: Task, output: DetectionOutput) -> dict[str, str]:
    """Return the parameters of the last step."""
    return {
        "decoder": output.decoder.value,
        "score_threshold": str(output.score_threshold),
        "iou_threshold": str(output.iou_threshold),
        "max_detections": str(output.max_detections),
        "labels": json.dumps(task.labels, ensure_ascii=False),
    }
