"""Artifacts in object storage: `<prefix>/prepare-<key>/artifact.json` names the files of one publication beside it.

The files of each publisher go into a folder of its own; the index is put last, and only where there is none, which the
store itself decides. So an artifact is complete or not there, and of two publishers the first one stays. What a killed
or slower one put is named by no index. An object `used`, a publisher's first, carries the time of the last use, and
holds a name that no other use has, since times may be whole seconds. Engines and exports lie beside the artifacts, each
kind under its own names.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore

from visionmodel_contract.keys import digest_of
from visionmodel_converter.clouds.buckets import KINDS, Fault, Login, fault_of_error, open_bucket
from visionmodel_converter.clouds.patience import Retry
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.report import FullReport
from visionmodel_converter.store.entries import PREPARED, Entry, entry_of
from visionmodel_converter.store.image import ARTIFACT_FILES, CHUNK_BYTES, model_last, sha256_of
from visionmodel_converter.store.index import (
    INDEX_FILE,
    MAX_INDEX_BYTES,
    index_bytes,
    parsed_index,
    publication_of,
    published_of,
    write_verified,
)
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

if TYPE_CHECKING:
    from obstore import ObjectMeta

USED: Final = "used"
SECRET: Final = "the Secret of artifacts.objectStorage.secret"


@dataclass(frozen=True, slots=True)
class BucketStore:
    """Artifacts below a prefix of a bucket or container.

    Attributes:
        uri: of the prefix, without a slash at its end.
        prefix: the path in the bucket.
        new_name: gives each publication and each lookup a name that no other has.
    """

    bucket: ObjectStore
    uri: str
    prefix: str
    new_name: Callable[[], str] = lambda: uuid4().hex

    @property
    def shown(self) -> str:
        """The URI."""
        return self.uri

    def find(self, key: str, target: Path) -> Published | None:
        """As `ArtifactStore.find`."""
        name = PREPARED.name(key)
        data = self._marked(name)
        if data is None:
            return None
        with self._damage_told(name):
            return published_of(key, data, self._files(name, data, target), self._place(name))

    def fetch(self, name: str, digest: str, target: Path, files: Sequence[str]) -> None:
        """Write what was published under a name with this digest into a folder. Raises ArtifactCorrupt."""
        data = self._index(name)
        with self._damage_told(name):
            if data is None or sha256_of(data) != digest:
                raise ValueError(f"it is {'not there' if data is None else sha256_of(data)} instead of {digest}")
            self._files(name, data, target, files)

    def _marked(self, name: str) -> bytes | None:
        """Return the index under a name, marked as used; None when absent, or removed meanwhile as unneeded."""
        if self._index(name) is None:
            return None
        self._put_mark(name)
        return self._index(name)

    def _put_mark(self, name: str) -> None:
        self._put(self._at(name, USED), self.new_name().encode())

    def _index(self, name: str) -> bytes | None:
        return self._small(name, INDEX_FILE, MAX_INDEX_BYTES)

    def _small(self, name: str, file: str, most: int) -> bytes | None:
        """Return an object as a whole; None when absent. Raises ArtifactCorrupt for one that is larger."""
        try:
            with self._translated():
                found = obstore.get(self.bucket, self._at(name, file))
                if found.meta["size"] > most:
                    raise self._damage(name, f"its {file} has {found.meta['size']} bytes")
                return bytes(found.bytes())
        except FileNotFoundError:
            return None

    def _files(
        self, folder: str, data: bytes, target: Path, names: Sequence[str] = ARTIFACT_FILES
    ) -> Mapping[str, Path]:
        """Download and verify the files; each appears under its name only when all are there, the model last."""
        index = parsed_index(data, names)
        target.mkdir(parents=True, exist_ok=True)
        parts = {name: target / f".{name}.part" for name in index.files}
        for name, part in parts.items():
            path = self._at(folder, *((index.publication,) if index.publication else ()), name)
            try:
                with self._translated():
                    chunks = obstore.get(self.bucket, path).stream(min_chunk_size=CHUNK_BYTES)
                    write_verified(map(bytes, chunks), part, index.files[name])
            except FileNotFoundError as error:
                raise ValueError(f"it lacks {name}") from error
        return {name: parts[name].replace(target / name) for name in model_last(parts)}

    def publish(
        self,
        *,
        model: Path,
        report: FullReport,
        provenance: dict[str, Any],
        work: Path,
        pictures: Pictures = NO_PICTURES,
    ) -> tuple[Published, bool]:
        """As `ArtifactStore.publish`: the index is put where there is none, else theirs stays."""
        files = write_files(work, model=model, report=report, provenance=provenance, pictures=pictures)
        name = PREPARED.name(report.key)
        data = self._put_files(name, report.key, files)
        found = self.find(report.key, work / "published")
        if found is None:
            raise self._gone_again(name)
        return found, found.info.digest != sha256_of(data)

    def _put_files(self, name: str, key: str, files: Mapping[str, Path]) -> bytes:
        """Put a mark, the files, and the index where there is none; returns the index that was to be put."""
        publication = self.new_name()
        data = index_bytes(key, files, publication)
        self._put_mark(name)
        for file, path in files.items():
            self._put(self._at(name, publication, file), path)
        self._put(self._at(name, INDEX_FILE), data, mode="create")
        return data

    def _gone_again(self, name: str) -> ConversionFailure:
        return ConversionFailure(Reason.STORE_UNAVAILABLE, f"{self._place(name)} is gone again; the Job tries again")

    def find_files(self, name: str, files: Sequence[str], target: Path) -> StoredFiles | None:
        """As `ArtifactStore.find_files`."""
        data = self._marked(name)
        if data is None:
            return None
        with self._damage_told(name):
            return StoredFiles(self._place(name), sha256_of(data), self._files(name, data, target, files))

    def publish_files(self, name: str, files: Mapping[str, Path], work: Path) -> StoredFiles:
        """As `ArtifactStore.publish_files`: the index is put where there is none, else theirs stays."""
        self._put_files(name, name, files)
        found = self.find_files(name, tuple(files), work / "published")
        if found is None:
            raise self._gone_again(name)
        return found

    def read_cache(self, name: str, work: Path) -> bytes | None:
        """As `ArtifactStore.read_cache`."""
        return self._small(name, CACHE_FILE, MAX_CACHE_BYTES)

    def write_cache(self, name: str, content: bytes, work: Path) -> None:
        """As `ArtifactStore.write_cache`: a put replaces an object as a whole."""
        self._put(self._at(name, CACHE_FILE), content)

    def entries(self) -> Iterable[Entry]:
        """As `ArtifactStore.entries`."""
        with self._translated():
            folders = obstore.list_with_delimiter(self.bucket, self.prefix or None)["common_prefixes"]
        names = (folder.rstrip("/").rpartition("/")[2] for folder in folders)
        return [entry for name in names if (entry := entry_of(name)) is not None]

    def last_used(self, name: str) -> Use | None:
        """As `ArtifactStore.last_used`: the newest object of the entry; the index is none of its marks."""
        return self._use_of(name, self._objects(name))

    def _use_of(self, name: str, objects: Mapping[str, "ObjectMeta"]) -> Use | None:
        mark, index = self._at(name, USED), self._at(name, INDEX_FILE)
        if mark not in objects:
            return None
        marks = sorted(f"{path} {meta['e_tag']}" for path, meta in objects.items() if path != index)
        return Use(max(meta["last_modified"] for meta in objects.values()), digest_of(marks))

    def mark(self, name: str) -> None:
        """As `ArtifactStore.mark`."""
        if self._objects(name):
            self._put_mark(name)

    def digests(self, name: str) -> frozenset[str]:
        """As `ArtifactStore.digests`: of the index."""
        data = self._index(name)
        return frozenset() if data is None else frozenset({sha256_of(data)})

    def _objects(self, name: str) -> dict[str, "ObjectMeta"]:
        with self._translated():
            batches = obstore.list(self.bucket, self._at(name), chunk_size=500)
            return {item["path"]: item for batch in batches for item in batch}

    def remove(self, name: str, seen: Use) -> bool:
        """As `ArtifactStore.remove`: the index goes first and returns where somebody has marked the entry since."""
        data = self._index(name)
        if data is not None:
            self._delete([self._at(name, INDEX_FILE)])
        objects = self._objects(name)
        now = self._use_of(name, objects)
        if objects and (now is None or now.mark != seen.mark):
            if data is not None:
                self._put(self._at(name, INDEX_FILE), data, mode="create")
            return False
        mark = self._at(name, USED)
        self._delete(sorted(objects.keys() - {mark}))
        self._delete([mark])  # last: without it nothing tells the entry's age
        return True

    def remove_leftovers(self, before: datetime, *, dry_run: bool) -> Iterable[str]:
        """As `ArtifactStore.remove_leftovers`: publications that the index of their entry does not name."""
        for name in (entry.name for entry in self.entries()):
            data = self._index(name)
            if data is None:
                continue  # nothing is published: the entry's own age decides
            try:
                named = publication_of(data)
            except ValueError:
                continue  # damaged: told by whoever looks it up, and nothing of it is judged here
            publications: dict[str, dict[str, ObjectMeta]] = defaultdict(dict)
            for path, meta in self._objects(name).items():
                publication, slash, _ = path.removeprefix(self._at(name) + "/").partition("/")
                if slash and publication != named:
                    publications[publication][path] = meta
            for publication, objects in sorted(publications.items()):
                if max(meta["last_modified"] for meta in objects.values()) >= before:
                    continue
                if not dry_run:
                    self._delete(sorted(objects))
                yield f"{self._place(name)}/{publication}"

    def _at(self, name: str, *names: str) -> str:
        return "/".join(part for part in (self.prefix, name, *names) if part)

    def _place(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def _put(self, path: str, content: bytes | Path, mode: Literal["create", "overwrite"] = "overwrite") -> None:
        """Put an object; with `create` one that is there stays, be it ours of a request that was sent twice."""
        with suppress(AlreadyExistsError), self._translated():
            obstore.put(self.bucket, path, content, mode=mode)

    def _delete(self, paths: list[str]) -> None:
        with suppress(FileNotFoundError), self._translated():  # gone is gone
            obstore.delete(self.bucket, paths)

    @contextmanager
    def _damage_told(self, name: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise self._damage(name, str(error)) from error

    def _damage(self, name: str, what: str) -> ConversionFailure:
        return ConversionFailure(
            Reason.ARTIFACT_CORRUPT,
            f"{self.uri}/{name} is damaged, {what}; delete everything below it and convert again",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Tell refusal from outage; absence and a lost race are the caller's to judge."""
        try:
            yield
        except (FileNotFoundError, AlreadyExistsError):
            raise
        except BaseError as error:
            fault, words = fault_of_error(error)
            if fault is Fault.ABSENT:
                raise FileNotFoundError(words) from error
            if fault is Fault.REFUSED:
                keys = KINDS[self.uri.partition("://")[0]].keys
                raise ConversionFailure(
                    Reason.STORE_FORBIDDEN,
                    f"{self.uri}: access was refused; put {keys} with the rights to read, write and list into {SECRET}",
                ) from error
            raise ConversionFailure(
                Reason.STORE_UNAVAILABLE, f"{self.uri} does not answer, the Job tries again: {words[:300]}"
            ) from error


def open_bucket_store(uri: str, login: Login, retry: Retry) -> BucketStore:
    """Connect to object storage by the URI of a prefix. Raises BadRequest."""
    scheme, _, rest = uri.partition("://")
    authority, _, path = rest.strip("/").partition("/")
    if not authority:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{uri}: name a bucket, as in {scheme}://<bucket>/<prefix>")
    return BucketStore(open_bucket(scheme, authority, login, retry), uri.rstrip("/"), path)
