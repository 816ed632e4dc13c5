"""The generated ensemble of an image task: encoded image -> `pre` -> network -> `post` -> the task's answer.

Only the network batches requests of different clients: the steps answer each request by itself, so one client's
unreadable image is that client's alone. Triton refuses a warm-up of an ensemble; the network has its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Final

from visionmodel_contract.report import ArtifactInfo
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import ImageInput, Task, TaskType, VisionModelSpec
from visionmodel_operator.core.image_task import answer_rows, postprocess_parameters, preprocess_parameters
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.core.threads import cpus
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.image_network import ImageNetwork, image_network
from visionmodel_operator.render.text import render_text
from visionmodel_operator.render.triton_config import (
    Tensor,
    config_pbtxt,
    configured_tensor,
    model_version,
)

PRE_BACKEND: Final = "visionmodel_pre"
POST_BACKEND: Final = "visionmodel_post"
GEOMETRY_FIELDS: Final = 6
MAX_STEP_INSTANCES: Final = 4
"""Each is a process of its own; more than the CPUs only cost memory."""

IMAGE: Final = Tensor("image", "TYPE_STRING", (1,))
GEOMETRY: Final = Tensor("geometry", "TYPE_FP64", (GEOMETRY_FIELDS,))


@dataclass(frozen=True)
class Step:
    """One step of the ensemble; the maps go from the model's tensors to the ensemble's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def ensemble_configs(
    name: str, revision: str, spec: VisionModelSpec, artifact: ArtifactInfo, platform: Platform
) -> dict[str, str]:
    """Return the text of config.pbtxt by model name.

    Raises:
        UserError: the model is none that this task can stand around, or batching is off.
    """
    if spec.serving.batching.max_batch_size == 0:
        raise UserError(
            Reason.INVALID_SPEC, "an image task needs a batch axis; set serving.batching.maxBatchSize to 1 or more"
        )
    network = image_network(spec.task, artifact)
    return {
        name: _ensemble(name, revision, spec, network),
        f"{name}-net": config_pbtxt(f"{name}-net", revision, spec, artifact, platform, input_dims=_dims(spec, network)),
        f"{name}-pre": _pre(f"{name}-pre", revision, spec, network),
        f"{name}-post": _post(f"{name}-post", revision, spec, network),
    }


def _ensemble(name: str, revision: str, spec: VisionModelSpec, network: ImageNetwork) -> str:
    answers = _answers(spec.task)
    raw = {decoded: f"net.{tensor.name}" for decoded, tensor in network.outputs.items()}
    steps = (
        Step(f"{name}-pre", {IMAGE.name: IMAGE.name}, {"tensor": "pre.tensor", GEOMETRY.name: "pre.geometry"}),
        Step(
            f"{name}-net",
            {network.input.name: "pre.tensor"},
            {tensor.name: raw[decoded] for decoded, tensor in network.outputs.items()},
        ),
        Step(
            f"{name}-post",
            {GEOMETRY.name: "pre.geometry", **raw},
            {tensor.name: tensor.name for tensor in answers},
        ),
    )
    return render_text(
        "ensemble.pbtxt.j2",
        name=name,
        max_batch_size=spec.serving.batching.max_batch_size,
        version=model_version(revision),
        inputs=(IMAGE,),
        outputs=answers,
        steps=steps,
    )


def _answers(task: Task) -> tuple[Tensor, ...]:
    """Return what the last step gives for one image, as `visionmodel_pipeline.answers` names it."""
    if task.type == TaskType.SEGMENTATION:
        return (Tensor("mask", "TYPE_UINT8", (-1, -1)), Tensor("labels", "TYPE_STRING", (-1,)))
    rows = answer_rows(task)
    named = (Tensor("scores", "TYPE_FP32", (rows,)), Tensor("labels", "TYPE_STRING", (rows,)))
    if task.type == TaskType.CLASSIFICATION:
        return named
    return (Tensor("num_detections", "TYPE_INT32", (1,)), Tensor("boxes", "TYPE_FP32", (rows, 4)), *named)


def _dims(spec: VisionModelSpec, network: ImageNetwork) -> tuple[int, ...]:
    return network.input_dims((spec.task.input or ImageInput()).layout)


def _sides(network: ImageNetwork) -> dict[str, str]:
    return {"height": str(network.height), "width": str(network.width)}


def _pre(name: str, revision: str, spec: VisionModelSpec, network: ImageNetwork) -> str:
    parameters = _sides(network) | preprocess_parameters(spec.task)
    tensor = Tensor("tensor", "TYPE_FP32", _dims(spec, network))
    return _step(name, PRE_BACKEND, revision, spec, (IMAGE,), (tensor, GEOMETRY), parameters)


def _post(name: str, revision: str, spec: VisionModelSpec, network: ImageNetwork) -> str:
    parameters = postprocess_parameters(spec.task)
    if spec.task.type == TaskType.SEGMENTATION:
        parameters |= _sides(network)
    size = spec.serving.batching.max_batch_size
    raw = {decoded: configured_tensor(tensor, size) for decoded, tensor in network.outputs.items()}
    inputs = (GEOMETRY, *(Tensor(decoded, tensor.data_type, tensor.dims) for decoded, tensor in raw.items()))
    return _step(name, POST_BACKEND, revision, spec, inputs, _answers(spec.task), parameters)


def _step(
    name: str,
    backend: str,
    revision: str,
    spec: VisionModelSpec,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    parameters: Mapping[str, str],
) -> str:
    return render_text(
        "config.pbtxt.j2",
        name=name,
        backend=backend,
        model_file="",
        max_batch_size=spec.serving.batching.max_batch_size,
        version=model_version(revision),
        inputs=inputs,
        outputs=outputs,
        instances=max(1, min(MAX_STEP_INSTANCES, floor(cpus(spec)))),
        instance_kind="KIND_CPU",
        dynamic_batching=None,
        parameters=parameters,
        warmup_batch_sizes=(),
    )
