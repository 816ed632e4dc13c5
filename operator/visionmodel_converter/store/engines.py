"""Engines in any store: files under `engine-<key>` beside the artifacts, complete or not there as those are."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from visionmodel_contract.artifact import PLAN_FILE
from visionmodel_converter.failures import ConversionFailure, Reason, validation_words
from visionmodel_converter.report import FullReport, artifact_info
from visionmodel_converter.store.entries import ENGINE
from visionmodel_converter.store.image import ENGINE_FILES, REPORT_FILE, sha256_of_file
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import NO_PICTURES, Published, StoredFiles, write_files


def find_engine(store: ArtifactStore, key: str, target: Path) -> Published | None:
    """Return the engine of a key, verified; None when absent. Raises ArtifactCorrupt."""
    stored = store.find_files(ENGINE.name(key), ENGINE_FILES, target)
    return None if stored is None else _published(key, stored)


def publish_engine(
    store: ArtifactStore, *, plan: Path, report: FullReport, provenance: dict[str, Any], work: Path
) -> tuple[Published, bool]:
    """Publish an engine; returns it and whether somebody else had published other bytes under its key meanwhile."""
    files = write_files(work, model=plan, report=report, provenance=provenance, pictures=NO_PICTURES)
    published = _published(report.key, store.publish_files(ENGINE.name(report.key), files, work))
    return published, published.info.report_digest != sha256_of_file(files[REPORT_FILE])


def _published(key: str, stored: StoredFiles) -> Published:
    plan, document = stored.files[PLAN_FILE], stored.files[REPORT_FILE]
    try:
        report = FullReport.model_validate_json(document.read_bytes())
    except ValidationError as error:
        raise _corrupt(stored, f"its report.json cannot be read: {validation_words(error)}") from error
    if report.engine is None or report.key != key or report.model_digest != sha256_of_file(plan):
        raise _corrupt(stored, f"it holds another artifact ({report.key})")
    info = artifact_info(report, image=stored.image, digest=stored.digest, report_digest=sha256_of_file(document))
    return Published(info=info, report=report, model=plan)


def _corrupt(stored: StoredFiles, what: str) -> ConversionFailure:
    return ConversionFailure(Reason.ARTIFACT_CORRUPT, f"{stored.image} is damaged, {what}; delete it and retry")
