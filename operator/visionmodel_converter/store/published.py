"""A published artifact as a value, and its documents as text; shared by all stores."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionmodel_contract.report import ArtifactInfo
from visionmodel_converter.report import FullReport


@dataclass(frozen=True, slots=True)
class Published:
    """A complete artifact in a store and its files on local disk."""

    info: ArtifactInfo
    report: FullReport
    model: Path


def tag_of(key: str) -> str:
    """Return the name under which the artifact of a prepare key is published."""
    return f"prepare-{key}"


def provenance_text(statement: dict[str, Any]) -> str:
    """Return the one text of a provenance statement."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"))
