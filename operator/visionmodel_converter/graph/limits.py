"""What the runtime can load: the one table that changes when onnxruntime is upgraded."""

from dataclasses import dataclass
from typing import Final

MIN_OPSET: Final = 11
"""Older operator sets changed meaning (Resize, Clip, Pad) and exporters left them in 2020."""
RAISED_IR_VERSION: Final = 8
"""IR versions below this are raised to it: the first with model-local functions, read by every supported runtime."""


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """Highest default-domain opset and IR version one onnxruntime minor version loads."""

    opset: int
    ir_version: int


# Source: the compatibility table in onnxruntime's docs/reference/compatibility.md up to 1.22; 1.31 measured with
# 1.31.0 and 1.31.1: opset 27 is refused ("under development and support for this is limited"), IR 14 is refused
# ("Unsupported model IR version: 14, max supported IR version: 13").
ONNXRUNTIME_LIMITS: Final[dict[tuple[int, int], RuntimeLimits]] = {
    (1, 18): RuntimeLimits(opset=21, ir_version=10),
    (1, 20): RuntimeLimits(opset=21, ir_version=10),
    (1, 22): RuntimeLimits(opset=23, ir_version=10),
    (1, 31): RuntimeLimits(opset=26, ir_version=13),
}


def limits_of(version: str) -> RuntimeLimits:
    """Return the limits of an onnxruntime version: those of the newest listed version not newer than it."""
    major, minor = (int(part) for part in version.split(".")[:2])
    known = [key for key in ONNXRUNTIME_LIMITS if key <= (major, minor)]
    if not known:
        raise ValueError(f"onnxruntime {version} is older than every version in the table of limits")
    return ONNXRUNTIME_LIMITS[max(known)]
