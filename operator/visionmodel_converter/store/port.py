"""What every store of artifacts can do: tell whether a key is there, publish one completely or not at all, remove one.

A lookup that finds an artifact leaves a mark of its time, before it reads: a Job may have found an artifact that no
status names yet. Removal first hides an artifact and then looks at the mark once more, so that whoever found it is
either seen by the removal or finds nothing. (Removal is called by `collection` alone.)
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from visionmodel_converter.report import FullReport
from visionmodel_converter.store.published import NO_PICTURES, Pictures, Published, StoredFiles, Use


class ArtifactStore(Protocol):
    """Artifacts by key. What is published under a key never changes."""

    @property
    def shown(self) -> str:
        """What messages call the store."""

    def find(self, key: str, target: Path) -> Published | None:
        """Return the artifact of a key, verified, with its files in `target` or where they are; None when absent.

        Raises ArtifactCorrupt where a byte of it is not what was published.
        """

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

    def find_files(self, name: str, files: Sequence[str], target: Path) -> StoredFiles | None:
        """Return the files that were published under a name other than an artifact's; None when absent.

        Raises ArtifactCorrupt where other files lie there. Collection leaves them alone.
        """

    def publish_files(self, name: str, files: Mapping[str, Path], work: Path) -> StoredFiles:
        """Publish files completely or not at all; returns those of whoever was first."""

    def read_cache(self, name: str, work: Path) -> bytes | None:
        """Return the bytes that were last written under a name of caches; None where there are none.

        Raises ArtifactCorrupt where there are more of them than `MAX_CACHE_BYTES`.
        """

    def write_cache(self, name: str, content: bytes, work: Path) -> None:
        """Put bytes under a name in place of what is there, completely or not at all; of two at once either may stay.

        The one thing in a store that changes: nothing may depend on it. A registry that lets no tag be moved keeps the
        first and raises RegistryUnavailable. Collection leaves caches alone.
        """

    def all_keys(self) -> Iterable[str]:
        """Return every key of which the store has anything, complete or left behind."""

    def last_used(self, key: str) -> Use | None:
        """Return when the key was last published, looked up or written to; None where nothing tells."""

    def remove(self, key: str, seen: Use) -> bool:
        """Remove what is there of a key whose last use was `seen`; False, and it stays, when it was used since."""

    def remove_leftovers(self, before: datetime, *, dry_run: bool) -> Iterable[str]:
        """Remove what killed or slower publishers left before a time and no artifact needs; returns its names."""
