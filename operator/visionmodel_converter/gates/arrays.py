"""A dataset of tensors: one `.npz` without pickles, checked against the model before anything is computed.

Arrays (first axis = samples): `input:<tensor name>` for every input of the model; for classification `label`
int64 [n]; for detection `gt_boxes` float32 [n,M,4] (pixel xyxy) and `gt_labels` int64 [n,M], both padded with -1.
"""

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.gates.samples import NO_IMAGE, Batch, TrueBoxes, Truth, chosen
from visionmodel_converter.gates.tasks import TaskKind

INPUT_PREFIX: Final = "input:"
PAD: Final = -1
MAX_ARRAYS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class ArraySamples:
    """Samples that fit the model's inputs; label arrays are None when the file has none."""

    inputs: Mapping[str, NDArray[Any]]
    label: NDArray[np.int64] | None
    gt_boxes: NDArray[np.float32] | None
    gt_labels: NDArray[np.int64] | None

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(next(iter(self.inputs.values())))

    @property
    def labelled(self) -> frozenset[TaskKind]:
        """Kinds of task that the file has labels for."""
        present = {TaskKind.CLASSIFICATION: self.label, TaskKind.DETECTION: self.gt_labels}
        return frozenset(kind for kind, array in present.items() if array is not None)

    @property
    def class_counts(self) -> Counter[int]:
        """Labels and objects by class number."""
        counts: Counter[int] = Counter()
        for array in (self.label, self.gt_labels):
            if array is not None:
                counts.update(array[array != PAD].tolist())
        return counts

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all samples in the file's order."""
        for start in range(0, self.count, size):
            rows = range(start, min(start + size, self.count))
            yield Batch(
                {name: array[rows.start : rows.stop] for name, array in self.inputs.items()},
                tuple(f"sample {row}" for row in rows),
                tuple(self._truth(row) for row in rows),
                (NO_IMAGE,) * len(rows),
            )

    def _truth(self, row: int) -> Truth:
        label = None if self.label is None else int(self.label[row])
        if self.gt_boxes is None or self.gt_labels is None:
            return Truth(label)
        real = self.gt_labels[row] != PAD
        boxes, classes = self.gt_boxes[row][real].astype(np.float64), self.gt_labels[row][real]
        return Truth(label, TrueBoxes(boxes, classes, np.zeros(len(classes), np.bool_)))


def load_arrays(
    path: Path, specs: tuple[TensorSpec, ...], *, shown: str, max_bytes: int, limit: int | None = None
) -> ArraySamples:
    """Read and check a file; `max_bytes` bounds the unpacked size. Raises DatasetInvalid or NoSamples."""
    arrays = read_arrays(path, shown=shown, max_bytes=max_bytes)
    inputs = {spec.name: _input_array(arrays, spec, shown) for spec in specs}
    unknown = [name for name in arrays if name.startswith(INPUT_PREFIX) and name[len(INPUT_PREFIX) :] not in inputs]
    if unknown:
        raise _invalid(shown, unknown[0], f"the model has no such input; it has {sorted(inputs)}")
    samples = len(next(iter(inputs.values())))
    if samples == 0:
        raise ConversionFailure(
            Reason.NO_SAMPLES,
            f"dataset {shown}, array '{INPUT_PREFIX}{specs[0].name}': it has no samples; write the file again",
        )
    for name, array in arrays.items():
        if len(array) != samples and (name.startswith(INPUT_PREFIX) or name in ("label", "gt_boxes", "gt_labels")):
            raise _invalid(shown, name, f"it has {len(array)} samples, the first input has {samples}")
    gt_boxes, gt_labels = _ground_truth(arrays, shown)
    read = ArraySamples(inputs, _labels(arrays, shown), gt_boxes, gt_labels)
    return read if limit is None or limit >= samples else _part(read, chosen(samples, limit))


def _part(samples: ArraySamples, rows: list[int]) -> ArraySamples:
    return ArraySamples(
        {name: array[rows] for name, array in samples.inputs.items()},
        None if samples.label is None else samples.label[rows],
        None if samples.gt_boxes is None else samples.gt_boxes[rows],
        None if samples.gt_labels is None else samples.gt_labels[rows],
    )


