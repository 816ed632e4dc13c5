"""What an artifact's folder holds, spelled once for who writes it and who mounts it."""

from collections.abc import Mapping
from typing import Final

from visionmodel_contract.precision import Backend

ONNX_FILE: Final = "model.onnx"
PLAN_FILE: Final = "model.plan"
MODEL_FILES: Final[Mapping[Backend, str]] = {
    Backend.ONNX_RUNTIME: ONNX_FILE,
    Backend.OPENVINO: ONNX_FILE,
    Backend.TENSORRT: PLAN_FILE,
}
"""The file that each backend loads."""
