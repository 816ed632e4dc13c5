"""The prepare Job: from the source to a proven ONNX artifact, on a CPU."""

from visionmodel_contract.precision import Backend, ExportFormat, Quantizer
from visionmodel_operator.core.actions import DeleteJob, StartConversion
from visionmodel_operator.core.operations import Delete, Operation
from visionmodel_operator.core.snapshot import Platform, Snapshot
from visionmodel_operator.render.build_job import tensorrt_image
from visionmodel_operator.render.jobs import Work, job
from visionmodel_operator.render.triton_flags import serving_image


def start_conversion(action: StartConversion, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the Job.

    Raises:
        UserError: nothing could serve what it would make, or build the engines; said before the work is done.
    """
    spec, platform = action.spec, snapshot.platform
    serving_image(spec, platform)
    if spec.conversion.backend is Backend.TENSORRT:
        tensorrt_image(spec, platform)
    calibration = spec.conversion.calibration
    work = Work(
        name=action.job,
        revision=action.request.revision,
        command="prepare",
        image=_image(action, platform),
        request=action.request.to_json(),
        uris=(
            spec.model.storage_uri,
            spec.conversion.gates.parity.dataset_uri,
            None if calibration is None else calibration.storage_uri,
        ),
        cpu=platform.job_cpu_limit,
        memory=platform.job_memory_limit,
    )
    return job(work, spec, snapshot.ref, platform)


def delete_job(action: DeleteJob) -> tuple[Operation, ...]:
    """Return the delete of a Job; its pods go with it."""
    return (Delete("batch/v1", "Job", action.job),)


def _image(action: StartConversion, platform: Platform) -> str:
    """Return the converter that can load the format, or has what the quantiser, an export or the backend needs.

    The format first: without its loader nothing can be made. An image that lacks the rest says so for good.
    """
    conversion = action.spec.conversion
    by_format = platform.converter_images.get(action.request.source.format or "")
    if by_format is not None:
        return by_format
    calibration = conversion.calibration
    if calibration is not None and calibration.quantizer is Quantizer.MODEL_OPT and platform.converter_modelopt_image:
        return platform.converter_modelopt_image
    if ExportFormat.TFLITE in conversion.exports and platform.converter_tflite_image is not None:
        return platform.converter_tflite_image
    needs_openvino = conversion.backend is Backend.OPENVINO or ExportFormat.OPENVINO in conversion.exports
    if needs_openvino and platform.converter_openvino_image is not None:
        return platform.converter_openvino_image
    return platform.converter_image
