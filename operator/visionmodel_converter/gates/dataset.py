"""Open a dataset, whatever it is: tensors in an `.npz`, or images in a `.zip`, `.tar` or `.tar.gz`."""

import zipfile
from pathlib import Path

from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.gates.archive import open_archive
from visionmodel_converter.gates.arrays import load_arrays
from visionmodel_converter.gates.images import load_images
from visionmodel_converter.gates.samples import Samples


def load_samples(
    path: Path,
    specs: tuple[TensorSpec, ...],
    *,
    task: ImageTask | None,
    shown: str,
    max_bytes: int,
    limit: int | None = None,
) -> Samples:
    """Return the samples of a file; images are read when they are asked for.

    Args:
        path: the file, told apart by its content, never by its name.
        specs: the model's inputs, which every sample must fit.
        task: how images become the input; without it only tensors can be read.
        shown: what messages call the file.
        max_bytes: bound of what it unpacks to.
        limit: at most so many samples, evenly spread over the file; None for all.

    Raises:
        ConversionFailure: DatasetInvalid, UnsafeArchive, or BadRequest for a task that does not fit the model.
    """
    if _is_npz(path):
        return load_arrays(path, specs, shown=shown, max_bytes=max_bytes, limit=limit)
    archive = open_archive(path, shown=shown, max_bytes=max_bytes)
    return load_images(archive, specs, task=task, limit=limit)


def _is_npz(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith(".npy") for name in file.namelist())
    except zipfile.BadZipFile:
        return False
