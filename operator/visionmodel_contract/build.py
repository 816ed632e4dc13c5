"""What a build Job makes of a prepared ONNX file on one GPU product: the options of a TensorRT engine."""

from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from visionmodel_contract.conversion import (
    FORMAT_VERSION,
    CalibrationOptions,
    ContractModel,
    GatesRequest,
    ImageTask,
    PublishTarget,
)

BUILD_VERSION: Final = 1
"""Raised when the same ONNX file, options and device would be built in another way: part of both keys."""


class HardwareCompatibility(StrEnum):
    """On which other GPUs an engine may run; each word but None costs speed."""

    NONE = "None"
    AMPERE_PLUS = "AmperePlus"
    SAME_COMPUTE_CAPABILITY = "SameComputeCapability"


class ShapeRange(ContractModel):
    """Smallest, most usual and largest length of an axis."""

    min: int = Field(ge=1)
    opt: int
    max: int

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.min <= self.opt <= self.max:
            raise ValueError(f"min {self.min}, opt {self.opt}, max {self.max} are not in order")
        return self


class DynamicAxis(ContractModel):
    """Lengths of a free axis other than the batch, such as an image's height."""

    input: str
    axis: int = Field(ge=1)
    range: ShapeRange


class EngineOptions(ContractModel):
    """Everything besides the ONNX file, TensorRT, CUDA and the GPU that changes an engine.

    Precision is not among them: it lives in the graph, and the network is strongly typed.
    """

    batch: ShapeRange
    dynamic_shapes: tuple[DynamicAxis, ...] = ()
    workspace_bytes: int = Field(default=2 * 1024**3, ge=0)
    optimization_level: int = Field(default=3, ge=0, le=5)
    hardware_compatibility: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False
    refittable: bool = False
    sparse_weights: bool = False


class BuildRequest(ContractModel):
    """Everything one build Job needs.

    Attributes:
        key: under which the operator remembers the answer, which repeats it.
        gate_key: of the verdict, likewise.
        prepare_key: of the artifact whose ONNX file becomes an engine; it lies in the same repository.
        samples: what the artifact was calibrated on: judged by where there is no dataset.
        gates: goals of the engine itself, speed and memory among them.
        passed_gate_keys: as in ConversionRequest.
    """

    format_version: Literal[1] = FORMAT_VERSION
    namespace: str
    name: str
    revision: str
    key: str
    gate_key: str
    prepare_key: str
    options: EngineOptions
    samples: CalibrationOptions | None = None
    task: ImageTask | None = None
    gates: GatesRequest = GatesRequest()
    publish: PublishTarget
    passed_gate_keys: tuple[str, ...] = ()


class EngineTarget(ContractModel):
    """What an engine is bound to, as the Job finds it on its node.

    Attributes:
        tensorrt: full version.
        cuda: major and minor version of the runtime.
        product: the driver's name of the device, which tells a MIG profile too.
        compute_capability: such as 8.9.
        multiprocessors: devices of one product with fewer of them have other fastest kernels.
    """

    tensorrt: str
    cuda: str
    product: str
    compute_capability: str
    multiprocessors: int
