"""An ONNX artifact in a store that the platform has left: it is served from there, but no engine can be built of it.

A build Job reads the artifact in the store in which it publishes the engine, the platform's present one. An artifact
that was recorded elsewhere is therefore prepared again, once in an attempt, by a Job of its own name.
"""

from visionmodel_contract.report import ArtifactInfo
from visionmodel_operator.core.snapshot import Platform, Snapshot


def store_of(artifact: ArtifactInfo) -> str:
    """Return the repository, or the URI, that an artifact was published in."""
    if "://" in artifact.image:
        return artifact.image.rpartition("/")[0]
    return _repository(artifact.image)


def present_store(platform: Platform) -> str:
    """Return the store that Jobs publish in, as `store_of` names it."""
    if platform.artifact_uri is not None:
        return platform.artifact_uri.rstrip("/")
    return _repository(platform.artifact_repository or "")


def _repository(reference: str) -> str:
    """Return a reference without tag and digest; a colon before the last slash is that of a port."""
    host, slash, name = reference.partition("@")[0].rpartition("/")
    return f"{host}{slash}{name.partition(':')[0]}"


def left_store(snapshot: Snapshot, revision: str, artifact: ArtifactInfo) -> str | None:
    """Return the store that the platform has left and an artifact must be prepared again from; None where it need not.

    What this attempt has prepared again already is not prepared a third time, wherever it lies by now.
    """
    store, recorded = store_of(artifact), snapshot.status.conversion
    if store == present_store(snapshot.platform):
        return None
    known = None if recorded is None or recorded.revision != revision else recorded.left_store
    return store if known in (None, store) else None
