"""What archives say of their images, in every layout, and each way to say it wrongly."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from unit.converter.gates.archives import coco, picture
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.annotations import ImageRecord, read_records
from visionmodel_converter.gates.folder import Folder

P = picture()
SHAPES = {3: "square", 1: "circle"}


def records(folder: Path, files: Mapping[str, bytes], names: Sequence[str] = ()) -> list[ImageRecord]:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return read_records(Folder(folder, "d.zip", {name: len(data) for name, data in files.items()}), names)


def labels(found: Sequence[ImageRecord]) -> dict[str, int | None]:
    return {record.name: record.label for record in found}


@pytest.mark.parametrize(
    ("files", "names", "expected"),
    [
        (["cat/1.jpg", "dog/2.jpg"], (), {"cat/1.jpg": 0, "dog/2.jpg": 1}),
        (["cat/1.jpg", "dog/2.jpg"], ("dog", "cat"), {"cat/1.jpg": 1, "dog/2.jpg": 0}),
        (["7/1.jpg", "3/2.jpg"], (), {"7/1.jpg": 7, "3/2.jpg": 3}),
        (["set/cat/1.jpg", "set/dog/2.jpg"], (), {"set/cat/1.jpg": 0, "set/dog/2.jpg": 1}),
        (["cat/1.jpg"], ("cat",), {"cat/1.jpg": 0}),
        (["images/1.jpg"], (), {"images/1.jpg": None}),
        (["1.jpg", "2.JPEG"], (), {"1.jpg": None, "2.JPEG": None}),
        (["1.jpg", "__MACOSX/._1.jpg", ".DS_Store", "README.txt"], (), {"1.jpg": None}),
        (["cat/1.jpg", "dog/2.jpg", "3.jpg"], (), {"cat/1.jpg": 0, "dog/2.jpg": 1, "3.jpg": None}),
    ],
    ids=[
        *("alphabetical", "by-the-task", "numbers", "packed-folder", "one-known-class", "images-folder", "flat"),
        *("leftovers", "one-outside"),
    ],
)
def test_folders(tmp_path: Path, files: list[str], names: Sequence[str], expected: Mapping[str, int | None]) -> None:
    assert labels(records(tmp_path, dict.fromkeys(files, P), names)) == expected


@pytest.mark.parametrize(
    "listing",
    [
        {"labels.csv": b"file,label\n1.png,b\n2.png,a\n"},
        {"labels.csv": b"\xef\xbb\xbf1.png,b\n\n2.png,a\n"},
        {"labels.json": b'{"1.png": "b", "2.png": "a"}'},
    ],
    ids=["csv", "csv-without-header", "json"],
)
def test_listed(tmp_path: Path, listing: Mapping[str, bytes]) -> None:
    found = records(tmp_path, {"images/1.png": P, "images/2.png": P, "images/3.png": P, **listing})
    assert labels(found) == {"images/1.png": 1, "images/2.png": 0, "images/3.png": None}


def test_listed_numbers(tmp_path: Path) -> None:
    found = records(tmp_path, {"1.png": P, "2.png": P, "labels.json": b'{"1.png": 5, "2.png": 0}'})
    assert labels(found) == {"1.png": 5, "2.png": 0}


@pytest.mark.parametrize(
    ("names", "classes"),
    [((), [1, 0]), (("square", "circle"), [0, 1]), (("triangle", "circle", "square"), [2, 1])],
    ids=["by-category-id", "by-the-task", "unused-class"],
)
@pytest.mark.parametrize("root", ["", "packed/"])
def test_coco(tmp_path: Path, root: str, names: Sequence[str], classes: list[int]) -> None:
    document = coco({"a.png": [(3, [1, 2, 10, 20]), (1, [0, 0, 4, 4])], "b.png": []}, SHAPES)
    files = {"annotations.json": document, "images/a.png": P, "images/b.png": P, "images/c.png": P}
    a, b, c = records(tmp_path, {root + name: data for name, data in files.items()}, names)
    assert a.objects is not None
    assert b.objects is not None
    assert a.objects.boxes.tolist() == [[1, 2, 11, 22], [0, 0, 4, 4]]
    assert a.objects.classes.tolist() == classes
    assert len(b.objects.classes) == 0  # known to show nothing
    assert c.objects is None  # nobody looked at it


def test_coco_with_a_category_that_no_object_has(tmp_path: Path) -> None:
    document = coco({"a.png": [(1, [0, 0, 4, 4])]}, {1: "circle", 9: "unicorn"})
    (record,) = records(tmp_path, {"annotations.json": document, "a.png": P}, ("square", "circle"))
    assert record.objects is not None
    assert record.objects.classes.tolist() == [1]


def test_crowd(tmp_path: Path) -> None:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1}
    document = coco({"a.png": []}, SHAPES, annotations=[annotation])
    (record,) = records(tmp_path, {"annotations.json": document, "a.png": P})
    assert record.objects is not None
    assert record.objects.crowd.tolist() == [True]


def test_masks(tmp_path: Path) -> None:
    found = records(tmp_path, {"images/1.jpg": P, "images/2.jpg": P, "masks/1.png": P})
    assert {record.name: record.mask for record in found} == {"images/1.jpg": "masks/1.png", "images/2.jpg": None}


ONE = {"a.png": [(1, [0, 0, 4, 4])]}


def annotated(**changes: Any) -> dict[str, bytes]:
    return {"a.png": P, "annotations.json": coco(ONE, SHAPES, **changes)}


def annotation(**changes: Any) -> dict[str, bytes]:
    base = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}
    return annotated(annotations=[{**base, **changes}])


@pytest.mark.parametrize(
    ("files", "names", "words"),
    [
        ({"a.png": P, "annotations.json": b"{"}, (), "annotations.json: Invalid JSON"),
        ({"a.png": P, "annotations.json": b"[" * 100_000}, (), "annotations.json: Invalid JSON"),
        ({"a.png": P, "annotations.json": b"{}"}, (), "annotations.json: images: Field required"),
        (annotated(images=[{"id": 1, "file_name": "b.png"}]), (), "names the image 'b.png'"),
        (annotated(images=[{"id": 1, "file_name": "../a.png"}]), (), "names the image '../a.png'"),
        (annotated(images=[{"id": 1, "file_name": "a.png"}] * 2), (), "one id or one file"),
        (annotated(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]), (), "one id or one name"),
        (annotated(), ("square",), "class 'circle' is none of task.labels (square)"),
        (annotation(image_id=9), (), "annotation 5: there is no image with the id 9"),
        (annotation(category_id=9), (), "annotation 5: there is no category with the id 9"),
        (annotation(bbox=[0, 0, 0, 4]), (), "annotation 5: the bbox [0.0, 0.0, 0.0, 4.0]"),
        (annotation(bbox=[0, 0, 4]), (), "annotations.0.bbox: List should have at least 4"),
        (annotation(bbox=[0, 0, 4, 1e400]), (), "annotations.0.bbox.3"),
        (annotation(iscrowd=2), (), "annotations.0.iscrowd"),
        ({"a.png": P, "labels.csv": b"a.png\n"}, (), "row 1 is ['a.png']"),
        ({"a.png": P, "labels.csv": b"a.png,\n"}, (), "row 1"),
        ({"a.png": P, "labels.csv": b"\xff\xfe\x00"}, (), "no CSV text in UTF-8"),
        ({"a.png": P, "labels.csv": b"b.png,x\n"}, (), "names the image 'b.png'"),
        ({"a.png": P, "labels.csv": b"a.png,x\na.png,y\n"}, (), "'a.png' is listed twice"),
        ({"a.png": P, "labels.json": b'{"a.png": 1.5}'}, (), "labels.json: a.png"),
        ({"a.png": P, "labels.csv": b"a.png,x\n"}, ("y",), "class 'x' is none of task.labels (y)"),
        ({"cat/a.png": P, "dog/b.png": P}, ("cat",), "the folders: class 'dog'"),
        ({"images/a.png": P, "masks/b.png": P}, (), "masks/b.png: there is no image images/b"),
    ],
    ids=[
        *("no-json", "deep-json", "no-coco", "absent-image", "image-outside", "image-twice"),
        *("category-twice", "unknown-category", "no-such-image", "no-such-category", "flat-box", "short-box"),
        *("infinite-box", "odd-crowd", "csv-one-column", "csv-no-label", "csv-bytes", "csv-absent", "csv-twice"),
        *("json-fraction", "csv-unknown-class", "unknown-folder", "mask-alone"),
    ],
)
def test_wrong_annotations(tmp_path: Path, files: Mapping[str, bytes], names: Sequence[str], words: str) -> None:
    with pytest.raises(ConversionFailure) as caught:
        records(tmp_path, files, names)
    assert caught.value.reason is Reason.DATASET_INVALID
    assert caught.value.message.startswith("dataset d.zip, ")
    assert words in caught.value.message


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match=r"d.zip holds no image among 1 file\(s\)") as caught:
        records(tmp_path, {"readme.txt": b"x"}, ())
    assert caught.value.reason is Reason.NO_SAMPLES


def test_infinite_numbers_are_no_json(tmp_path: Path) -> None:
    text = json.dumps(json.loads(coco(ONE, SHAPES))).replace("[0, 0, 4, 4]", "[0, 0, NaN, 4]")
    with pytest.raises(ConversionFailure, match="annotations"):
        records(tmp_path, {"a.png": P, "annotations.json": text.encode()})
