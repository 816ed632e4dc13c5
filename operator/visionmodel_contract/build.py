"""What a build Job makes of a prepared ONNX file on one GPU product: the options of a TensorRT engine."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from visionmodel_contract.conversion import ContractModel


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
