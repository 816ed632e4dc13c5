"""What a folder of images says of them: COCO JSON, a list of labels, one folder per class, masks, or nothing.

Only names and numbers are read here, never a picture.

    annotations.json        COCO: images, annotations (bbox x, y, width, height; iscrowd), categories
    labels.csv, labels.json file,label per line; or an object of labels by file
    cat/1.jpg dog/2.jpg     one folder per class
    masks/1.png             class numbers by pixel for images/1.jpg; 255 is no class

A class has the number that its name has in `task.labels`. Without names there, numbers stand for themselves, and
names are numbered in their own order: COCO's by category id, folders and labels alphabetically.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.folder import Folder, common_root
from visionmodel_converter.gates.samples import TrueBoxes

COCO_FILE: Final = "annotations.json"
CSV_FILE: Final = "labels.csv"
JSON_FILE: Final = "labels.json"
IMAGES_FOLDER: Final = "images/"
MASKS_FOLDER: Final = "masks/"
MAX_ANNOTATION_BYTES: Final = 256 * 1024 * 1024
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".avif")
"""Those that cannot be decoded are listed too, so that they are reported and not passed over."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """One image of the folder and what is known of it; None where nothing is."""

    name: str
    label: int | None = None
    objects: TrueBoxes | None = None
    mask: str | None = None
    """Name of the file that holds the mask."""


class _CocoImage(BaseModel):
    id: int
    file_name: Annotated[str, Field(min_length=1, max_length=4096)]


class _CocoCategory(BaseModel):
    id: int
    name: str


class _CocoAnnotation(BaseModel):
    id: int
    image_id: int
    category_id: int
    bbox: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
    iscrowd: Literal[0, 1] = 0


class _Coco(BaseModel):
    images: Annotated[list[_CocoImage], Field(min_length=1)]
    annotations: list[_CocoAnnotation]
    categories: Annotated[list[_CocoCategory], Field(min_length=1)]


def read_records(folder: Folder, names: Sequence[str]) -> list[ImageRecord]:
    """Return a record per image, in the order of their names; `names` are the task's labels by class number.

    Raises NoSamples without any image, DatasetInvalid for annotations that are broken, incomplete or contradictory.
    """
    files = [name for name in folder.sizes if not _is_hidden(name)]
    base = _base(files)
    pictures = sorted(
        name for name in files if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith(base + MASKS_FOLDER)
    )
    reader = _Reader(folder, base, names, frozenset(files))
    if base + COCO_FILE in folder.sizes:
        labelled = _coco(reader)
    elif base + CSV_FILE in folder.sizes or base + JSON_FILE in folder.sizes:
        labelled = _listed(reader)
    elif any(name.startswith(base + MASKS_FOLDER) for name in files):
        labelled = _masked(reader, pictures)
    else:
        labelled = _foldered(reader, pictures)
    # an image that the annotations do not mention is a sample without ground truth
    records = {name: ImageRecord(name) for name in pictures} | labelled
    if not records:
        raise ConversionFailure(
            Reason.NO_SAMPLES,
            f"dataset {folder.shown} holds no image among {len(files)} file(s); pack JPEG, PNG, WebP or BMP files, or "
            "write tensors as .npz",
        )
    return [records[name] for name in sorted(records)]


def _is_hidden(name: str) -> bool:
    """What operating systems leave in archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _base(files: Iterable[str]) -> str:
    """Return the folder that the layout starts in: packing a folder puts its name before every file."""
    known = list(files)
    root = common_root(known)
    marks = (COCO_FILE, CSV_FILE, JSON_FILE)
    if any(mark in known for mark in marks):
        return ""
    is_marked = any(root + mark in known for mark in marks)
    is_nested = all("/" in name.removeprefix(root) for name in known)
    return root if is_marked or is_nested else ""


@dataclass(frozen=True, slots=True)
class _Reader:
    folder: Folder
    base: str
    names: Sequence[str]
    files: frozenset[str]

    def text(self, name: str) -> bytes:
        size = self.folder.sizes[self.base + name]
        if size > MAX_ANNOTATION_BYTES:
            raise self.invalid(name, f"it has {size} bytes; at most {MAX_ANNOTATION_BYTES} are read")
        return self.folder.read(self.base + name, size)

    def image(self, named: str, where: str) -> str:
        plain = named.removeprefix("./")
        for name in (self.base + plain, self.base + IMAGES_FOLDER + plain):
            if name in self.files:
                return name
        raise self.invalid(where, f"it names the image {named[:200]!r}, which the dataset does not hold")

    def invalid(self, where: str, what: str) -> ConversionFailure:
        return _invalid(self.folder.shown, f"{where}: {what}")


def _numbers(reader: _Reader, found: Sequence[str], where: str) -> dict[str, int]:
    """Return the class number of each name; `found` is in the order that numbers names without a task's labels."""
    if reader.names:
        known = {name: number for number, name in enumerate(reader.names)}
        strange = [name for name in found if name not in known and not name.isdecimal()]
        if strange:
            raise reader.invalid(where, f"class {strange[0][:100]!r} is none of task.labels ({', '.join(known)[:300]})")
        return {name: known[name] if name in known else int(name) for name in found}
    if all(name.isdecimal() for name in found):
        return {name: int(name) for name in found}
    return {name: number for number, name in enumerate(found)}


