"""How far two runs of a network differ, in plain numpy.

Everything is accumulated batch by batch, because raw detector outputs of a whole dataset do not fit into memory.
NaN is never repaired: it travels into the value, and a NaN value meets no goal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SMALLEST_SCALE: Final = 1e-6


def relative_difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """Return max |expected - actual| over max |expected|; inf when the shapes differ, NaN when either holds NaN."""
    if expected.shape != actual.shape:
        return float("inf")
    if expected.size == 0:
        return 0.0
    left, right = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(left - right)) / max(float(np.max(np.abs(left))), SMALLEST_SCALE))


def cosine_similarity(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Return the cosine of the angle between two flattened arrays; two zero arrays agree (1), one does not (0)."""
    a, b = left.astype(np.float64).ravel(), right.astype(np.float64).ravel()
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if norms == (0.0, 0.0):
        return 1.0
    if 0.0 in norms:
        return 0.0
    return float(np.clip(np.dot(a / norms[0], b / norms[1]), -1.0, 1.0))


@dataclass
class Agreement:
    """Running comparison of an artifact's outputs with its source's over any number of samples."""

    samples: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    worst_cosine: float = 1.0

    def add(self, name: str, expected: NDArray[Any], actual: NDArray[Any]) -> None:
        """Take one output of one batch (first axis samples); the shapes are equal."""
        if expected.size == 0:
            return
        left, right = expected.astype(np.float64), actual.astype(np.float64)
        with np.errstate(invalid="ignore"):
            difference, scale = float(np.max(np.abs(left - right))), float(np.max(np.abs(left)))
        self.largest[name] = float(np.maximum(self.largest.get(name, 0.0), difference))
        self.scales[name] = float(np.maximum(self.scales.get(name, 0.0), scale))
        for row_left, row_right in zip(left, right, strict=True):
            self.worst_cosine = float(np.minimum(self.worst_cosine, cosine_similarity(row_left, row_right)))

    def max_abs_error(self) -> float:
        """Largest absolute difference of any output value, in the output's own unit."""
        return _worst(list(self.largest.values()))

    def max_relative_error(self) -> float:
        """Largest difference of an output divided by the largest magnitude of that output in the source."""
        return _worst(
            [value / float(np.maximum(self.scales[name], SMALLEST_SCALE)) for name, value in self.largest.items()]
        )

    def cosine(self) -> float:
        """Worst cosine similarity of any output of any sample."""
        return self.worst_cosine if self.largest else float("nan")


def _worst(values: Sequence[float]) -> float:
    return float(np.max(values)) if values else float("nan")
