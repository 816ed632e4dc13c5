"""What the outputs mean, in numbers: predictions of artifact and source against labels and against each other.

Each kind of task has a family of metrics that decodes a batch once and feeds all its numbers. Raw outputs of a
whole dataset do not fit into memory, so only what was decoded is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.average_precision import AveragePrecision, mean_average_precision
from visionmodel_converter.gates.comparison import Comparison, class_distance, detection_distance, named_classes
from visionmodel_converter.gates.goals import Measured
from visionmodel_converter.gates.predictions import (
    Boxes,
    Outputs,
    detections_of,
    mask_of,
    most_detections,
    seen_of,
    served,
)
from visionmodel_converter.gates.samples import IGNORED, Batch, TrueBoxes
from visionmodel_converter.gates.tasks import ClassificationPlan, DetectionPlan, SegmentationPlan, Specs
from visionmodel_pipeline.classification import SCORES, ranked

FIVE: Final = 5


class Family(Protocol):
    """The metrics of one kind of task."""

    def add(self, batch: Batch, source: Outputs, artifact: Outputs) -> Sequence[Comparison]:
        """Take one batch of both models' outputs; returns how far they are apart, sample by sample."""

    def measured(self) -> dict[str, Measured]:
        """Return every metric that the samples seen so far allow."""


@dataclass
class _Share:
    """A running share of hits."""

    hits: int = 0
    total: int = 0

    def add(self, hits: NDArray[np.bool_]) -> None:
        self.hits += int(np.count_nonzero(hits))
        self.total += len(hits)

    def value(self) -> float:
        return self.hits / self.total if self.total else float("nan")


@dataclass
class Classification:
    """Top-1 and top-5 of the scores [n, classes], raw: no decoder changes their order."""

    plan: ClassificationPlan
    agreement: tuple[_Share, _Share] = field(default_factory=lambda: (_Share(), _Share()))
    of_source: tuple[_Share, _Share] = field(default_factory=lambda: (_Share(), _Share()))
    of_artifact: tuple[_Share, _Share] = field(default_factory=lambda: (_Share(), _Share()))

    def add(self, batch: Batch, source: Outputs, artifact: Outputs) -> list[Comparison]:
        """Take one batch of both models' outputs."""
        output = self.plan.outputs[SCORES]
        expected, actual = ranked(source[output], FIVE), ranked(artifact[output], FIVE)
        _add_hits(self.agreement, actual, expected[:, 0])
        known = [row for row, truth in enumerate(batch.truths) if truth.label is not None]
        labels = np.array([batch.truths[row].label for row in known], np.int64)
        _add_hits(self.of_source, expected[known], labels)
        _add_hits(self.of_artifact, actual[known], labels)
        return [
            Comparison(
                name,
                class_distance(source[output][row], artifact[output][row]),
                named_classes(source[output][row], expected[row]),
                named_classes(artifact[output][row], actual[row]),
                truth,
            )
            for row, (name, truth) in enumerate(zip(batch.names, batch.truths, strict=True))
        ]

    def measured(self) -> dict[str, Measured]:
        """Return agreement always, accuracy where there were labels."""
        result = {}
        for name, agreement, source, artifact in zip(
            ("top1", "top5"), self.agreement, self.of_source, self.of_artifact, strict=True
        ):
            result[f"{name}Agreement"] = Measured(agreement.value(), 1.0, agreement.total)
            if artifact.total:
                result[name] = Measured(artifact.value(), source.value(), artifact.total)
        return result


def _add_hits(shares: tuple[_Share, _Share], best: NDArray[np.int64], wanted: NDArray[np.int64]) -> None:
    shares[0].add(best[:, 0] == wanted)
    shares[1].add((best == wanted[:, None]).any(axis=1))


