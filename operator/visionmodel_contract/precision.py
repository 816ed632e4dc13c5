"""The enums that operator, converter and CLI share."""

from enum import StrEnum


class Precision(StrEnum):
    """Numeric precision of an artifact's weights and arithmetic."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class Backend(StrEnum):
    """What executes the artifact inside Triton."""

    ONNX_RUNTIME = "ONNXRuntime"
    OPENVINO = "OpenVINO"
    TENSORRT = "TensorRT"


class ExportFormat(StrEnum):
    """A file for runtimes outside Triton that is made of the served artifact, and is never served itself."""

    OPENVINO = "OpenVINO"
    ORT = "ORT"
    TFLITE = "TFLite"


class PruningPattern(StrEnum):
    """Which weights are set to 0, the smallest first."""

    TWO_OF_FOUR = "2:4"


class CalibrationMethod(StrEnum):
    """How INT8 scales are chosen from sample inputs; Auto tries the others and lets the task metric decide."""

    AUTO = "Auto"
    MIN_MAX = "MinMax"
    PERCENTILE = "Percentile"
    ENTROPY = "Entropy"


class Quantizer(StrEnum):
    """What chooses INT8 scales and places Q/DQ pairs."""

    ONNX_RUNTIME = "ONNXRuntime"
    MODEL_OPT = "ModelOpt"


class Goal(StrEnum):
    """How a measured metric is compared with its limit (words taken from Olive)."""

    THRESHOLD = "threshold"
    MAX_DEGRADATION = "max-degradation"
    PERCENT_MAX_DEGRADATION = "percent-max-degradation"
    MIN_IMPROVEMENT = "min-improvement"
    PERCENT_MIN_IMPROVEMENT = "percent-min-improvement"
