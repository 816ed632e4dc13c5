"""A dataset of images: decoded, resized and scaled by serving's own code, one batch at a time."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.annotations import ImageRecord, read_records
from visionmodel_converter.gates.folder import Folder
from visionmodel_converter.gates.samples import Batch, Truth, chosen
from visionmodel_converter.gates.tasks import TaskKind, class_names, pre_settings
from visionmodel_pipeline.decoding import BadImage, Pixels, decode_image
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.preparing import Tensor, prepare
from visionmodel_pipeline.settings import PreSettings

MASK_MODES: Final = ("L", "P")
"""Pillow's modes whose pixels are 8-bit numbers: grey, or a palette's index."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSamples:
    """Images of a folder, read anew in every pass."""

    folder: Folder
    records: Sequence[ImageRecord]
    settings: PreSettings
    input_name: str

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.records)

    @property
    def labelled(self) -> frozenset[TaskKind]:
        """Kinds of task that at least one image has ground truth for."""
        return frozenset(
            kind
            for kind, is_there in (
                (TaskKind.CLASSIFICATION, any(record.label is not None for record in self.records)),
                (TaskKind.DETECTION, any(record.objects is not None for record in self.records)),
                (TaskKind.SEGMENTATION, any(record.mask is not None for record in self.records)),
            )
            if is_there
        )

    @property
    def class_counts(self) -> Counter[int]:
        """Labels and objects by class number; masks are not read for it."""
        counts = Counter(record.label for record in self.records if record.label is not None)
        for record in self.records:
            if record.objects is not None:
                counts.update(record.objects.classes.tolist())
        return counts

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all images in the order of their names. Raises DatasetInvalid for one that cannot be read."""
        for start in range(0, self.count, size):
            records = self.records[start : start + size]
            prepared = [self._prepared(record.name) for record in records]
            yield Batch(
                {self.input_name: np.stack([tensor for tensor, _ in prepared])},
                tuple(record.name for record in records),
                tuple(self._truth(record) for record in records),
                tuple(geometry for _, geometry in prepared),
            )

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of every image; of one that serving refuses for its size, one byte more than that."""
        for record in self.records:
            yield record.name, self._file(record.name)

    def pixels(self, name: str) -> Pixels:
        """Return a decoded image. Raises BadImage or DatasetInvalid."""
        return self.decoded(self._file(name))

    def decoded(self, data: bytes) -> Pixels:
        """Decode as serving does. Raises BadImage."""
        return decode_image(data, max_bytes=self.settings.max_bytes, max_pixels=self.settings.max_pixels)

    def without(self, names: Collection[str]) -> "ImageSamples":
        """Return the same samples but for some."""
        return replace(self, records=[record for record in self.records if record.name not in names])

    def _file(self, name: str) -> bytes:
        return self.folder.read(name, self.settings.max_bytes + 1)

    def _prepared(self, name: str) -> tuple[Tensor, Geometry]:
        try:
            return prepare(self._file(name), self.settings)
        except BadImage as error:
            raise self._invalid(name, f"{error}; remove it or store it again") from error

    def _truth(self, record: ImageRecord) -> Truth:
        mask = None if record.mask is None else self._mask(record.mask)
        return Truth(record.label, record.objects, mask)

    def _mask(self, name: str) -> NDArray[np.uint8]:
        try:
            with Image.open(BytesIO(self._file(name)), formats=["PNG"]) as image:
                kind = f"{image.mode} {image.width} x {image.height}"
                is_mask = image.mode in MASK_MODES and image.width * image.height <= self.settings.max_pixels
                mask = np.array(image, dtype=np.uint8) if is_mask else None
        # Pillow raises whatever a broken file leads it to
        except Exception as error:
            raise self._invalid(name, "it is no PNG that can be read; store it again") from error
        if mask is None:
            raise self._invalid(name, f"it is {kind}; a mask is an 8-bit grey or palette PNG of its image's size")
        return mask

    def _invalid(self, name: str, what: str) -> ConversionFailure:
        return ConversionFailure(Reason.DATASET_INVALID, f"dataset {self.folder.shown}, file {name!r}: {what}")


def load_images(
    folder: Folder, specs: tuple[TensorSpec, ...], *, task: ImageTask | None, limit: int | None = None
) -> ImageSamples:
    """Return the images of a folder, none of them decoded yet.

    Raises DatasetInvalid (no images, broken annotations, no image task) or BadRequest (a task that does not fit).
    """
    if task is None:
        raise ConversionFailure(
            Reason.DATASET_INVALID,
            f"dataset {folder.shown} holds files, but for task type Tensor nobody knows how an image becomes the "
            "model's input; store the tensors as .npz, or set an image task",
        )
    settings = pre_settings(task, specs)
    records = read_records(folder, class_names(task))
    return ImageSamples(folder, [records[index] for index in chosen(len(records), limit)], settings, specs[0].name)
