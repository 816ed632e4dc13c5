"""The enums that operator, converter and CLI share."""

from enum import StrEnum


class Precision(StrEnum):
    """Numeric precision of an artifact's weights and arithmetic."""

    FP32 = "fp32"


class Backend(StrEnum):
    """What executes the artifact inside Triton."""

    ONNX_RUNTIME = "ONNXRuntime"


class Goal(StrEnum):
    """How a measured metric is compared with its limit (words taken from Olive)."""

    THRESHOLD = "threshold"
    MAX_DEGRADATION = "max-degradation"
