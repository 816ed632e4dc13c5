"""What an artifact consists of, as one small document: the file that makes it visible where files are kept.

Folders and buckets name an artifact by this document's digest, as a registry does by its manifest's; with the digests
in it, every byte that is read can be verified.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from visionmodel_contract.conversion import FORMAT_VERSION, ContractModel, Digest
from visionmodel_contract.report import PICTURE_FILES
from visionmodel_converter.failures import validation_words
from visionmodel_converter.report import FullReport, artifact_info
from visionmodel_converter.store.image import ARTIFACT_FILES, MODEL_FILE, REPORT_FILE, sha256_of
from visionmodel_converter.store.image import sha256_of_file as digest_of_file
from visionmodel_converter.store.published import Published

INDEX_FILE: Final = "artifact.json"
MAX_INDEX_BYTES: Final = 64 * 1024


class StoredFile(ContractModel):
    """One file of an artifact."""

    digest: Digest
    size_bytes: int


class ArtifactIndex(ContractModel):
    """The files of one artifact.

    Attributes:
        publication: the folder in which they lie, beside the index; unset: the index's own.
    """

    format_version: Literal[1] = FORMAT_VERSION
    key: str
    publication: str | None = None
    files: Mapping[str, StoredFile]


def index_bytes(key: str, files: Mapping[str, Path], publication: str | None = None) -> bytes:
    """Return the document of these files."""
    described = {
        name: StoredFile(digest=digest_of_file(path), size_bytes=path.stat().st_size)
        for name, path in sorted(files.items())
    }
    return ArtifactIndex(key=key, publication=publication, files=described).to_json().encode()


def publication_of(data: bytes) -> str | None:
    """Return the folder that an index names, whatever it holds. Raises ValueError where it is no index."""
    return _read(data).publication


def _read(data: bytes) -> ArtifactIndex:
    try:
        return ArtifactIndex.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(f"its {INDEX_FILE} cannot be read: {validation_words(error)}") from error


def parsed_index(data: bytes, names: Sequence[str] = ARTIFACT_FILES) -> ArtifactIndex:
    """Return the document. Raises ValueError where it is none, or lacks a file."""
    index = _read(data)
    missing = [name for name in names if name not in index.files]
    if missing or "/" in (index.publication or ""):
        raise ValueError(f"its {INDEX_FILE} lacks {', '.join(missing) or 'a plain publication'}")
    optional = PICTURE_FILES if names == ARTIFACT_FILES else ()
    unknown = [name for name in index.files if name not in names and name not in optional]
    if unknown:
        raise ValueError(f"its {INDEX_FILE} names {unknown[0]!r}, which does not belong there")
    return index


def write_verified(chunks: Iterable[bytes], target: Path, stored: StoredFile) -> None:
    """Write a file as it arrives. Raises ValueError where it is not what the index promises; `target` is then gone."""
    digest, size_bytes = hashlib.sha256(), 0
    with target.open("wb") as file:
        for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > stored.size_bytes:
                break
            digest.update(chunk)
            file.write(chunk)
    target.chmod(0o644)
    if size_bytes != stored.size_bytes or f"sha256:{digest.hexdigest()}" != stored.digest:
        target.unlink()
        raise ValueError(f"{target.name.removeprefix('.').removesuffix('.part')} is not what was published")


def published_of(key: str, data: bytes, files: Mapping[str, Path], place: str) -> Published:
    """Return the artifact of verified files. Raises ValueError where its report is of another one."""
    try:
        report = FullReport.model_validate_json(files[REPORT_FILE].read_bytes())
    except ValidationError as error:
        raise ValueError(f"its report.json cannot be read: {validation_words(error)}") from error
    index = parsed_index(data)
    if not key == report.key == index.key or report.model_digest != index.files[MODEL_FILE].digest:
        raise ValueError(f"it holds another artifact ({report.key})")
    if report.pictures != {name: one.digest for name, one in index.files.items() if name in PICTURE_FILES}:
        raise ValueError("its pictures are not those of its report")
    info = artifact_info(report, image=place, digest=sha256_of(data), report_digest=index.files[REPORT_FILE].digest)
    return Published(info=info, report=report, model=files[MODEL_FILE])