def read_arrays(path: Path, *, shown: str, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Read every array of an npz file, refusing pickles, other files and what unpacks beyond `max_bytes`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ConversionFailure(
            Reason.DATASET_INVALID,
            f"{shown} is no .npz file ({first_line(error)}); write it with numpy.savez_compressed and upload it again",
        ) from error
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_ARRAYS or unpacked > max_bytes:
        raise ConversionFailure(
            Reason.DATASET_INVALID,
            f"{shown} unpacks to {unpacked} bytes in {len(members)} arrays; the limits are {max_bytes} bytes and "
            f"{MAX_ARRAYS} arrays: use fewer samples",
        )
    foreign = [member.filename for member in members if not member.filename.endswith(".npy")]
    if foreign:
        raise _invalid(shown, foreign[0], "it is no array; the file may be a PyTorch checkpoint instead of an .npz")
    with np.load(path, allow_pickle=False) as loaded:
        return {name: _read_array(loaded, name, shown) for name in loaded.files}


def _read_array(loaded: Any, name: str, shown: str) -> NDArray[Any]:
    try:
        array = np.asarray(loaded[name])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        hint = (
            "it holds Python objects; store plain numbers"
            if "pickle" in str(error).lower() or "object" in str(error).lower()
            else f"it is damaged ({first_line(error)}); write the file again"
        )
        raise _invalid(shown, name, hint) from error
    if array.ndim == 0:
        raise _invalid(shown, name, "it is a scalar; the first axis must be the samples")
    return array


def _input_array(arrays: Mapping[str, NDArray[Any]], spec: TensorSpec, shown: str) -> NDArray[Any]:
    name = f"{INPUT_PREFIX}{spec.name}"
    if name not in arrays:
        raise _invalid(shown, name, f"it is missing; the file has {sorted(arrays)}")
    array = arrays[name]
    fits = array.ndim == len(spec.dims) and all(
        dim < 0 or dim == size for dim, size in zip(spec.dims, array.shape, strict=True)
    )
    if not fits or array.dtype.name != spec.dtype:
        raise _invalid(
            shown,
            name,
            f"it is {array.dtype.name} {list(array.shape)}, the model wants {spec.dtype} {list(spec.dims)} "
            "(-1 is free): store the tensors as the model takes them",
        )
    _refuse_non_finite(array, name, shown)
    return array


def _labels(arrays: Mapping[str, NDArray[Any]], shown: str) -> NDArray[np.int64] | None:
    label = arrays.get("label")
    if label is None:
        return None
    if label.dtype != np.int64 or label.ndim != 1:
        raise _invalid(shown, "label", f"it is {label.dtype.name} {list(label.shape)}, expected int64 [samples]")
    if (label < 0).any():
        raise _invalid(shown, "label", f"sample {int(np.argmax(label < 0))} has a negative class")
    return label


def _ground_truth(
    arrays: Mapping[str, NDArray[Any]], shown: str
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None]:
    boxes, labels = arrays.get("gt_boxes"), arrays.get("gt_labels")
    if boxes is None and labels is None:
        return None, None
    if boxes is None or labels is None:
        missing = "gt_boxes" if boxes is None else "gt_labels"
        raise _invalid(shown, missing, "it is missing; gt_boxes and gt_labels belong together")
    if boxes.dtype != np.float32 or boxes.ndim != 3 or boxes.shape[2] != 4:
        raise _invalid(shown, "gt_boxes", f"it is {boxes.dtype.name} {list(boxes.shape)}, expected float32 [n,M,4]")
    if labels.dtype != np.int64 or labels.shape != boxes.shape[:2]:
        raise _invalid(
            shown,
            "gt_labels",
            f"it is {labels.dtype.name} {list(labels.shape)}, expected int64 {list(boxes.shape[:2])} as gt_boxes",
        )
    _refuse_non_finite(boxes, "gt_boxes", shown)
    if (labels < PAD).any():
        raise _invalid(shown, "gt_labels", "a class is below -1; -1 pads, classes start at 0")
    real = labels != PAD
    bad = real & ~((boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1]))
    if bad.any():
        sample, row = (int(index) for index in np.argwhere(bad)[0])
        raise _invalid(
            shown,
            "gt_boxes",
            f"sample {sample}, box {row} is {boxes[sample, row].tolist()}: x2 must exceed x1 and y2 must exceed y1",
        )
    if not real.any():
        raise _invalid(shown, "gt_labels", "there is no object in any sample, so mAP is not defined")
    return boxes, labels


def _refuse_non_finite(array: NDArray[Any], name: str, shown: str) -> None:
    if array.dtype.kind != "f":
        return
    bad = ~np.isfinite(array)
    if bad.any():
        first = [int(index) for index in np.argwhere(bad)[0]]
        raise _invalid(shown, name, f"{int(bad.sum())} value(s) are NaN or infinite, the first at {first}")


def _invalid(shown: str, array: str, what: str) -> ConversionFailure:
    return ConversionFailure(Reason.DATASET_INVALID, f"dataset {shown}, array {array!r}: {what}")
