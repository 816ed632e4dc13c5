"""Put an artifact into the registry so that it is either completely there or not at all, and read it back.

Order: layer and config, the manifest by digest, and only then the tag `prepare-<key>`, which is what "published"
means. A Job killed earlier leaves unreferenced blobs that the registry's own garbage collection removes.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.report import FullReport, artifact_info
from visionmodel_converter.store.image import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MODEL_FILE,
    REPORT_FILE,
    build_image,
    build_layer,
    sha256_of,
    sha256_of_file,
    unpack_layer,
)
from visionmodel_converter.store.published import NO_PICTURES, Pictures, Published, tag_of, write_files
from visionmodel_converter.store.registry import Registry

KEY_LABEL = "dev.visionmodel.prepare-key"


def publish(
    registry: Registry,
    *,
    model: Path,
    report: FullReport,
    provenance: dict[str, Any],
    work: Path,
    pictures: Pictures = NO_PICTURES,
) -> tuple[Published, bool]:
    """Push and tag an artifact; returns it and whether somebody else had published the same key meanwhile.

    In that case theirs is returned and the tag stays: a tag never moves, so no revision loses its image.
    """
    files = write_files(work, model=model, report=report, provenance=provenance, pictures=pictures)
    layer = build_layer(files, work / "layer.tar")
    image = build_image(layer, {KEY_LABEL: report.key, "org.opencontainers.image.title": "VisionModel artifact"})
    digest = registry.push(image)
    earlier = find(registry, report.key, work / "published")
    if earlier is not None:
        return earlier, True
    registry.tag(image, tag_of(report.key))
    info = artifact_info(
        report, image=_pinned(registry, digest), digest=digest, report_digest=sha256_of_file(files[REPORT_FILE])
    )
    return Published(info=info, report=report, model=model), False


def find(registry: Registry, key: str, target: Path) -> Published | None:
    """Fetch the artifact of a key if its tag exists; everything is verified. Raises ArtifactCorrupt."""
    manifest = registry.manifest(tag_of(key))
    if manifest is None:
        return None
    unpacked = fetch_files(registry, manifest, target)
    try:
        report = FullReport.model_validate_json((unpacked / REPORT_FILE).read_bytes())
    except ValidationError as error:
        raise _corrupt(registry, f"report.json of {tag_of(key)} cannot be read: {first_line(error)}") from error
    model = unpacked / MODEL_FILE
    if report.key != key or sha256_of_file(model) != report.model_digest:
        raise _corrupt(registry, f"{tag_of(key)} holds another artifact ({report.key})")
    digest = sha256_of(manifest)
    info = artifact_info(
        report,
        image=_pinned(registry, digest),
        digest=digest,
        report_digest=sha256_of_file(unpacked / REPORT_FILE),
    )
    return Published(info=info, report=report, model=model)


def fetch_files(registry: Registry, manifest: bytes, target: Path) -> Path:
    """Download and unpack the image of a manifest into a folder; returns the folder."""
    try:
        document = json.loads(manifest)
        (layer,) = document["layers"]
        if layer["mediaType"] != LAYER_TYPE or document["config"]["mediaType"] != CONFIG_TYPE:
            raise ValueError(f"its layer has type {layer['mediaType']}")
        digest, size_bytes = str(layer["digest"]), int(layer["size"])
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(registry, f"the image was not made by this converter: {first_line(error)}") from error
    target.mkdir(parents=True, exist_ok=True)
    archive = target / ".layer.part"
    try:
        registry.download(digest, size_bytes, archive)
        unpack_layer(archive, target)
    except (ValueError, tarfile.TarError) as error:
        raise _corrupt(registry, first_line(error)) from error
    finally:
        archive.unlink(missing_ok=True)
    return target


def _pinned(registry: Registry, digest: str) -> str:
    return f"{registry.host}/{registry.name}@{digest}"


def _corrupt(registry: Registry, what: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.ARTIFACT_CORRUPT, f"registry {registry.host}, {registry.name}: {what}; delete that tag and retry"
    )


@dataclass(frozen=True, slots=True)
class RegistryStore:
    """Artifacts as images of one repository of an OCI registry, each under the tag of its key."""

    registry: Registry

    @property
    def shown(self) -> str:
        """The repository."""
        return f"{self.registry.host}/{self.registry.name}"

    def find(self, key: str, target: Path) -> Published | None:
        """As `ArtifactStore.find`."""
        return find(self.registry, key, target)

    def publish(
        self,
        *,
        model: Path,
        report: FullReport,
        provenance: dict[str, Any],
        work: Path,
        pictures: Pictures = NO_PICTURES,
    ) -> tuple[Published, bool]:
        """As `ArtifactStore.publish`."""
        return publish(self.registry, model=model, report=report, provenance=provenance, work=work, pictures=pictures)
