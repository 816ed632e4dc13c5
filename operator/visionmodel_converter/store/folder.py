"""Artifacts as folders on a disk or a mounted claim: `<root>/prepare-<key>/{model.onnx,artifact.json,...}`.

Written under another name and renamed, so a folder under its key is complete; of two renames the file system lets one
win, on a claim that many nodes write to as well. A writer that is killed leaves a folder whose name begins with a dot,
which nothing reads. The time of the last use is that of the empty file `.used` in the folder. Engines and exports lie
beside the artifacts, each kind under its own names.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.report import FullReport
from visionmodel_converter.store.entries import PREPARED, Entry, entry_of
from visionmodel_converter.store.image import ARTIFACT_FILES, MODEL_FILE, sha256_of, sha256_of_file
from visionmodel_converter.store.index import INDEX_FILE, index_bytes, parsed_index, published_of
from visionmodel_converter.store.published import (
    CACHE_FILE,
    MAX_CACHE_BYTES,
    NO_PICTURES,
    Pictures,
    Published,
    StoredFiles,
    Use,
    write_files,
)

STAGING: Final = ".staging-"
REMOVED: Final = ".removed-"
USED: Final = ".used"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Artifacts below one folder, which is made when it is not there.

    Attributes:
        uri: what artifacts are named by; the folder's own where it is unset.
    """

    root: Path
    uri: str | None = None

    @property
    def shown(self) -> str:
        """The folder, or what it is mounted as."""
        return self.uri or str(self.root)

    def find(self, key: str, target: Path) -> Published | None:
        """As `ArtifactStore.find`; the files stay where they are."""
        name = PREPARED.name(key)

        def read() -> Published:
            data, files = self._read(name, ARTIFACT_FILES)
            with self._translated():
                return published_of(key, data, files, self._place(name))

        return self._looked_up(name, read)

    def _looked_up(self, name: str, read: Callable[[], T]) -> T | None:
        """Return what is read of an entry once it is marked; None when absent, or removed meanwhile as unneeded."""
        if not self._marked(name):
            return None
        try:
            try:
                return read()
            except FileNotFoundError:  # a removal may have hidden it, seen our use and brought it back
                return read()
        except (FileNotFoundError, ValueError) as error:
            if not (self.root / name).is_dir():
                return None
            raise _damaged(self._place(name), error) from error

    def _marked(self, name: str) -> bool:
        """Mark an entry as used; returns whether it is there."""
        try:
            with self._translated():
                (self.root / name / USED).touch()
        except FileNotFoundError:
            return False
        return True

    def _read(self, name: str, names: Sequence[str]) -> tuple[bytes, dict[str, Path]]:
        """Return the index and the files that it names. Raises FileNotFoundError, or ValueError where one differs."""
        folder = self.root / name
        with self._translated():
            data = (folder / INDEX_FILE).read_bytes()
            files = parsed_index(data, names).files
            for file, stored in files.items():
                if sha256_of_file(folder / file) != stored.digest:
                    raise ValueError(f"{file} is not what was published")
        return data, {file: folder / file for file in files}

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
        name = PREPARED.name(report.key)
        with self._staging() as staging:
            copy = Path(shutil.copyfile(model, staging / MODEL_FILE))
            write_files(staging, model=copy, report=report, provenance=provenance, pictures=pictures)
            was_there = not _renamed(staging, self.root / name, report.key)
        published = self.find(report.key, work / "published")
        if published is None:
            raise self._gone_again(name)
        return published, was_there

    def _gone_again(self, name: str) -> ConversionFailure:
        return ConversionFailure(
            Reason.STORE_UNAVAILABLE, f"{self._place(name)} was removed as it was published; the Job tries again"
        )

    def find_files(self, name: str, files: Sequence[str], target: Path) -> StoredFiles | None:
        """As `ArtifactStore.find_files`; the files stay where they are."""

        def read() -> StoredFiles:
            data, stored = self._read(name, files)
            return StoredFiles(self._place(name), sha256_of(data), stored)

        return self._looked_up(name, read)

    def publish_files(self, name: str, files: Mapping[str, Path], work: Path) -> StoredFiles:
        """As `ArtifactStore.publish_files`: the first to rename wins."""
        with self._staging() as staging:
            for file, path in files.items():
                shutil.copyfile(path, staging / file)
            _renamed(staging, self.root / name, name)
        stored = self.find_files(name, tuple(files), work)
        if stored is None:
            raise self._gone_again(name)
        return stored

    def read_cache(self, name: str, work: Path) -> bytes | None:
        """As `ArtifactStore.read_cache`: a file beside the artifacts' folders."""
        try:
            with self._translated(), (self.root / name).open("rb") as file:
                content = file.read(MAX_CACHE_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(content) > MAX_CACHE_BYTES:
            raise _damaged(self._place(name), ValueError(f"it has more than {MAX_CACHE_BYTES} bytes"))
        return content

    def write_cache(self, name: str, content: bytes, work: Path) -> None:
        """As `ArtifactStore.write_cache`: written beside it, then renamed over what is there."""
        with self._staging() as staging:
            path = staging / CACHE_FILE
            path.write_bytes(content)
            _to_disk(staging)
            path.replace(self.root / name)

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """Yield a folder that nothing reads, to be filled and renamed; it is gone afterwards."""
        with self._translated():
            self.root.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=self.root, prefix=STAGING))
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def entries(self) -> Iterable[Entry]:
        """As `ArtifactStore.entries`."""
        with self._translated():
            names = sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []
        return [entry for name in names if (entry := entry_of(name)) is not None]

    def last_used(self, name: str) -> Use | None:
        """As `ArtifactStore.last_used`."""
        return self._use_of(self.root / name)

    def _use_of(self, folder: Path) -> Use | None:
        """Return what the mark in a folder tells; versions of ours that knew none touched the folder itself."""
        times = [self._time_of(path) for path in (folder / USED, folder)]
        known = [time for time in times if time is not None]
        if len(known) < len(times):
            return None
        return Use(datetime.fromtimestamp(max(known) / 1e9, UTC), " ".join(map(str, known)))

    def _time_of(self, path: Path) -> int | None:
        """Return when a file or folder was changed, in nanoseconds; None when absent."""
        try:
            with self._translated():
                return path.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def mark(self, name: str) -> None:
        """As `ArtifactStore.mark`."""
        self._marked(name)

    def digests(self, name: str) -> frozenset[str]:
        """As `ArtifactStore.digests`: of the index."""
        try:
            with self._translated():
                return frozenset({sha256_of((self.root / name / INDEX_FILE).read_bytes())})
        except FileNotFoundError:
            return frozenset()

    def remove(self, name: str, seen: Use) -> bool:
        """As `ArtifactStore.remove`: renamed first, so that nobody finds half of it."""
        folder = self.root / name
        with self._translated():
            hidden = Path(tempfile.mkdtemp(dir=self.root, prefix=REMOVED))
            try:
                folder.rename(hidden)
            except FileNotFoundError:
                hidden.rmdir()
                return False
            if self._use_of(hidden) != seen:
                try:
                    hidden.rename(folder)
                    return False
                except OSError:
                    if not folder.is_dir():
                        raise
                    # made again meanwhile, by one that found nothing
            shutil.rmtree(hidden)
        return True

    def remove_leftovers(self, before: datetime, *, dry_run: bool) -> Iterable[str]:
        """As `ArtifactStore.remove_leftovers`: folders of publishers, or of removals, that were killed."""
        with self._translated():
            names = self.root.iterdir() if self.root.is_dir() else ()
            found = [path for path in names if path.name.startswith((STAGING, REMOVED))]
        for path in sorted(found):
            if self._is_older(path, before):
                if not dry_run:
                    shutil.rmtree(path, ignore_errors=True)  # what stays is found again
                yield f"{self.shown}/{path.name}"

    def _is_older(self, path: Path, time: datetime) -> bool:
        try:
            with self._translated():
                changes = [self._time_of(one) for one in (path, *path.iterdir())]
        except FileNotFoundError:  # another collection was faster
            return False
        return all(change is not None and change < time.timestamp() * 1e9 for change in changes)

    def _place(self, name: str) -> str:
        return f"{self.uri.rstrip('/')}/{name}" if self.uri else (self.root / name).as_uri()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Tell refusal and a full or lost disk apart from damage; absence is the caller's to judge."""
        try:
            yield
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise ConversionFailure(
                Reason.STORE_FORBIDDEN,
                f"{self.shown} refuses to be written ({first_line(error)}); artifacts need a folder that the "
                "converter's user (1000 in Jobs) or its group may write",
            ) from error
        except OSError as error:
            raise ConversionFailure(
                Reason.STORE_UNAVAILABLE, f"{self.shown} cannot be used, the Job tries again: {first_line(error)}"
            ) from error


def _damaged(place: str, error: FileNotFoundError | ValueError) -> ConversionFailure:
    what = f"it lacks {Path(error.filename).name}" if isinstance(error, FileNotFoundError) else str(error)
    return ConversionFailure(
        Reason.ARTIFACT_CORRUPT, f"{place} is damaged, {what}; delete that folder and convert again"
    )


def _to_disk(folder: Path) -> None:
    """A rename may reach the disk before the bytes that it makes visible; after a power cut they would be missing."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _renamed(staging: Path, final: Path, key: str) -> bool:
    """Complete what was staged and let it appear; returns whether it did, or somebody else's was there."""
    data = index_bytes(key, {path.name: path for path in staging.iterdir()})
    (staging / INDEX_FILE).write_bytes(data)
    (staging / USED).touch()
    _to_disk(staging)
    staging.chmod(0o755)
    try:
        staging.rename(final)
    except OSError:
        if final.is_dir():
            return False
        raise
    return True
