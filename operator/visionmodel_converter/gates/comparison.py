"""How far two models are apart on one sample, so that the worst samples can be looked at."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_converter.gates.predictions import Boxes
from visionmodel_converter.gates.samples import Truth
from visionmodel_pipeline.classification import softmax
from visionmodel_pipeline.suppression import overlaps

SAME_OBJECT: Final = 0.5
"""Intersection over union from which two boxes show one object."""


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The best classes of one sample, best first, with their share of the softmax."""

    numbers: tuple[int, ...]
    shares: tuple[float, ...]


Answer = Boxes | Classes


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One sample: what source and artifact answer, what is true, and how far apart they are, 0 to 1."""

    name: str
    distance: float
    source: Answer
    artifact: Answer
    truth: Truth


def shares_of(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the shares of the scores [classes]; those that are shares already are normalised alone."""
    wide = scores.astype(np.float64)
    return np.asarray(wide / wide.sum()) if are_shares(wide) else softmax(wide)


def are_shares(scores: NDArray[Any]) -> bool:
    """Return whether the scores [classes] are what a softmax gives."""
    return bool((scores >= 0).all() and abs(scores.astype(np.float64).sum() - 1) < 1e-3)


def named_classes(scores: NDArray[Any], best: NDArray[np.int64]) -> Classes:
    """Return the classes `best` with their shares."""
    shares = shares_of(scores)
    return Classes(tuple(int(number) for number in best), tuple(float(shares[number]) for number in best))


def class_distance(source: NDArray[Any], artifact: NDArray[Any]) -> float:
    """Return half the sum of absolute differences of the shares: 0 equal, 1 nothing in common."""
    return float(np.abs(shares_of(source) - shares_of(artifact)).sum() / 2)


def detection_distance(source: Boxes, artifact: Boxes) -> float:
    """Return 1 - 2 * (overlap of the matched boxes) / (number of boxes): 0 the same boxes, 1 none in common.

    The Dice coefficient with the overlap of a pair as its weight; pairs are of one class, matched greedily.
    """
    total = len(source) + len(artifact)
    if total == 0:
        return 0.0
    free = np.ones(len(source), np.bool_)
    shared = 0.0
    for box, number in zip(artifact.boxes, artifact.classes, strict=True):
        rivals = np.where(free & (source.classes == number), overlaps(box, source.boxes), 0.0)
        if rivals.size and rivals.max() >= SAME_OBJECT:
            best = int(rivals.argmax())
            free[best] = False
            shared += float(rivals[best])
    return 1 - 2 * shared / total


@dataclass
class Worst:
    """The samples with the largest distance; of equal ones those that came first."""

    limit: int
    _heap: list[tuple[float, int, Comparison]] = field(default_factory=list)
    _seen: int = 0

    def add(self, comparisons: Iterable[Comparison]) -> None:
        """Take the samples of one batch."""
        for comparison in comparisons:
            self._seen += 1
            heapq.heappush(self._heap, (comparison.distance, -self._seen, comparison))
            if len(self._heap) > self.limit:
                heapq.heappop(self._heap)

    def worst_first(self) -> list[Comparison]:
        """Return what is kept."""
        return [comparison for _, _, comparison in sorted(self._heap, key=lambda each: (-each[0], -each[1]))]
