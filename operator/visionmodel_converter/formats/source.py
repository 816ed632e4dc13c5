"""Fetch a source of any format: which fetcher it takes follows from the format that is asked, or from the name.

ONNX may have weights beside it, a SavedModel is a folder or the archive of one, every other format is one file.
Called by `prepare`.
"""

from pathlib import Path
from urllib.parse import urlsplit

from visionmodel_contract.formats import SourceFormat
from visionmodel_converter.environment import Environment
from visionmodel_converter.sources.archive import archive_kind
from visionmodel_converter.sources.fetch import DEFAULT_RETRY, Fetched, Retry, fetch
from visionmodel_converter.sources.onnx_files import fetch_onnx
from visionmodel_converter.sources.tree import fetch_tree


def fetch_source(
    uri: str,
    source_format: str | None,
    folder: Path,
    *,
    environment: Environment,
    max_bytes: int,
    expected_digest: str | None = None,
    retry: Retry = DEFAULT_RETRY,
) -> Fetched:
    """Fetch into `folder`; the path is a folder for a SavedModel that lies unpacked, else one file.

    Without a format the source is fetched as ONNX is, which keeps a file of another format as it is. Raises
    ConversionFailure as the fetchers do.
    """
    if source_format in (None, SourceFormat.ONNX):
        return fetch_onnx(
            uri,
            folder,
            environment=environment,
            max_bytes=max_bytes,
            expected_digest=expected_digest,
            retry=retry,
        )
    target = folder / "source"
    if source_format == SourceFormat.SAVED_MODEL and archive_kind(urlsplit(uri).path) is None:
        tree = fetch_tree(
            uri,
            target,
            environment=environment,
            max_bytes=max_bytes,
            expected_digest=expected_digest,
            retry=retry,
        )
        return Fetched(tree.path, tree.digest, tree.size_bytes, tree.uri)
    return fetch(
        uri, target, environment=environment, max_bytes=max_bytes, expected_digest=expected_digest, retry=retry
    )
