"""Artifacts as folders on a disk or a mounted claim: `<root>/prepare-<key>/{model.onnx,artifact.json,...}`.

Written under another name and renamed, so a folder under its key is complete; of two renames the file system lets one
win, on a claim that many nodes write to as well. A writer that is killed leaves a folder whose name begins with a dot,
which nothing reads. The time of the last use is the folder's own.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.report import FullReport
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
    key_of,
    tag_of,
    write_files,
)

STAGING: Final = ".staging-"
REMOVED: Final = ".removed-"


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
        folder = self.root / tag_of(key)
        try:
            with self._translated():
                os.utime(folder)
        except FileNotFoundError:
            return None
        try:
            try:
                return self._verified(key, folder)
            except FileNotFoundError:  # a removal may have hidden it, seen our use and brought it back
                return self._verified(key, folder)
        except (FileNotFoundError, ValueError) as error:
            if not folder.is_dir():  # removed meanwhile, as unneeded
                return None
            raise _damaged(self._place(tag_of(key)), error) from error

    def _verified(self, key: str, folder: Path) -> Published:
        data, files = self._read(folder, ARTIFACT_FILES)
        with self._translated():
            return published_of(key, data, files, self._place(tag_of(key)))

    def _read(self, folder: Path, names: Sequence[str]) -> tuple[bytes, dict[str, Path]]:
        """Return the index and the files that it names. Raises FileNotFoundError, or ValueError where one differs."""
        with self._translated():
            data = (folder / INDEX_FILE).read_bytes()
            files = parsed_index(data, names).files
            for name, stored in files.items():
                if sha256_of_file(folder / name) != stored.digest:
                    raise ValueError(f"{name} is not what was published")
        return data, {name: folder / name for name in files}

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
        with self._staging() as staging:
            copy = Path(shutil.copyfile(model, staging / MODEL_FILE))
            write_files(staging, model=copy, report=report, provenance=provenance, pictures=pictures)
            was_there = not _renamed(staging, self.root / tag_of(report.key), report.key)
        published = self.find(report.key, work / "published")
        if published is None:
            raise ConversionFailure(
                Reason.STORE_UNAVAILABLE,
                f"{self._place(tag_of(report.key))} was removed as it was published; the Job tries again",
            )
        return published, was_there

    def find_files(self, name: str, files: Sequence[str], target: Path) -> StoredFiles | None:
        """As `ArtifactStore.find_files`; the files stay where they are."""
        folder, place = self.root / name, self._place(name)
        if not folder.is_dir():
            return None
        try:
            data, stored = self._read(folder, files)
        except (FileNotFoundError, ValueError) as error:
            raise _damaged(place, error) from error
        return StoredFiles(place, sha256_of(data), stored)

    def publish_files(self, name: str, files: Mapping[str, Path], work: Path) -> StoredFiles:
        """As `ArtifactStore.publish_files`: the first to rename wins."""
        with self._staging() as staging:
            for file, path in files.items():
                shutil.copyfile(path, staging / file)
            _renamed(staging, self.root / name, name)
        stored = self.find_files(name, tuple(files), work)
        assert stored is not None  # it was renamed into place, or was there
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

    def all_keys(self) -> Iterable[str]:
        """As `ArtifactStore.all_keys`."""
        with self._translated():
            names = sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []
        return [key for name in names if (key := key_of(name)) is not None]

    def last_used(self, key: str) -> Use | None:
        """As `ArtifactStore.last_used`: when the folder was made or looked up."""
        return self._use_of(self.root / tag_of(key))

    def _use_of(self, path: Path) -> Use | None:
        try:
            with self._translated():
                status = path.stat()
        except FileNotFoundError:
            return None
        return Use(datetime.fromtimestamp(status.st_mtime, UTC), str(status.st_mtime_ns))

    def remove(self, key: str, seen: Use) -> bool:
        """As `ArtifactStore.remove`: renamed first, so that nobody finds half of it."""
        folder = self.root / tag_of(key)
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
                uses = [self._use_of(one) for one in (path, *path.iterdir())]
        except FileNotFoundError:  # another collection was faster
            return False
        return all(use is not None and use.time < time for use in uses)

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
    _to_disk(staging)
    staging.chmod(0o755)
    try:
        staging.rename(final)
    except OSError:
        if final.is_dir():
            return False
        raise
    return True
