"""The part of a conversion that shapes TensorRT engines."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from visionmodel_contract.build import HardwareCompatibility
from visionmodel_operator.api.base import ApiModel, Quantity, rule

BatchSize = Annotated[int, Field(ge=1, le=4096)]
BATCH_MESSAGE = "opt must not exceed max"


class EngineBatch(ApiModel):
    """Batch sizes of an engine; the smallest is always 1, because Triton may run any request alone."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={"x-kubernetes-validations": [rule("!has(self.opt) || self.opt <= self.max", BATCH_MESSAGE)]},
    )

    opt: BatchSize | None = Field(default=None, description="The size to be fastest at; unset: max.")
    max: BatchSize = Field(description="The largest size; at least serving.batching.maxBatchSize.")

    @model_validator(mode="after")
    def _opt_is_within(self) -> Self:
        if self.opt is not None and self.opt > self.max:
            raise ValueError(BATCH_MESSAGE)
        return self


RANGE_MESSAGE = "min, opt and max must be in this order"
AxisLength = Annotated[int, Field(ge=1, le=1_000_000)]


class DynamicShape(ApiModel):
    """Lengths of one free axis that is not the batch."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [rule("self.min <= self.opt && self.opt <= self.max", RANGE_MESSAGE)]
        },
    )

    input: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Name of the network's input.")
    axis: Annotated[int, Field(ge=1, le=15)] = Field(description="Index of the axis; 0 is the batch.")
    min: AxisLength = Field(description="Shortest length.")
    opt: AxisLength = Field(description="The length to be fastest at.")
    max: AxisLength = Field(description="Longest length.")

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if not self.min <= self.opt <= self.max:
            raise ValueError(RANGE_MESSAGE)
        return self


def distinct_axes(shapes: list[DynamicShape]) -> list[DynamicShape]:
    """Validate a list that the API server treats as a map by `input` and `axis`."""
    if len({(shape.input, shape.axis) for shape in shapes}) < len(shapes):
        raise ValueError("an axis of an input has two ranges")
    return shapes


class TensorRTOptions(ApiModel):
    """How an engine is built."""

    workspace: Quantity = Field(default="2Gi", description="Device memory that kernels may use while they run.")
    optimization_level: Annotated[int, Field(ge=0, le=5)] = Field(
        default=3, description="How long to search for fast kernels; 4 and 5 take many times as long as 3."
    )
    hardware_compatibility: HardwareCompatibility = Field(
        default=HardwareCompatibility.NONE,
        description="None: for the GPU product it is built on. AmperePlus, SameComputeCapability: for others too, but"
        " slower.",
    )
    version_compatible: bool = Field(
        default=False, description="Build an engine that newer releases of TensorRT can load, too; slower."
    )
    sparse_weights: bool = Field(
        default=False,
        description="Let TensorRT use weights of which two in four are zero; others are left as they are.",
    )
    refit: bool = Field(
        default=False,
        description="Build an engine whose weights TensorRT's Refitter can replace in seconds, for a program of yours"
        " that fetches it; servers never refit, other weights are another revision. The gates judge it as it is built."
        " It may be slower, since no kernel may rely on the weights' values.",
    )
