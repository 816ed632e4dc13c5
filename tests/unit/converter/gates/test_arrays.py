"""Datasets of tensors: what a sample is, and each way a file can be unfit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unit.converter.gates.archives import stored, zip_bytes
from unit.converter.tiny_models import npz
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.arrays import ArraySamples, load_arrays
from visionmodel_converter.gates.tasks import TaskKind

INPUTS = (TensorSpec(name="x", dtype="float32", dims=(-1, 2)),)
X = np.arange(10, dtype=np.float32).reshape(5, 2)
BOXES = np.array([[[0, 0, 4, 4], [1, 1, 9, 9]]] * 4 + [[[0, 0, 4, 4], [-1, -1, -1, -1]]], np.float32)
CLASSES = np.array([[0, 2]] * 4 + [[0, -1]], np.int64)


def load(folder: Path, limit: int | None = None, **arrays: Any) -> ArraySamples:
    return load_arrays(stored(folder, npz(**arrays)), INPUTS, shown="d.npz", max_bytes=10**6, limit=limit)


def test_batches_hold_every_sample_once_in_order(tmp_path: Path) -> None:
    samples = load(tmp_path, input_x=X, label=np.arange(5))
    batches = list(samples.batches(2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([batch.tensors["x"] for batch in batches]), X)
    assert [truth.label for batch in batches for truth in batch.truths] == [0, 1, 2, 3, 4]
    assert batches[1].names == ("sample 2", "sample 3")


def test_objects_without_their_padding(tmp_path: Path) -> None:
    samples = load(tmp_path, input_x=X, gt_boxes=BOXES, gt_labels=CLASSES)
    (batch,) = samples.batches(8)
    objects = [truth.objects for truth in batch.truths]
    assert [found.classes.tolist() for found in objects if found is not None] == [[0, 2]] * 4 + [[0]]
    assert samples.labelled == {TaskKind.DETECTION}
    assert samples.class_counts == {0: 5, 2: 4}


@pytest.mark.parametrize(("limit", "labels"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (2, [0, 2]), (1, [0])])
def test_a_limit_takes_evenly_spread_samples(tmp_path: Path, limit: int | None, labels: list[int]) -> None:
    samples = load(tmp_path, limit, input_x=X, label=np.arange(5), gt_boxes=BOXES, gt_labels=CLASSES)
    (batch,) = samples.batches(8)
    assert [truth.label for truth in batch.truths] == labels
    assert samples.count == len(labels)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"input_x": X, "label": np.array([{}] * 5, object)}, "array 'label': it holds Python objects"),
        ({"input_x": X, "label": np.arange(4)}, "array 'label': it has 4 samples, the first input has 5"),
        ({"input_x": X, "label": np.arange(5) - 1}, "sample 0 has a negative class"),
        ({"input_x": X, "label": np.arange(5.0)}, "expected int64 [samples]"),
        ({"input_x": X, "input_y": X}, "array 'input:y': the model has no such input"),
        ({"input_x": X.astype(np.float64)}, "it is float64 [5, 2]"),
        ({"input_x": X, "gt_boxes": BOXES}, "array 'gt_labels': it is missing"),
        ({"input_x": X, "gt_boxes": BOXES[..., :3], "gt_labels": CLASSES}, "expected float32 [n,M,4]"),
        ({"input_x": X, "gt_boxes": BOXES, "gt_labels": CLASSES[:, :1]}, "expected int64 [5, 2]"),
        ({"input_x": X, "gt_boxes": BOXES[..., ::-1].copy(), "gt_labels": CLASSES}, "sample 0, box 0"),
        ({"input_x": X, "gt_boxes": BOXES, "gt_labels": CLASSES * 0 - 1}, "no object in any sample"),
        ({"input_x": X, "gt_boxes": BOXES, "gt_labels": CLASSES - 2}, "a class is below -1"),
        ({"input_x": np.float32(1)}, "it is a scalar"),
    ],
    ids=[
        *("pickle", "short-label", "negative-label", "float-label", "strange-input", "dtype", "boxes-alone"),
        *("box-shape", "label-shape", "box-order", "no-object", "below-padding", "scalar"),
    ],
)
def test_unfit_files(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(ConversionFailure) as caught:
        load(tmp_path, **arrays)
    assert caught.value.reason is Reason.DATASET_INVALID
    assert words in caught.value.message


def test_a_checkpoint_is_no_dataset(tmp_path: Path) -> None:
    data = zip_bytes({"archive/data.pkl": b"x", "x.npy": b"y"})
    with pytest.raises(ConversionFailure, match="PyTorch checkpoint"):
        load_arrays(stored(tmp_path, data), INPUTS, shown="d.npz", max_bytes=10**6)


def test_unpacked_size_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match="the limits are 10 bytes"):
        load_arrays(stored(tmp_path, npz(input_x=X)), INPUTS, shown="d.npz", max_bytes=10)
