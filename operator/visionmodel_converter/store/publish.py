"""Put an artifact into the registry so that it is either completely there or not at all, and read it back.

Order: layer and config, the mark of the time, the manifest under a tag of its own digest, and only then the tag
`prepare-<key>`, which is what "published" means. A Job killed earlier leaves what no lookup sees. A registry has no
conditional put: of two publishers that both found nothing, the later one's tag stays, and the tag of its own digest
keeps the earlier one's image from the collections of untagged manifests that many registries run.
"""

import json
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from visionmodel_contract.keys import canonical_json
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.report import FullReport, artifact_info
from visionmodel_converter.store.entries import PREPARED, Entry, entry_that_begins
from visionmodel_converter.store.image import (
    ARTIFACT_FILES,
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    MODEL_FILE,
    REPORT_FILE,
    Image,
    build_image,
    build_layer,
    sha256_of,
    sha256_of_file,
    unpack_layer,
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
from visionmodel_converter.store.registry import Registry

KEY_LABEL: Final = "dev.visionmodel.prepare-key"
USED_ANNOTATION: Final = "dev.visionmodel.used"
FILES_LABEL: Final = "dev.visionmodel.files"
"""Names of the files of an image that is no artifact, with commas between them."""
USED: Final = "-used-"
STAMP: Final = "%Y%m%dT%H%M%S%f"
"""Of a use, in the name of its tag: many registries let no tag be moved."""
OWN_TAG_DIGITS: Final = 16
TAR_OVERHEAD: Final = 2 * tarfile.RECORDSIZE
"""Most that a layer of one file has beyond the file: its header, and zeros up to whole records."""


@dataclass(frozen=True, slots=True)
class RegistryStore:
    """Artifacts as images of one repository of an OCI registry, each under the tag of its key."""

    registry: Registry
    now: Callable[[], datetime]

    @property
    def shown(self) -> str:
        """The repository."""
        return f"{self.registry.host}/{self.registry.name}"

    def find(self, key: str, target: Path) -> Published | None:
        """As `ArtifactStore.find`."""
        name = PREPARED.name(key)
        manifest = self._marked(name)
        if manifest is None:
            return None
        unpacked = fetch_files(self.registry, manifest, target)
        try:
            report = FullReport.model_validate_json((unpacked / REPORT_FILE).read_bytes())
        except ValidationError as error:
            raise self._corrupt(f"report.json of {name} cannot be read: {first_line(error)}") from error
        model = unpacked / MODEL_FILE
        if report.key != key or sha256_of_file(model) != report.model_digest:
            raise self._corrupt(f"{name} holds another artifact ({report.key})")
        return self._published(report, sha256_of(manifest), unpacked / REPORT_FILE, model)

    def publish(
        self,
        *,
        model: Path,
        report: FullReport,
        provenance: dict[str, Any],
        work: Path,
        pictures: Pictures = NO_PICTURES,
    ) -> tuple[Published, bool]:
        """As `ArtifactStore.publish`; where somebody else was first, theirs is returned and the tag stays."""
        files = write_files(work, model=model, report=report, provenance=provenance, pictures=pictures)
        image = build_image(
            build_layer(files, work / "layer.tar"),
            {KEY_LABEL: report.key, "org.opencontainers.image.title": "VisionModel artifact"},
        )
        name, manifest, digest = PREPARED.name(report.key), image.manifest.data or b"", image.manifest.digest
        self._push(name, image)
        earlier = self.find(report.key, work / "published")
        if earlier is not None:
            return earlier, True
        self.registry.tag(manifest, name)
        return self._published(report, digest, work / REPORT_FILE, model), False

    def _published(self, report: FullReport, digest: str, report_file: Path, model: Path) -> Published:
        info = artifact_info(
            report, image=f"{self.shown}@{digest}", digest=digest, report_digest=sha256_of_file(report_file)
        )
        return Published(info=info, report=report, model=model)

    def _push(self, name: str, image: Image) -> None:
        """Do all of a publication but its last step; marked before anything has a tag."""
        manifest = image.manifest.data or b""
        self.registry.push_blobs(image)
        self._mark_used(name, manifest)
        self._tag_own(name, manifest)

    def _marked(self, name: str) -> bytes | None:
        """Return the manifest under a name, marked as used; None when absent, or removed meanwhile as unneeded."""
        manifest = self.registry.manifest(name)
        if manifest is None:
            return None
        self._mark_used(name, manifest)
        return self.registry.manifest(name)

    def _tag_own(self, name: str, manifest: bytes) -> None:
        """Put the tag of an image's own digest, where it is not there yet."""
        own = f"{name}-{sha256_of(manifest).removeprefix('sha256:')[:OWN_TAG_DIGITS]}"
        if self.registry.manifest(own) is None:
            self.registry.tag(manifest, own)

    def _mark_used(self, name: str, manifest: bytes) -> None:
        """Put an image that only says when; it names the entry's small config alone, which is there already."""
        stamp = self.now().strftime(STAMP)
        config = json.loads(manifest)["config"]
        mark = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config,
            "layers": [config],
            "annotations": {USED_ANNOTATION: stamp},
        }
        self.registry.tag(canonical_json(mark), f"{name}{USED}{stamp}")

    def find_files(self, name: str, files: Sequence[str], target: Path) -> StoredFiles | None:
        """As `ArtifactStore.find_files`."""
        manifest = self._marked(name)
        if manifest is None:
            return None
        folder, digest = fetch_files(self.registry, manifest, target, files), sha256_of(manifest)
        return StoredFiles(f"{self.shown}@{digest}", digest, {file: folder / file for file in files})

    def publish_files(self, name: str, files: Mapping[str, Path], work: Path) -> StoredFiles:
        """As `ArtifactStore.publish_files`: visible once tagged, which is last."""
        title = f"VisionModel {name.partition('-')[0]}"
        labels = {FILES_LABEL: ",".join(sorted(files)), "org.opencontainers.image.title": title}
        image = build_image(build_layer(files, work / "files.tar"), labels)
        manifest, digest = image.manifest.data or b"", image.manifest.digest
        self._push(name, image)
        earlier = self.find_files(name, tuple(files), work / "earlier")
        if earlier is not None:
            return earlier
        self.registry.tag(manifest, name)
        return StoredFiles(f"{self.shown}@{digest}", digest, files)

    def read_cache(self, name: str, work: Path) -> bytes | None:
        """As `ArtifactStore.read_cache`."""
        manifest = self.registry.manifest(name)
        if manifest is None:
            return None
        most = MAX_CACHE_BYTES + TAR_OVERHEAD
        return (fetch_files(self.registry, manifest, work, (CACHE_FILE,), most_bytes=most) / CACHE_FILE).read_bytes()

    def write_cache(self, name: str, content: bytes, work: Path) -> None:
        """As `ArtifactStore.write_cache`: the tag is moved, and the image that had it goes where it may be deleted.

        The time makes each image one of its own: equal bytes that another Job writes meanwhile are not what is deleted.
        """
        earlier = self.registry.manifest(name)
        file = work / CACHE_FILE
        file.write_bytes(content)
        labels = {
            FILES_LABEL: CACHE_FILE,
            "org.opencontainers.image.title": f"VisionModel {name}",
            "org.opencontainers.image.created": self.now().isoformat(),
        }
        image = build_image(build_layer({CACHE_FILE: file}, work / "cache.tar"), labels)
        manifest = image.manifest.data or b""
        self.registry.push_blobs(image)
        self.registry.tag(manifest, name)
        if earlier is not None:
            with suppress(ConversionFailure):  # untagged it is invisible; a Job need not have the right
                self.registry.delete(sha256_of(earlier))

    def entries(self) -> Iterable[Entry]:
        """As `ArtifactStore.entries`."""
        found = {entry for tag in self.registry.tags() if (entry := entry_that_begins(tag)) is not None}
        return sorted(found, key=lambda entry: entry.name)

    def last_used(self, name: str) -> Use | None:
        """As `ArtifactStore.last_used`: what the newest mark says."""
        return _newest(self._tags(name))

    def mark(self, name: str) -> None:
        """As `ArtifactStore.mark`."""
        for manifest in self._images((name, *self._tags(name)))[:1]:
            self._mark_used(name, manifest)

    def digests(self, name: str) -> frozenset[str]:
        """As `ArtifactStore.digests`: of each publisher's image."""
        return frozenset(map(sha256_of, self._images((name, *self._tags(name)))))

    def _tags(self, name: str) -> list[str]:
        """Return the tags beside a name: of images' own digests, and marks."""
        return self.registry.tags(f"{name}-")

    def _images(self, tags: Iterable[str]) -> list[bytes]:
        found = (self.registry.manifest(tag) for tag in tags if _use_of(tag) is None)
        return [manifest for manifest in found if manifest is not None]

    def remove(self, name: str, seen: Use) -> bool:
        """As `ArtifactStore.remove`: the images go, and return where somebody has marked the entry since.

        A publisher marks it before it looks whether its image is there: of the two one sees the other. Blobs go with
        the registry's own collection.
        """
        named = self._images([name])
        self._delete(named)
        tags = self._tags(name)  # read once: what is tagged from here on is another publisher's
        is_unused, others = _newest(tags) == seen, list[bytes]()
        if is_unused:
            others = self._images(tags)
            self._delete(others)
            is_unused = _newest(self._tags(name)) == seen
        if not is_unused:
            for manifest in (*others, *named):
                self._tag_own(name, manifest)
            for manifest in named:
                self.registry.tag(manifest, name)
            return False
        # the newest mark last: without it nothing tells the entry's age
        for tag in sorted(tag for tag in tags if _use_of(tag) is not None):
            self._delete_mark(tag)
        return True

    def _delete(self, manifests: Iterable[bytes]) -> None:
        for manifest in manifests:
            self.registry.delete(sha256_of(manifest))

    def _delete_mark(self, tag: str) -> None:
        manifest = self.registry.manifest(tag)
        self._delete([] if manifest is None else [manifest])

    def remove_leftovers(self, before: datetime, *, dry_run: bool) -> Iterable[str]:
        """As `ArtifactStore.remove_leftovers`: marks that a newer one follows.

        Images stay: under a needed key each of them may be what a revision runs.
        """
        for entry in self.entries():
            uses = [use for tag in self._tags(entry.name) if (use := _use_of(tag)) is not None]
            newest = max(uses, key=lambda use: use.time, default=None)
            for use in uses:
                if use != newest and use.time < before:
                    if not dry_run:
                        self._delete_mark(use.mark)
                    yield use.mark

    def _corrupt(self, what: str) -> ConversionFailure:
        return _corrupt(self.registry, what)


