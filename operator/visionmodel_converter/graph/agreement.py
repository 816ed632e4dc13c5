"""How far two runs of a network differ, in plain numpy.

Everything is accumulated batch by batch, because raw detector outputs of a whole dataset do not fit into memory.
NaN is never repaired: it travels into the value, and a NaN value meets no goal.

Whole numbers name things, such as classes, and have no size: class 7 is not nearer to class 8 than to class 1. Theirs
is the share of elements that differ, which is what the numbers of their one-hot vectors come to. A tie between two
classes that falls to the other side is one element of many in it; as a number it could be as far off as there are
classes. Rounding of relative size e turns about a share e of the elements, so the tolerances of floats fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SMALLEST_SCALE: Final = 1e-6
WHOLE: Final = "iub"
"""Kinds of numpy's types that hold whole numbers."""


def are_whole(expected: NDArray[Any], actual: NDArray[Any]) -> bool:
    """Return whether both arrays hold whole numbers."""
    return expected.dtype.kind in WHOLE and actual.dtype.kind in WHOLE


def relative_difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """Return max |expected - actual| over max |expected|, of whole numbers the share that differs.

    inf when the shapes differ, NaN when either holds NaN.
    """
    if expected.shape != actual.shape:
        return float("inf")
    if expected.size == 0:
        return 0.0
    if are_whole(expected, actual):
        return float(np.mean(expected != actual))
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
    """Running comparison of an artifact's outputs with its source's over any number of samples.

    Attributes:
        samples: how many were compared.
        largest: differences by output, of floats.
        scales: largest magnitudes of the source by output, of floats.
        differing: elements by output that differ, of whole numbers.
        counted: elements by output, of whole numbers.
        worst_cosine: of any output of any sample.
    """

    samples: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    worst_cosine: float = 1.0

    def add(self, name: str, expected: NDArray[Any], actual: NDArray[Any]) -> None:
        """Take one output of one batch (first axis samples); the shapes are equal."""
        if expected.size == 0:
            return
        if are_whole(expected, actual):
            self._add_whole(name, expected != actual)
            return
        left, right = expected.astype(np.float64), actual.astype(np.float64)
        with np.errstate(invalid="ignore"):
            difference, scale = float(np.max(np.abs(left - right))), float(np.max(np.abs(left)))
        self.largest[name] = float(np.maximum(self.largest.get(name, 0.0), difference))
        self.scales[name] = float(np.maximum(self.scales.get(name, 0.0), scale))
        for row_left, row_right in zip(left, right, strict=True):
            self.worst_cosine = float(np.minimum(self.worst_cosine, cosine_similarity(row_left, row_right)))

    def _add_whole(self, name: str, differs: NDArray[np.bool_]) -> None:
        self.differing[name] = self.differing.get(name, 0) + int(np.count_nonzero(differs))
        self.counted[name] = self.counted.get(name, 0) + differs.size
        equal = 1 - differs.reshape(len(differs), -1).mean(axis=1)
        self.worst_cosine = float(np.minimum(self.worst_cosine, equal.min()))

    def max_abs_error(self) -> float:
        """Largest absolute difference of any output value, in the output's own unit; of whole numbers the share."""
        return _worst([*self.largest.values(), *self._shares()])

    def max_relative_error(self) -> float:
        """Largest difference of an output divided by the largest magnitude of that output in the source.

        Of whole numbers the share that differs.
        """
        scales = {name: float(np.maximum(scale, SMALLEST_SCALE)) for name, scale in self.scales.items()}
        return _worst([*(value / scales[name] for name, value in self.largest.items()), *self._shares()])

    def cosine(self) -> float:
        """Worst cosine similarity of any output of any sample; of whole numbers the share that is equal."""
        return self.worst_cosine if self.largest or self.counted else float("nan")

    def _shares(self) -> list[float]:
        return [count / self.counted[name] for name, count in self.differing.items()]


def _worst(values: Sequence[float]) -> float:
    return float(np.max(values)) if values else float("nan")
