"""Build a TensorRT engine from a prepared ONNX file: the only module that imports tensorrt, and not before it must.

One way for TensorRT 10.16 and 11: the network is strongly typed, so precision is what the graph says, and no builder
flag asks for any. Whatever TensorRT answers with null instead of an error is turned into one here. A contract test
checks every name and signature used below against the real bindings of both versions.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_contract.build import EngineOptions, HardwareCompatibility
from visionmodel_converter.engines.profiles import ShapeBounds
from visionmodel_converter.failures import ConversionFailure, Reason

if TYPE_CHECKING:
    import tensorrt as trt

SUPPORTED_MAJORS: Final = (10, 11)
MAX_REMEMBERED_MESSAGES: Final = 20
DEVICE_FAULT: Final = re.compile(r"cuda (runtime|driver) \(|cuda error: \d|out ?of ?memory", re.IGNORECASE)
"""How TensorRT and Polygraphy pass on an error of CUDA's, and TensorRT one of its allocator's."""
Progress = Callable[[str, int, int], bool]
"""Told the phase, the steps done and all steps; False asks TensorRT to stop."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine.

    Attributes:
        plan: the serialized engine, for this TensorRT, platform and GPU only.
        timing_cache: to begin the next build with; for the same TensorRT, CUDA and GPU only.
        took_timings: whether it began with those that it was given.
        layers: the inspector's JSON of all layers.
        device_memory_bytes: activations that one execution context needs.
        version: of TensorRT.
    """

    plan: bytes
    timing_cache: bytes
    took_timings: bool
    layers: str
    device_memory_bytes: int
    version: str


def tensorrt_module() -> Any:
    """Import tensorrt and check its version. Raises LoaderNotInstalled or BadRequest."""
    try:
        import tensorrt as trt
    except ImportError as error:
        raise ConversionFailure(
            Reason.TENSORRT_MISSING,
            f"this image has no TensorRT ({error}); the platform team must set the TensorRT converter image",
        ) from error
    if int(trt.__version__.split(".")[0]) not in SUPPORTED_MAJORS:
        raise ConversionFailure(
            Reason.TENSORRT_MISSING,
            f"TensorRT {trt.__version__} is not supported; use an image with {' or '.join(map(str, SUPPORTED_MAJORS))}",
        )
    return trt


def engine_from_onnx(
    model: bytes,
    profile: Mapping[str, ShapeBounds],
    options: EngineOptions,
    *,
    timing_cache: bytes = b"",
    progress: Progress = lambda phase, done, steps: True,
) -> Engine:
    """Build, reload and inspect an engine on this machine's GPU.

    A timing cache that TensorRT refuses is left out. Raises ConversionFailure: EngineRefused with TensorRT's own words
    when the graph cannot be parsed, built or loaded again, DeviceFailed where they blame the GPU.
    """
    trt = tensorrt_module()
    logger = remembering_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise _refused("parse the graph", _parser_errors(parser) or logger.messages)
    config = builder.create_builder_config()
    _configure(trt, config, options)
    _add_profile(builder, config, profile)
    cache, took_timings = _attached_cache(config, timing_cache, logger)
    config.progress_monitor = _monitor(trt, progress)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refused("build the engine", logger.messages)
    built = bytes(plan)
    engine = deserialized(built, remembering_logger(trt))
    return Engine(
        plan=built,
        timing_cache=_serialized(cache),
        took_timings=took_timings,
        layers=_layers(trt, engine),
        device_memory_bytes=int(engine.device_memory_size_v2),
        version=trt.__version__,
    )


def deserialized(plan: bytes, logger: Any) -> Any:
    """Return TensorRT's engine of a plan, on this machine's GPU, which tells the logger of its faults from then on.

    Raises ConversionFailure: EngineRefused or DeviceFailed.
    """
    trt = tensorrt_module()
    runtime = trt.Runtime(logger)
    # its own plans only: such an engine holds code for the host, which TensorRT runs only on demand
    runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise _refused("load the engine", logger.messages)
    return engine


def largest_shapes(engine: "trt.ICudaEngine") -> dict[str, NDArray[Any]]:
    """Return zeros for every input of an engine, at the largest shape of its profile."""
    trt = tensorrt_module()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return {
        name: np.zeros(tuple(engine.get_tensor_profile_shape(name, 0)[2]), trt.nptype(engine.get_tensor_dtype(name)))
        for name in names
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    }


def _configure(trt: Any, config: "trt.IBuilderConfig", options: EngineOptions) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.hardware_compatibility_level = {
        HardwareCompatibility.NONE: trt.HardwareCompatibilityLevel.NONE,
        HardwareCompatibility.AMPERE_PLUS: trt.HardwareCompatibilityLevel.AMPERE_PLUS,
        HardwareCompatibility.SAME_COMPUTE_CAPABILITY: trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
    }[options.hardware_compatibility]
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.refittable:
        config.set_flag(trt.BuilderFlag.REFIT)
    if options.sparse_weights:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    # TF32 would make what is called FP32 less exact than the source that it is compared with
    config.clear_flag(trt.BuilderFlag.TF32)


def _add_profile(builder: "trt.Builder", config: "trt.IBuilderConfig", bounds: Mapping[str, ShapeBounds]) -> None:
    profile = builder.create_optimization_profile()
    for name, shape in bounds.items():
        profile.set_shape(name, shape.min, shape.opt, shape.max)
    if config.add_optimization_profile(profile) < 0:
        raise _refused("take the optimization profile", [f"{name}: {shape}" for name, shape in bounds.items()])


def _attached_cache(config: "trt.IBuilderConfig", earlier: bytes, logger: Any) -> tuple["trt.ITimingCache", bool]:
    """Return the cache that a build begins with, and whether it is the earlier one; it must outlive the build.

    A cache of another device or version would be taken at the price of wrong timings: no mismatch is ignored.
    """
    if earlier:
        cache = config.create_timing_cache(earlier)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache, True
        logger.messages = []  # what is said against it is no reason of a build that fails later
    cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, False)
    return cache, False


def _layers(trt: Any, engine: "trt.ICudaEngine") -> str:
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _serialized(cache: "trt.ITimingCache") -> bytes:
    return bytes(cache.serialize())


def _parser_errors(parser: "trt.OnnxParser") -> list[str]:
    found = []
    for index in range(parser.num_errors):
        error: trt.ParserError = parser.get_error(index)
        found.append(f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}")
    return found


def device_failure(messages: Iterable[str]) -> ConversionFailure | None:
    """Return the failure of the GPU that messages of TensorRT or Polygraphy tell of; None where they tell of none.

    A GPU that fell over, or whose memory others hold, says nothing against an engine.
    """
    found = next((message for message in messages if DEVICE_FAULT.search(message)), None)
    return None if found is None else device_failed(" ".join(found.split())[:300])


def device_failed(said: str) -> ConversionFailure:
    """Return the failure of a GPU in somebody's words for it."""
    return ConversionFailure(
        Reason.DEVICE_FAILED,
        f"the GPU failed or has too little memory left: {said}; if it happens again, look for Xid messages in the "
        "node's kernel log, give builds a GPU of their own, or lower conversion.tensorrt.workspace",
    )


def remembering_logger(trt: Any) -> Any:
    """Return a logger whose `messages` are the last errors: TensorRT says why only there."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, severity: "trt.ILogger.Severity", message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.messages = [*self.messages, message][-MAX_REMEMBERED_MESSAGES:]

    return Logger()


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress(phase_name, step + 1, self.steps.get(phase_name, step + 1))

    return Monitor()


def _refused(what: str, messages: list[str]) -> ConversionFailure:
    failure = device_failure(messages)
    if failure is not None:
        return failure
    words = "; ".join(" ".join(message.split())[:300] for message in messages[:3]) or "it gave no reason"
    return ConversionFailure(
        Reason.ENGINE_REFUSED,
        f"TensorRT could not {what}: {words}. Change the node in the export, or serve with backend ONNXRuntime",
    )
