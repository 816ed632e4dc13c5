"""Open a dataset, whatever it is: tensors in an `.npz`, or images in a `.zip`, `.tar`, `.tar.gz` or a folder."""

import shutil
import zipfile
from pathlib import Path
from typing import Final

from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.arrays import load_arrays
from visionmodel_converter.gates.folder import Folder, open_folder
from visionmodel_converter.gates.images import load_images
from visionmodel_converter.gates.samples import Samples
from visionmodel_converter.sources.archive import Limits, unpack

MAX_FILES: Final = 200_000
LONGEST_DIRECTORY: Final = 32 * 1024 * 1024
"""Of a zip with that many files."""
GZIP_MAGIC: Final = b"\x1f\x8b"


def load_samples(
    path: Path,
    specs: tuple[TensorSpec, ...],
    *,
    task: ImageTask | None,
    shown: str,
    max_bytes: int,
    max_unpacked_bytes: int | None = None,
    limit: int | None = None,
) -> Samples:
    """Return the samples of a file or folder; images are read when they are asked for.

    Args:
        path: told apart by its content, never by its name; an archive is unpacked into a folder beside it.
        specs: the model's inputs, which every sample must fit.
        task: how images become the input; without it only tensors can be read.
        shown: what messages call the dataset.
        max_bytes: bound of what it unpacks to, be it into memory as an `.npz` or onto the disk as an archive.
        max_unpacked_bytes: a smaller one for the disk alone, where less is left there; None for none.
        limit: at most so many samples, evenly spread over the dataset; None for all.

    Raises:
        ConversionFailure: DatasetInvalid, or BadRequest for a task that does not fit the model.
    """
    if path.is_file() and _is_npz(path):
        return load_arrays(path, specs, shown=shown, max_bytes=max_bytes, limit=limit)
    if path.is_dir():
        folder = open_folder(path, shown=shown)
    else:
        folder = _unpacked(path, shown, max_bytes if max_unpacked_bytes is None else max_unpacked_bytes)
    return load_images(folder, specs, task=task, limit=limit)


def _is_npz(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith(".npy") for name in file.namelist())
    except zipfile.BadZipFile:
        return False


def _unpacked(path: Path, shown: str, max_bytes: int) -> Folder:
    target = path.with_name(f"{path.name}.unpacked")
    shutil.rmtree(target, ignore_errors=True)  # of another file under this name
    limits = Limits(max_bytes, max_files=MAX_FILES, longest_read=LONGEST_DIRECTORY)
    try:
        unpack(path, target, kind=_kind(path), shown=shown, limits=limits)
    except ConversionFailure as failure:
        shutil.rmtree(target, ignore_errors=True)
        # the sentence is right, the reason would blame the model
        raise ConversionFailure(
            Reason.DATASET_INVALID,
            f"dataset {failure.message}; a dataset is an .npz written by numpy.savez_compressed, or a .zip, .tar or "
            ".tar.gz of images",
        ) from failure
    return open_folder(target, shown=shown)


def _kind(path: Path) -> str:
    if zipfile.is_zipfile(path):
        return "zip"
    with path.open("rb") as file:
        return "tar.gz" if file.read(len(GZIP_MAGIC)) == GZIP_MAGIC else "tar"
