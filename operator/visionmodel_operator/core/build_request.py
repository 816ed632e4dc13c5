"""From a spec to what each build Job is asked, and to the keys under which its answer is remembered.

One engine for each of `accelerators`, since an engine belongs to the GPU product that it was built on.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

from visionmodel_contract.build import BuildRequest, DynamicAxis, EngineOptions, ShapeRange
from visionmodel_contract.conversion import GatesRequest
from visionmodel_contract.keys import build_key, gate_key
from visionmodel_contract.precision import Backend
from visionmodel_operator.api.spec import Accelerator, TensorRTOptions, VisionModelSpec
from visionmodel_operator.core.conversion_request import (
    calibration_options,
    parity_request,
    publish_target,
    speed_request,
)
from visionmodel_operator.core.image_task import image_task
from visionmodel_operator.core.quantity import amount
from visionmodel_operator.core.snapshot import ObjectRef, Platform


@dataclass(frozen=True)
class Build:
    """One engine that a revision needs; `index` is that of its accelerator, and of the Deployment that serves it."""

    index: int
    accelerator: Accelerator
    request: BuildRequest


@dataclass(frozen=True)
class DataRead:
    """Digests of the data that the prepare Job has read; None where there is none, or the spec has its digest."""

    dataset_digest: str | None = None
    calibration_digest: str | None = None


NOTHING_READ: Final = DataRead()


def builds_of(
    spec: VisionModelSpec,
    prepare_key: str,
    *,
    read: DataRead = NOTHING_READ,
    ref: ObjectRef,
    revision: str,
    platform: Platform,
    passed_gate_keys: tuple[str, ...] = (),
) -> tuple[Build, ...]:
    """Return one build for each accelerator of the spec; none where the ONNX file itself is served."""
    gates, task = engine_gates(spec, read.dataset_digest), image_task(spec.task)
    samples = calibration_options(spec)
    if samples is not None and samples.digest is None:
        samples = samples.model_copy(update={"digest": read.calibration_digest})
    return tuple(
        Build(
            index,
            spec.accelerators[index],
            BuildRequest(
                namespace=ref.namespace,
                name=ref.name,
                revision=revision,
                key=key,
                gate_key=gate_key(key, gates, task=task),
                prepare_key=prepare_key,
                options=engine_options(spec),
                samples=samples,
                task=task,
                gates=gates,
                publish=publish_target(platform),
                passed_gate_keys=passed_gate_keys,
            ),
        )
        for index, key in enumerate(build_keys(spec, prepare_key, platform))
    )


def build_keys(spec: VisionModelSpec, prepare_key: str, platform: Platform) -> tuple[str, ...]:
    """Return the keys of the engines that a spec makes of an artifact, in the order of its accelerators."""
    if spec.conversion.backend is not Backend.TENSORRT:
        return ()
    options, image = engine_options(spec), build_image(spec, platform) or ""
    return tuple(
        build_key(
            prepare_key,
            options,
            product=accelerator.product or "",
            resource_name=accelerator.resource_name,
            node_selector=accelerator.node_selector,
            image=image,
        )
        for accelerator in spec.accelerators
    )


def build_image(spec: VisionModelSpec, platform: Platform) -> str | None:
    """Return the image that builds engines for the Triton release that will serve; None where there is none."""
    runtime = platform.runtimes.get(spec.serving.runtime_version or platform.default_runtime)
    return None if runtime is None else runtime.tensorrt_converter_image


def engine_options(spec: VisionModelSpec) -> EngineOptions:
    """Return the options that change an engine, shapes in one order whatever the spec's.

    Batches go up to what Triton forms, where the spec does not say.
    """
    conversion = spec.conversion
    options = conversion.tensorrt or TensorRTOptions()
    largest = max(1, spec.serving.batching.max_batch_size) if conversion.batch is None else conversion.batch.max
    usual = None if conversion.batch is None else conversion.batch.opt
    return EngineOptions(
        batch=ShapeRange(min=1, opt=largest if usual is None else usual, max=largest),
        dynamic_shapes=tuple(
            DynamicAxis(
                input=shape.input, axis=shape.axis, range=ShapeRange(min=shape.min, opt=shape.opt, max=shape.max)
            )
            for shape in sorted(conversion.dynamic_shapes, key=lambda shape: (shape.input, shape.axis))
        ),
        workspace_bytes=ceil(amount(options.workspace)),
        optimization_level=options.optimization_level,
        hardware_compatibility=options.hardware_compatibility,
        version_compatible=options.version_compatible,
        refittable=options.refit,
        sparse_weights=options.sparse_weights,
    )


def engine_gates(spec: VisionModelSpec, dataset_digest: str | None = None) -> GatesRequest:
    """Return the goals of an engine: the spec's, proven on the device, whatever CPUs its pod has.

    A dataset that the spec names without a digest has the one that the prepare Job read.
    """
    parity = parity_request(spec)
    if parity.dataset_uri is not None and parity.dataset_digest is None:
        parity = parity.model_copy(update={"dataset_digest": dataset_digest})
    speed = speed_request(spec).model_copy(update={"threads": None})
    return GatesRequest(parity=parity, speed=speed, accelerated=True)