def _coco(reader: _Reader) -> dict[str, ImageRecord]:
    try:
        coco = _Coco.model_validate_json(reader.text(COCO_FILE))
    except ValidationError as error:
        raise reader.invalid(COCO_FILE, _first_error(error)) from error
    files = {image.id: reader.image(image.file_name, COCO_FILE) for image in coco.images}
    if len(set(files.values())) != len(coco.images):
        raise reader.invalid(COCO_FILE, "two of its images have one id or one file; list each image once")
    ordered = {category.id: category.name for category in sorted(coco.categories, key=lambda each: each.id)}
    if len(set(ordered.values())) != len(coco.categories):
        raise reader.invalid(COCO_FILE, "two of its categories have one id or one name; list each class once")
    used = {annotation.category_id for annotation in coco.annotations}
    counted = {name: number for number, name in enumerate(ordered.values())}
    if reader.names:  # a category that no object has may be missing in the task
        counted = _numbers(reader, [name for each, name in ordered.items() if each in used], COCO_FILE)
    of_image: dict[int, list[_CocoAnnotation]] = defaultdict(list)
    for annotation in coco.annotations:
        _check(reader, annotation, files, ordered)
        of_image[annotation.image_id].append(annotation)
    return {
        name: ImageRecord(name, objects=_objects(of_image[number], lambda each: counted[ordered[each]]))
        for number, name in files.items()
    }


def _check(
    reader: _Reader, annotation: _CocoAnnotation, files: Mapping[int, str], categories: Mapping[int, str]
) -> None:
    where = f"{COCO_FILE}, annotation {annotation.id}"
    if annotation.image_id not in files:
        raise reader.invalid(where, f"there is no image with the id {annotation.image_id}")
    if annotation.category_id not in categories:
        raise reader.invalid(where, f"there is no category with the id {annotation.category_id}")
    if annotation.bbox[2] <= 0 or annotation.bbox[3] <= 0:
        raise reader.invalid(where, f"the bbox {annotation.bbox} is x, y, width, height; both sizes must exceed 0")


def _objects(annotations: Sequence[_CocoAnnotation], number_of: Callable[[int], int]) -> TrueBoxes:
    boxes = np.array([annotation.bbox for annotation in annotations], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return TrueBoxes(
        boxes,
        np.array([number_of(annotation.category_id) for annotation in annotations], np.int64),
        np.array([annotation.iscrowd for annotation in annotations], np.bool_),
    )


def _listed(reader: _Reader) -> dict[str, ImageRecord]:
    is_csv = reader.base + CSV_FILE in reader.folder.sizes
    where = CSV_FILE if is_csv else JSON_FILE
    pairs = _csv_pairs(reader) if is_csv else _json_pairs(reader)
    numbers = _numbers(reader, sorted({label for _, label in pairs}), where)
    records: dict[str, ImageRecord] = {}
    for file, label in pairs:
        name = reader.image(file, where)
        if name in records:
            raise reader.invalid(where, f"the image {file[:200]!r} is listed twice")
        records[name] = ImageRecord(name, label=numbers[label])
    return records


def _csv_pairs(reader: _Reader) -> list[tuple[str, str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(reader.text(CSV_FILE).decode("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise reader.invalid(CSV_FILE, "it is no CSV text in UTF-8") from error
    pairs = []
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or not row[1].strip():
            raise reader.invalid(CSV_FILE, f"row {number} is {row[:4]}; every row is file,label")
        pairs.append((row[0].strip(), row[1].strip()))
    return pairs[1:] if pairs and pairs[0] == ("file", "label") else pairs


def _json_pairs(reader: _Reader) -> list[tuple[str, str]]:
    try:
        labels = TypeAdapter(dict[str, str | int]).validate_json(reader.text(JSON_FILE))
    except ValidationError as error:
        raise reader.invalid(JSON_FILE, _first_error(error)) from error
    return [(file, str(label)) for file, label in labels.items()]


def _masked(reader: _Reader, pictures: Sequence[str]) -> dict[str, ImageRecord]:
    by_stem = {_stem(name.removeprefix(reader.base + IMAGES_FOLDER)): name for name in pictures}
    records: dict[str, ImageRecord] = {}
    for mask in sorted(name for name in reader.files if name.startswith(reader.base + MASKS_FOLDER)):
        stem = _stem(mask.removeprefix(reader.base + MASKS_FOLDER))
        if stem not in by_stem:
            raise reader.invalid(mask, f"there is no image {IMAGES_FOLDER}{stem} for this mask")
        records[by_stem[stem]] = ImageRecord(by_stem[stem], mask=mask)
    return records


def _foldered(reader: _Reader, pictures: Sequence[str]) -> dict[str, ImageRecord]:
    """Folders are classes where there are several, or where the task knows the name of the only one."""
    folders = {name: name.removeprefix(reader.base).rpartition("/")[0] for name in pictures}
    classes = sorted(set(folders.values()))
    are_classes = len(classes) > 1 or (len(classes) == 1 and classes[0] in reader.names)
    if not are_classes:
        return {}
    numbers = _numbers(reader, [name for name in classes if name], "the folders")
    return {name: ImageRecord(name, label=numbers[folder] if folder else None) for name, folder in folders.items()}


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place + ': ' if place else ''}{first['msg']}"


def _invalid(shown: str, what: str) -> ConversionFailure:
    return ConversionFailure(Reason.DATASET_INVALID, f"dataset {shown}, {what}")
