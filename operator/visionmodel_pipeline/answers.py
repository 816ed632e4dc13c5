"""The raw outputs of a batch to the tensors that a client gets, whatever the task is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionmodel_pipeline.classification import SCORES, classify
from visionmodel_pipeline.decoders import DECODERS, Arrays
from visionmodel_pipeline.decoding import BadImage
from visionmodel_pipeline.detections import detect
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.segmentation import SEGMENTERS, segment
from visionmodel_pipeline.settings import (
    ClassificationSettings,
    DetectionSettings,
    OutputSettings,
    SegmentationSettings,
)


def raw_names(settings: OutputSettings) -> tuple[str, ...]:
    """Return the names of the outputs that the decoder reads."""
    match settings:
        case DetectionSettings():
            return DECODERS[settings.decoder].outputs
        case ClassificationSettings():
            return (SCORES,)
        case SegmentationSettings():
            return (SEGMENTERS[settings.decoder].output,)


def answers(raw: Arrays, geometries: Sequence[Geometry], settings: OutputSettings) -> dict[str, NDArray[Any]]:
    """Return the answer to a batch of images, by the names of the ensemble's outputs, each with the batch axis first.

    Args:
        raw: the network's raw outputs by the names of the decoder.
        geometries: where each source image lies in the network's input.
        settings: what the outputs are and what is answered.

    Raises:
        BadImage: masks of images that differ in size, which no tensor can hold.
    """
    rows = [{name: array[index] for name, array in raw.items()} for index in range(len(geometries))]
    match settings:
        case DetectionSettings():
            return _detections(rows, geometries, settings)
        case ClassificationSettings():
            return _classes(rows, settings)
        case SegmentationSettings():
            return _masks(rows, geometries, settings)


def _detections(
    rows: Sequence[Arrays], geometries: Sequence[Geometry], settings: DetectionSettings
) -> dict[str, NDArray[Any]]:
    found = [detect(row, geometry, settings) for row, geometry in zip(rows, geometries, strict=True)]
    return {
        "num_detections": np.array([[one.count] for one in found], dtype=np.int32),
        "boxes": np.stack([one.boxes for one in found]),
        "scores": np.stack([one.scores for one in found]),
        "labels": np.stack([one.labels for one in found]),
    }


def _classes(rows: Sequence[Arrays], settings: ClassificationSettings) -> dict[str, NDArray[Any]]:
    found = [classify(row, settings) for row in rows]
    return {"scores": np.stack([one.scores for one in found]), "labels": np.stack([one.labels for one in found])}


def _masks(
    rows: Sequence[Arrays], geometries: Sequence[Geometry], settings: SegmentationSettings
) -> dict[str, NDArray[Any]]:
    sizes = {(geometry.source_width, geometry.source_height) for geometry in geometries}
    if len(sizes) > 1:
        words = ", ".join(f"{width} x {height}" for width, height in sorted(sizes)[:5])
        raise BadImage(f"the images of one request differ in size ({words}), and so would their masks; send each alone")
    found = [segment(row, geometry, settings) for row, geometry in zip(rows, geometries, strict=True)]
    most = max(len(one.labels) for one in found)
    labels = np.full((len(found), most), b"", dtype=np.object_)
    for row, one in zip(labels, found, strict=True):
        row[: len(one.labels)] = one.labels
    return {"mask": np.stack([one.pixels for one in found]), "labels": labels}