@dataclass
class Detection:
    """Mean average precision over boxes in source pixels.

    Agreement takes what the source would answer to a client as the truth, so an artifact that finds the same
    objects agrees, whatever either finds below the threshold.
    """

    plan: DetectionPlan
    source: list[Boxes] = field(default_factory=list)
    artifact: list[Boxes] = field(default_factory=list)
    truths: list[TrueBoxes | None] = field(default_factory=list)

    def add(self, batch: Batch, source: Outputs, artifact: Outputs) -> list[Comparison]:
        """Take one batch of both models' outputs."""
        expected = detections_of(source, batch.geometries, self.plan)
        actual = detections_of(artifact, batch.geometries, self.plan)
        self.source += expected
        self.artifact += actual
        self.truths += [truth.objects for truth in batch.truths]
        comparisons = []
        for name, truth, left, right in zip(batch.names, batch.truths, expected, actual, strict=True):
            answers = served(left, self.plan), served(right, self.plan)
            comparisons.append(Comparison(name, detection_distance(*answers), *answers, truth))
        return comparisons

    def measured(self) -> dict[str, Measured]:
        """Return agreement where the source finds anything, average precision where there is ground truth."""
        result = {}
        answers = [_as_truth(served(boxes, self.plan)) for boxes in self.source]
        if any(len(answer.classes) for answer in answers):
            agreement = self._precision(self.artifact, answers)
            result["mapAgreement"] = Measured(agreement.at_50, 1.0, len(answers))
        known = [(row, truth) for row, truth in enumerate(self.truths) if truth is not None]
        if any((~truth.crowd).any() for _, truth in known):  # without an object there is no precision
            truths = [truth for _, truth in known]
            of_source = self._precision([self.source[row] for row, _ in known], truths)
            of_artifact = self._precision([self.artifact[row] for row, _ in known], truths)
            result["map50"] = Measured(of_artifact.at_50, of_source.at_50, len(known))
            result["map50_95"] = Measured(of_artifact.at_50_95, of_source.at_50_95, len(known))
        return result

    def _precision(self, found: Sequence[Boxes], truths: Sequence[TrueBoxes]) -> AveragePrecision:
        return mean_average_precision(found, truths, per_image=most_detections(self.plan))


def _as_truth(boxes: Boxes) -> TrueBoxes:
    return TrueBoxes(boxes.boxes.astype(np.float64), boxes.classes, np.zeros(len(boxes), np.bool_))


@dataclass
class Segmentation:
    """Mean intersection over union of the classes that occur, in pixels of the source image.

    Pixels outside of the network's input do not count. One that it sees and gives no class is a miss of the true class:
    left out, an artifact would be perfect that says nothing wherever it is hard.

    Attributes:
        plan: how masks are read.
        classes: how many there may be.
    """

    plan: SegmentationPlan
    classes: int
    samples: int = 0

    def __post_init__(self) -> None:
        # true classes by found ones; the last column holds the pixels that were found to be of none
        self._source = np.zeros((self.classes, self.classes + 1), np.int64)
        self._artifact = np.zeros((self.classes, self.classes + 1), np.int64)

    def add(self, batch: Batch, source: Outputs, artifact: Outputs) -> list[Comparison]:
        """Take one batch of both models' outputs; samples without a mask do not count."""
        for row, (truth, geometry) in enumerate(zip(batch.truths, batch.geometries, strict=True)):
            if truth.mask is None:
                continue
            if truth.mask.shape != (geometry.source_height, geometry.source_width):
                raise _invalid_mask(batch.names[row], f"is {truth.mask.shape}, its image is not")
            counted = truth.mask != IGNORED
            if counted.any() and int(truth.mask[counted].max()) >= self.classes:
                raise _invalid_mask(batch.names[row], f"names class {truth.mask[counted].max()} of {self.classes}")
            self.samples += 1
            asked = counted & seen_of(geometry, self.plan)
            wanted = truth.mask[asked].astype(np.int64)
            for outputs, confusion in ((source, self._source), (artifact, self._artifact)):
                found = np.minimum(mask_of(outputs, row, geometry, self.plan)[asked], self.classes)
                pairs = wanted * (self.classes + 1) + found
                confusion += np.bincount(pairs, minlength=confusion.size).reshape(confusion.shape)
        return []

    def measured(self) -> dict[str, Measured]:
        """Return the value where there were masks with a class in them."""
        if not self._artifact.any():
            return {}
        return {"maskIou": Measured(_mean_iou(self._artifact), _mean_iou(self._source), self.samples)}


def _mean_iou(confusion: NDArray[np.int64]) -> float:
    shared = np.diag(confusion)
    union = confusion[:, :-1].sum(axis=0) + confusion.sum(axis=1) - shared
    there = union > 0
    return float(np.mean(shared[there] / union[there])) if there.any() else float("nan")


def _invalid_mask(name: str, what: str) -> ConversionFailure:
    return ConversionFailure(Reason.DATASET_INVALID, f"the mask of {name} {what}; store it in its image's pixels")


def words_of(outputs: Specs) -> str:
    """Return the outputs as messages show them."""
    return ", ".join(f"{spec.name!r} {list(spec.dims)}" for spec in outputs)
