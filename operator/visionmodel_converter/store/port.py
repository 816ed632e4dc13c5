"""What every store of artifacts can do: tell whether a key is there, publish one completely or not at all, remove one.

Publishing leaves a mark of its time before anything else is written, and a lookup that finds an entry leaves one before
it reads: a Job may have found an artifact that no status names yet. Removal first hides an entry and then looks at the
mark once more, so that whoever found it is either seen by the removal or finds nothing. The names of entries are those
of `entries`. (Whatever is below `write_cache` is called by `collection` alone.)
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from visionmodel_converter.report import FullReport
from visionmodel_converter.store.entries import Entry
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
        """Return the files that were published under the name of another entry; None when absent.

        Raises ArtifactCorrupt where other files lie there.
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

    def entries(self) -> Iterable[Entry]:
        """Return every entry of which the store has anything, complete or left behind."""

    def last_used(self, name: str) -> Use | None:
        """Return when an entry was last published or looked up; None where no mark tells."""

    def mark(self, name: str) -> None:
        """Leave a mark of now on an entry that is there."""

    def digests(self, name: str) -> frozenset[str]:
        """Return every digest by which a pod may have been given what lies under a name."""

    def remove(self, name: str, seen: Use) -> bool:
        """Remove what is there under a name whose last use was `seen`; False, and it stays, when it was used since."""

    def remove_leftovers(self, before: datetime, *, dry_run: bool) -> Iterable[str]:
        """Remove what killed or slower publishers left before a time and no entry needs; returns its names."""
