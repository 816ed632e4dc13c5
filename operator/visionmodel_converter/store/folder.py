"""Artifacts as folders on a disk or a mounted claim: `<root>/prepare-<key>/{model.onnx,report.json,provenance.json}`.

Written under another name and renamed, so a folder under its key is complete. A writer that is killed leaves a folder
whose name begins with a dot, which nothing reads.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.report import FullReport, artifact_info
from visionmodel_converter.store.image import (
    ARTIFACT_FILES,
    MODEL_FILE,
    REPORT_FILE,
    build_layer,
    sha256_of_file,
)
from visionmodel_converter.store.published import NO_PICTURES, Pictures, Published, tag_of, write_files


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Artifacts below one folder, which is made when it is not there."""

    root: Path

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self.root)

    def find(self, key: str, target: Path) -> Published | None:
        """As `ArtifactStore.find`; the files stay where they are, `target` takes what the digest is computed from.

        Raises ArtifactCorrupt.
        """
        folder = self.root / tag_of(key)
        if not folder.is_dir():
            return None
        missing = [name for name in ARTIFACT_FILES if not (folder / name).is_file()]
        if missing:
            raise _corrupt(folder, f"lacks {', '.join(missing)}")
        try:
            report = FullReport.model_validate_json((folder / REPORT_FILE).read_bytes())
        except ValidationError as error:
            raise _corrupt(folder, f"holds a report.json that cannot be read: {first_line(error)}") from error
        model = folder / MODEL_FILE
        if report.key != key or sha256_of_file(model) != report.model_digest:
            raise _corrupt(folder, f"holds another artifact ({report.key})")
        for name, digest in report.pictures.items():
            if not (folder / name).is_file() or sha256_of_file(folder / name) != digest:
                raise _corrupt(folder, f"lacks {name} as it was published")
        target.mkdir(parents=True, exist_ok=True)
        names = (*ARTIFACT_FILES, *report.pictures)
        layer = build_layer({name: folder / name for name in names}, target / "layer.tar")
        info = artifact_info(
            report, image=folder.as_uri(), digest=layer.digest, report_digest=sha256_of_file(folder / REPORT_FILE)
        )
        return Published(info=info, report=report, model=model)

    def publish(
        self,
        *,
        model: Path,
        report: FullReport,
        provenance: dict[str, Any],
        work: Path,
        pictures: Pictures = NO_PICTURES,
    ) -> tuple[Published, bool]:
        """As `ArtifactStore.publish`: of two that publish one key at once, the first to rename wins."""
        self.root.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=self.root, prefix=".staging-"))
        try:
            copy = Path(shutil.copyfile(model, staging / MODEL_FILE))
            files = write_files(staging, model=copy, report=report, provenance=provenance, pictures=pictures)
            _to_disk(files.values())
            staging.chmod(0o755)
            was_there = not _renamed(staging, self.root / tag_of(report.key))
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        published = self.find(report.key, work / "published")
        assert published is not None  # it was renamed into place, or was there
        return published, was_there


def _to_disk(files: Iterable[Path]) -> None:
    """A rename may reach the disk before the bytes that it makes visible; after a power cut they would be missing."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _renamed(staging: Path, final: Path) -> bool:
    try:
        staging.rename(final)
    except OSError:
        if final.is_dir():
            return False
        raise
    return True


def _corrupt(folder: Path, what: str) -> ConversionFailure:
    return ConversionFailure(Reason.ARTIFACT_CORRUPT, f"{folder} {what}; delete that folder and convert again")
