"""A published artifact as a value, and its documents as text; shared by all stores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from visionmodel_contract.artifact import PLAN_FILE
from visionmodel_contract.report import ArtifactInfo
from visionmodel_converter.report import FullReport
from visionmodel_converter.store.image import MODEL_FILE, PROVENANCE_FILE, REPORT_FILE

CACHE_FILE: Final = "cache"
MAX_CACHE_BYTES: Final = 64 * 1024**2
"""Of one cache; one is read into memory as a whole."""
Pictures = Mapping[str, bytes]
"""Some of the contract's `PICTURE_FILES`; their digests are in the report."""
NO_PICTURES: Final[Pictures] = {}


@dataclass(frozen=True, slots=True)
class Published:
    """A complete artifact in a store and its files on local disk."""

    info: ArtifactInfo
    report: FullReport
    model: Path

    @property
    def model_file(self) -> str:
        """The name that the model has in the store."""
        return model_file_of(self.report)


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """Some files that were published under one name: where, and each on local disk by its name."""

    image: str
    digest: str
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Use:
    """The last publication or lookup of an entry.

    Attributes:
        time: when, to the second in some stores.
        mark: differs from that of every other use.
    """

    time: datetime
    mark: str


def write_files(
    folder: Path, *, model: Path, report: FullReport, provenance: dict[str, Any], pictures: Pictures
) -> dict[str, Path]:
    """Write what lies beside the model into a folder; returns every file of the artifact by its name."""
    content = {
        REPORT_FILE: report.to_json().encode(),
        PROVENANCE_FILE: provenance_text(provenance).encode(),
        **pictures,
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return {model_file_of(report): model, **{name: folder / name for name in content}}


def model_file_of(report: FullReport) -> str:
    """Return the name of the file that a report is about."""
    return MODEL_FILE if report.engine is None else PLAN_FILE


def provenance_text(statement: dict[str, Any]) -> str:
    """Return the one text of a provenance statement."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"))
