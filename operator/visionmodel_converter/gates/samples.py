"""Samples for gates and calibration: batches of input tensors, with the ground truth where there is any.

One abstraction over tensors of an `.npz` file and images of an archive. Nothing here holds more than one batch of
images at a time.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from visionmodel_converter.gates.tasks import TaskKind
from visionmodel_pipeline.geometry import Geometry

Tensors = Mapping[str, NDArray[Any]]

IGNORED: Final = 255
"""Value of a mask's pixels that no class is asked for."""
_UNBOUNDED: Final = 2**31 - 1
NO_IMAGE: Final = Geometry(1.0, 1.0, 0.0, 0.0, _UNBOUNDED, _UNBOUNDED)
"""Where a sample never was an image: boxes are in the network's own pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueBoxes:
    """Objects of one sample.

    Attributes:
        boxes: [m, 4], x1, y1, x2, y2 in pixels of the source image (of the network's input for tensors).
        classes: [m], class numbers.
        crowd: [m], regions of many objects: a detection in one counts neither for nor against the model.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the dataset says of one sample; None where it says nothing.

    Attributes:
        label: class number.
        objects: boxes; empty for an image that is known to show none.
        mask: class numbers [height, width] of the source image; IGNORED where none is asked for.
    """

    label: int | None = None
    objects: TrueBoxes | None = None
    mask: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some samples: the network's inputs by name, and per sample its name, truth and place in the input."""

    tensors: Tensors
    names: tuple[str, ...]
    truths: tuple[Truth, ...]
    geometries: tuple[Geometry, ...]

    def __len__(self) -> int:
        return len(self.names)


class Samples(Protocol):
    """Samples that fit the model's inputs."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def labelled(self) -> frozenset[TaskKind]:
        """Kinds of task that at least one sample has ground truth for."""

    @property
    def class_counts(self) -> Counter[int]:
        """Labels and objects by class number; empty for masks."""

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all samples in a fixed order, at most `size` at a time. Raises DatasetInvalid."""


@dataclass(frozen=True, slots=True)
class InputBatches(Sequence[Tensors]):
    """The input tensors alone, as calibration takes them: a sequence that holds nothing and is read anew each time."""

    samples: Samples
    size: int

    def __len__(self) -> int:
        return -(-self.samples.count // self.size)

    def __iter__(self) -> Iterator[Tensors]:
        return (batch.tensors for batch in self.samples.batches(self.size))

    @overload
    def __getitem__(self, index: int) -> Tensors: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensors]: ...
    def __getitem__(self, index: int | slice) -> Tensors | list[Tensors]:
        """Read up to the batch that is asked for: the first one is cheap, the last one a whole pass."""
        positions = range(len(self))[index]
        if isinstance(positions, range):
            return [self[position] for position in positions]
        return next(itertools.islice(self, positions, None))


def chosen(count: int, limit: int | None) -> list[int]:
    """Return at most `limit` of `count` positions, evenly spread.

    The first ones would be of one class where samples are sorted by class.
    """
    if limit is None or limit >= count:
        return list(range(count))
    return [index * count // limit for index in range(limit)]
