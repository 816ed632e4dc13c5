"""What every store of artifacts can do: tell whether a key is there, and publish one completely or not at all."""

from pathlib import Path
from typing import Any, Protocol

from visionmodel_converter.report import FullReport
from visionmodel_converter.store.published import NO_PICTURES, Pictures, Published


class ArtifactStore(Protocol):
    """Artifacts by key. What is published under a key never changes."""

    @property
    def shown(self) -> str:
        """What messages call the store."""

    def find(self, key: str, target: Path) -> Published | None:
        """Return the artifact of a key, verified, with its files in `target` or where they are; None when absent."""

    def publish(
        self,
        *,
        model: Path,
        report: FullReport,
        provenance: dict[str, Any],
        work: Path,
        pictures: Pictures = NO_PICTURES,
    ) -> tuple[Published, bool]:
        """Publish an artifact; returns it and whether somebody else had published the same key meanwhile."""
