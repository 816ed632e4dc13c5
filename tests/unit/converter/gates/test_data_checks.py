"""What is found out about a dataset, how bad it is, and what is refused."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from unit.converter.gates.archives import IMAGE_INPUT, coco, image_task, noise, stored, zip_bytes
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.arrays import ArraySamples
from visionmodel_converter.gates.data_checks import (
    CheckedSamples,
    Role,
    check_overlap,
    check_samples,
    refuse_bad_data,
)
from visionmodel_converter.gates.dataset import load_samples

BROKEN = b"\x89PNG broken"


def checked(
    folder: Path, files: Mapping[str, bytes], *, role: Role = Role.EVALUATION, names: tuple[str, ...] = ()
) -> CheckedSamples:
    path = stored(folder, zip_bytes(files))
    samples = load_samples(path, IMAGE_INPUT, task=image_task(labels=names), shown="d.zip", max_bytes=10**8)
    return check_samples(samples, role=role, shown="d.zip", names=names)


def pictures(count: int, folder: str = "", start: int = 0) -> dict[str, bytes]:
    return {f"{folder}{start + index:03}.png": noise(start + index) for index in range(count)}


def found(result: CheckedSamples) -> dict[str, str]:
    return {finding.check: finding.severity for finding in result.findings}


def test_good_data_has_no_finding(tmp_path: Path) -> None:
    result = checked(tmp_path, pictures(4, "a/") | pictures(4, "b/", 4))
    assert result.findings == ()
    assert len(set(result.digests.values())) == 8


@pytest.mark.parametrize(("good", "severity"), [(19, "warn"), (18, "refuse")])
def test_unreadable_images_are_left_out_or_refused(tmp_path: Path, good: int, severity: str) -> None:
    result = checked(tmp_path, pictures(good) | {"bad.png": BROKEN})
    (finding,) = result.findings
    assert (finding.check, finding.severity, finding.samples) == ("unreadable", severity, ("bad.png",))
    assert f"1 of {good + 1} images" in finding.message
    assert result.samples.count == good
    assert sum(len(batch) for batch in result.samples.batches(8)) == good


def test_small_images(tmp_path: Path) -> None:
    result = checked(tmp_path, {"a.png": noise(1, (31, 90)), "b.png": noise(2, (32, 32))})
    assert found(result) == {"small": "warn"}
    assert result.findings[0].samples == ("a.png",)


def test_copies(tmp_path: Path) -> None:
    result = checked(tmp_path, {"a.png": noise(1), "b.png": noise(2), "c.png": noise(1)})
    assert found(result) == {"duplicates": "warn"}
    assert result.findings[0].samples == ("c.png",)


@pytest.mark.parametrize(("common", "expected"), [(11, {"imbalance": "warn"}), (10, {})])
def test_imbalance(tmp_path: Path, common: int, expected: dict[str, str]) -> None:
    result = checked(tmp_path, pictures(common, "cat/") | pictures(1, "dog/", 20), names=("cat", "dog"))
    assert found(result) == expected
    assert all("'cat' occurs 11 times, class 'dog' 1" in finding.message for finding in result.findings)


def test_classes_never_seen(tmp_path: Path) -> None:
    result = checked(tmp_path, pictures(2, "cat/") | pictures(2, "dog/", 5), names=("cat", "dog", "emu"))
    assert found(result) == {"absentClasses": "warn"}
    assert result.findings[0].samples == ("emu",)


@pytest.mark.parametrize(("bare", "severity"), [(1, "warn"), (2, "refuse")])
def test_missing_labels(tmp_path: Path, bare: int, severity: str) -> None:
    known = pictures(10)
    document = coco({name: [(1, [0, 0, 5, 5])] for name in known}, {1: "circle"})
    result = checked(tmp_path, {**known, **pictures(bare, start=50), "annotations.json": document})
    assert found(result) == {"unlabelled": severity}
    assert result.findings[0].samples[0] == "050.png"


@pytest.mark.parametrize(("count", "expected"), [(99, {"fewSamples": "warn"}), (100, {})])
def test_calibration_needs_samples_and_no_labels(count: int, expected: dict[str, str]) -> None:
    inputs = {"x": np.arange(count, dtype=np.float32)[:, None]}
    result = check_samples(ArraySamples(inputs, None, None, None), role=Role.CALIBRATION, shown="c.npz")
    assert found(result) == expected


def tensors(values: range) -> CheckedSamples:
    inputs = {"x": np.array(values, np.float32)[:, None]}
    return check_samples(ArraySamples(inputs, None, None, None), role=Role.EVALUATION, shown="e.npz")


@pytest.mark.parametrize(
    ("calibration", "expected"),
    [(range(10, 20), []), (range(5, 20), [("overlap", "warn")]), (range(4, 20), [("overlap", "refuse")])],
    ids=["apart", "half", "more-than-half"],
)
def test_overlap_is_found_by_content(calibration: range, expected: list[tuple[str, str]]) -> None:
    findings = check_overlap(tensors(calibration), tensors(range(10)))
    assert [(finding.check, finding.severity) for finding in findings] == expected


def test_only_refusals_end_the_conversion(tmp_path: Path) -> None:
    refuse_bad_data(checked(tmp_path, {"a.png": noise(1, (8, 8))}).findings)
    with pytest.raises(ConversionFailure) as caught:
        refuse_bad_data(checked(tmp_path, {"a.png": noise(1), "bad.png": BROKEN}).findings)
    assert caught.value.reason is Reason.UNREADABLE_IMAGES
    assert "dataset d.zip: 1 of 2 images (50.0%) cannot be read" in caught.value.message
    assert "(first: bad.png)" in caught.value.message
