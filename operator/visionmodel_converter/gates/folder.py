"""The files of a dataset in a folder of ours, by their plain names; one is read at a time."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from visionmodel_converter.failures import ConversionFailure, Reason


@dataclass(frozen=True, slots=True)
class Folder:
    """Regular files below a folder.

    Attributes:
        path: the folder.
        shown: what messages call the dataset.
        sizes: bytes of each file by its name, with `/` between its parts.
    """

    path: Path
    shown: str
    sizes: Mapping[str, int]

    def read(self, name: str, limit: int) -> bytes:
        """Return at most `limit` bytes of a file."""
        with (self.path / name).open("rb") as file:
            return file.read(limit)


def open_folder(path: Path, *, shown: str) -> Folder:
    """List a folder's files. Raises DatasetInvalid for a link or a device, which nothing below it needs."""
    sizes: dict[str, int] = {}
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(parent) / name
            plain = entry.relative_to(path).as_posix()
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise ConversionFailure(
                    Reason.DATASET_INVALID,
                    f"dataset {shown}: {plain!r} is a link or no regular file; put the file itself there",
                )
            if entry.is_file():
                sizes[plain] = entry.stat().st_size
    return Folder(path, shown, sizes)


def common_root(names: Iterable[str]) -> str:
    """Return the one folder that holds every file, with its slash, or an empty text."""
    roots = {name.partition("/")[0] if "/" in name else "" for name in names}
    return f"{roots.pop()}/" if len(roots) == 1 and "" not in roots else ""
