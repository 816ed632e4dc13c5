"""Datasets meet the limits of what they take: tensors of memory, archives of the scratch folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unit.converter.gates.archives import IMAGE_INPUT, image_task, picture, stored, zip_bytes
from unit.converter.tiny_models import npz
from visionmodel_converter.data import DataReader, DataSource
from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.data_checks import Role
from visionmodel_converter.sources.fetch import DEFAULT_RETRY, Fetched
from visionmodel_converter.storage import Storage

SPACE = 4096
"""What is left on the disk; the data below unpack to more."""


def read(folder: Path, data: bytes, *, most: int) -> int:
    """Read data that was fetched already; returns the number of samples."""
    path = stored(folder, data)
    storage = Storage((folder,), limit_bytes=Storage((folder,)).used_bytes() + SPACE)
    environment = replace(environment_from({}), max_dataset_bytes=most)
    reader = DataReader(folder, environment, storage, DEFAULT_RETRY)
    file = Fetched(path, "sha256:" + "0" * 64, len(data), "s3://data/set")
    source = DataSource(file.uri, file.digest)
    return reader.read(Role.EVALUATION, source, IMAGE_INPUT, task=image_task(), file=file).checked.samples.count


def test_tensors_take_nothing_of_the_disk(tmp_path: Path) -> None:
    tensors = npz(input_x=np.zeros((8, 3, 8, 8), np.float32))
    assert read(tmp_path, tensors, most=10**6) == 8
    with pytest.raises(ConversionFailure, match="the limits are 6000 bytes") as refusal:
        read(tmp_path, tensors, most=6000)
    assert refusal.value.reason is Reason.DATASET_INVALID


def test_an_archive_has_to_fit_onto_the_disk(tmp_path: Path) -> None:
    images = {f"{index}.png": picture() + b"\0" * SPACE for index in range(2)}
    with pytest.raises(ConversionFailure, match="more than the 4 KiB of scratch space") as refusal:
        read(tmp_path, zip_bytes(images), most=10**6)
    assert refusal.value.reason is Reason.STORAGE_EXCEEDED
