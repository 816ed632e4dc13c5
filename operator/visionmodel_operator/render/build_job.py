"""The build Job: from an ONNX artifact to a TensorRT engine, on one device of the product that will serve it."""

from typing import Final

from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.actions import StartBuild
from visionmodel_operator.core.build_request import build_image
from visionmodel_operator.core.operations import Operation
from visionmodel_operator.core.snapshot import Platform, Snapshot
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.jobs import Work, job
from visionmodel_operator.render.objects import without_empty
from visionmodel_operator.render.pods import device_placement
from visionmodel_operator.render.triton_flags import runtime_of

DEVICES: Final = "1"
"""An engine is built and timed on one device, however many a serving pod gets."""


def start_build(action: StartBuild, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the Job, placed as the serving pods will be.

    Raises:
        UserError: the platform has no image that builds engines for the runtime.
    """
    spec, platform = action.spec, snapshot.platform
    runtime_class = without_empty({"runtimeClassName": spec.serving.pod.runtime_class_name})
    samples = action.request.samples
    work = Work(
        name=action.job,
        revision=action.request.revision,
        command="build",
        image=tensorrt_image(spec, platform),
        request=action.request.to_json(),
        uris=(action.request.gates.parity.dataset_uri, None if samples is None else samples.dataset_uri),
        cpu=platform.build_cpu_limit,
        memory=platform.build_memory_limit,
        devices={action.accelerator.resource_name: DEVICES},
        placement={**device_placement(action.accelerator), **runtime_class},
    )
    return job(work, spec, snapshot.ref, platform)


def tensorrt_image(spec: VisionModelSpec, platform: Platform) -> str:
    """Return the image that builds engines for the spec's runtime. Raises UserError where there is none."""
    runtime = runtime_of(spec.serving.runtime_version, platform)
    image = build_image(spec, platform)
    if image is None:
        raise UserError(
            Reason.BACKEND_UNAVAILABLE,
            f"runtime {runtime.version} has no image that builds TensorRT engines; use backend ONNXRuntime, or have the"
            f' platform team set the Helm value runtimes."{runtime.version}".tensorrtConverterImage',
        )
    return image
