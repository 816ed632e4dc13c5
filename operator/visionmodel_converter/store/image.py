"""Build the artifact's OCI image as bytes: one reproducible layer, a real config with diff_ids, a manifest.

A raw file or an empty config would be pushed without complaint and then mount as an empty folder, so the image is
one that any container runtime unpacks. The layer is a plain tar: weights do not compress, and the layer's digest
then is its diff_id too. Pure but for reading and writing the files it is given.
"""

import hashlib
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from visionmodel_contract.artifact import ONNX_FILE, PLAN_FILE
from visionmodel_contract.keys import canonical_json
from visionmodel_contract.report import PICTURE_FILES

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
MODEL_FILE: Final = ONNX_FILE
REPORT_FILE: Final = "report.json"
PROVENANCE_FILE: Final = "provenance.json"
ARTIFACT_FILES: Final = (MODEL_FILE, PROVENANCE_FILE, REPORT_FILE)
ENGINE_FILES: Final = (PLAN_FILE, PROVENANCE_FILE, REPORT_FILE)
MAX_UNPACKED_BYTES: Final = 4 * 1024**3
CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes with their digest; the data lie in memory or in a file, exactly one of the two."""

    digest: str
    size_bytes: int
    media_type: str
    data: bytes | None = None
    path: Path | None = None

    def descriptor(self) -> dict[str, Any]:
        """Return the OCI descriptor."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}


@dataclass(frozen=True, slots=True)
class Image:
    """Everything to push, in the order of pushing: layer, config, then the manifest."""

    layer: Blob
    config: Blob
    manifest: Blob


def sha256_of(data: bytes) -> str:
    """Return `sha256:<hex>` of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def sha256_of_file(path: Path) -> str:
    """Return `sha256:<hex>` of a file's content."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def model_last(names: Iterable[str]) -> list[str]:
    """Return the names in an order in which whoever waits for the model finds the other files, too."""
    return sorted(names, key=lambda name: name in (ONNX_FILE, PLAN_FILE))


def build_layer(files: Mapping[str, Path], target: Path) -> Blob:
    """Write the layer: names sorted, time 0, owner 0:0, mode 0644, so that equal files give equal bytes."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT if _fits_ustar(files) else tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = files[name].stat().st_size
            member.mode, member.mtime, member.uid, member.gid = 0o644, 0, 0, 0
            with files[name].open("rb") as content:
                tar.addfile(member, content)
    return Blob(sha256_of_file(target), target.stat().st_size, LAYER_TYPE, path=target)


def _fits_ustar(files: Mapping[str, Path]) -> bool:
    return all(path.stat().st_size < 8 * 1024**3 for path in files.values())


def build_image(layer: Blob, labels: Mapping[str, str]) -> Image:
    """Wrap a layer into an image; `labels` go into the config and, as annotations, into the manifest."""
    config = _json_blob(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": dict(labels)},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "visionmodel-convert prepare"}],
        },
        CONFIG_TYPE,
    )
    manifest = _json_blob(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "annotations": dict(labels),
        },
        MANIFEST_TYPE,
    )
    return Image(layer=layer, config=config, manifest=manifest)


def _json_blob(document: dict[str, Any], media_type: str) -> Blob:
    data = canonical_json(document)
    return Blob(sha256_of(data), len(data), media_type, data=data)


def unpack_layer(layer: Path, target: Path, names: Sequence[str] = ARTIFACT_FILES) -> tuple[Path, ...]:
    """Unpack an artifact's layer into a folder; returns the files written, the model last.

    Own extractor instead of tarfile's filters: only regular files with one of the known names at the root are
    written, each to a temporary name first, so that an interrupted init container leaves no half model.
    Raises ValueError on anything else in the archive.
    """
    target.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    total = 0
    with tarfile.open(layer, "r:") as tar:
        for member in tar:
            is_known = member.name in names or (names is ARTIFACT_FILES and member.name in PICTURE_FILES)
            if not member.isreg() or not is_known or member.name in written:
                raise ValueError(f"unexpected entry {member.name!r} in the artifact's layer")
            total += member.size
            if total > MAX_UNPACKED_BYTES:
                raise ValueError(f"the artifact unpacks to more than {MAX_UNPACKED_BYTES} bytes")
            content = tar.extractfile(member)
            if content is None:
                raise ValueError(f"entry {member.name!r} cannot be read")
            part = target / f".{member.name}.part"
            with part.open("wb") as file:
                while chunk := content.read(CHUNK_BYTES):
                    file.write(chunk)
            part.chmod(0o644)
            written[member.name] = part
    missing = [name for name in names if name not in written]
    if missing:
        raise ValueError(f"the artifact's layer lacks {', '.join(missing)}")
    return tuple(written[name].replace(target / name) for name in model_last(written))
