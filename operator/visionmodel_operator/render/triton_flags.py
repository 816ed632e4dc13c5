"""Image and command line of tritonserver by release. An unknown flag ends the server, so none is given by hope."""

from collections.abc import Mapping
from typing import Final

from visionmodel_contract.precision import Backend
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import Conversion, VisionModelSpec
from visionmodel_operator.core.names import GRPC_PORT, HTTP_PORT, METRICS_PORT
from visionmodel_operator.core.snapshot import Platform, Runtime
from visionmodel_operator.errors import UserError

REPOSITORY: Final = "/models"
EXIT_TIMEOUT_SECONDS: Final = 15

COMMON_FLAGS: Final = (
    f"--model-repository={REPOSITORY}",
    "--model-control-mode=none",
    "--exit-on-error=true",
    "--strict-readiness=true",
    f"--exit-timeout-secs={EXIT_TIMEOUT_SECONDS}",
    "--disable-auto-complete-config",
    f"--http-port={HTTP_PORT}",
    f"--grpc-port={GRPC_PORT}",
    f"--metrics-port={METRICS_PORT}",
    "--allow-sagemaker=false",
    "--allow-vertex-ai=false",
    "--log-format=ISO8601",
)
"""Known to every release from 2.51 on."""

FLAGS_SINCE: Final[Mapping[tuple[int, int], tuple[str, ...]]] = {
    (2, 51): ("--metrics-config=summary_latencies=true",),
    (2, 65): ("--metrics-config=histogram_latencies=true",),  # before, only decoupled models emitted histograms
}
"""Added by a release and given to it and all later ones."""


def runtime_of(runtime_version: str | None, platform: Platform) -> Runtime:
    """Return the platform's entry for a runtime version.

    Raises:
        UserError: the platform does not offer it.
    """
    version = runtime_version or platform.default_runtime
    runtime = platform.runtimes.get(version)
    if runtime is None:
        offered = ", ".join(sorted(platform.runtimes)) or "none"
        raise UserError(
            Reason.UNKNOWN_RUNTIME,
            f"serving.runtimeVersion {version} is not in the platform's table; it offers: {offered}",
        )
    return runtime


def serving_image(spec: VisionModelSpec, platform: Platform) -> str:
    """Return the server's image for what executes the model.

    Raises:
        UserError: the platform does not offer the runtime, or not with that backend.
    """
    runtime = runtime_of(spec.serving.runtime_version, platform)
    if spec.conversion.backend is not Backend.OPENVINO:
        return runtime.image
    if runtime.openvino_image is None:
        able = [version for version, other in sorted(platform.runtimes.items()) if other.openvino_image is not None]
        advice = f"set serving.runtimeVersion to one of {', '.join(able)}" if able else "use backend ONNXRuntime"
        raise UserError(
            Reason.BACKEND_UNAVAILABLE,
            f"runtime {runtime.version} has no OpenVINO backend; {advice}, or have the platform team set the Helm value"
            f' runtimes."{runtime.version}".openvinoImage to an image that has it',
        )
    return runtime.openvino_image


def tritonserver_args(runtime: Runtime) -> list[str]:
    """Return the arguments that this Triton release understands."""
    release = _release(runtime)
    return [*COMMON_FLAGS, *(flag for since, flags in FLAGS_SINCE.items() if release >= since for flag in flags)]


def engine_args(conversion: Conversion) -> list[str]:
    """Return what the server must be told to load the engines that a conversion makes.

    An engine that newer releases can load holds code of TensorRT for the host, which the backend runs only on demand.
    """
    is_compatible = conversion.tensorrt is not None and conversion.tensorrt.version_compatible
    return ["--backend-config=tensorrt,version-compatible=true"] if is_compatible else []


def _release(runtime: Runtime) -> tuple[int, int]:
    major, _, rest = runtime.triton_version.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdigit() and minor.isdigit()):
        raise UserError(
            Reason.UNKNOWN_RUNTIME,
            f"runtime {runtime.version}: tritonVersion {runtime.triton_version!r} is no version such as 2.71.0;"
            " the platform team corrects it in the Helm values",
        )
    return int(major), int(minor)