def _newest(tags: Iterable[str]) -> Use | None:
    """Return the newest use that these tags mark."""
    return max((use for tag in tags if (use := _use_of(tag)) is not None), key=lambda use: use.time, default=None)


def _use_of(tag: str) -> Use | None:
    """Return the use that a tag marks; None for the tags of images."""
    _, separator, stamp = tag.partition(USED)
    try:
        return Use(datetime.strptime(stamp, STAMP).replace(tzinfo=UTC), tag) if separator else None
    except ValueError:  # nobody's mark
        return None


def names_of(manifest: bytes) -> tuple[str, ...]:
    """Return the files that an image says it holds: an artifact's, or those that its label names."""
    annotations = json.loads(manifest).get("annotations") or {}
    named = str(annotations.get(FILES_LABEL, "")).split(",")
    return tuple(name for name in named if name and name == Path(name).name) or ARTIFACT_FILES


def fetch_files(
    registry: Registry,
    manifest: bytes,
    target: Path,
    names: Sequence[str] = ARTIFACT_FILES,
    *,
    most_bytes: float = inf,
) -> Path:
    """Download and unpack the image of a manifest into a folder; returns the folder."""
    try:
        document = json.loads(manifest)
        (layer,) = document["layers"]
        if layer["mediaType"] != LAYER_TYPE or document["config"]["mediaType"] != CONFIG_TYPE:
            raise ValueError(f"its layer has type {layer['mediaType']}")
        digest, size_bytes = str(layer["digest"]), int(layer["size"])
        if size_bytes > most_bytes:
            raise ValueError(f"its layer has {size_bytes} bytes")
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(registry, f"the image was not made by this converter: {first_line(error)}") from error
    target.mkdir(parents=True, exist_ok=True)
    archive = target / ".layer.part"
    try:
        registry.download(digest, size_bytes, archive)
        unpack_layer(archive, target, names)
    except (ValueError, tarfile.TarError) as error:
        raise _corrupt(registry, first_line(error)) from error
    finally:
        archive.unlink(missing_ok=True)
    return target


def _corrupt(registry: Registry, what: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.ARTIFACT_CORRUPT, f"registry {registry.host}, {registry.name}: {what}; delete that tag and retry"
    )
