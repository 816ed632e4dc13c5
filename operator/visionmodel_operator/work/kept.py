"""What the store of artifacts must keep: every key that a VisionModel or an artifact's record in the cluster names."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from visionmodel_contract.kept import KeptArtifacts
from visionmodel_operator.adapters.inventory import ArtifactRecord, KnownModel


class Listing(Protocol):
    """What is listed; both raise where a list cannot be read to its end."""

    async def models(self) -> tuple[KnownModel, ...]:
        """Return every VisionModel."""

    async def artifacts(self) -> tuple[ArtifactRecord, ...]:
        """Return every artifact ConfigMap."""


async def kept_artifacts(listing: Listing, now: Callable[[], datetime]) -> KeptArtifacts:
    """Return the keys; a failed list ends in its error, for a shorter list would let too much be deleted."""
    listed_at = now()
    records, models = await listing.artifacts(), await listing.models()
    keys = {record.key for record in records} | {key for model in models for key in model.artifact_keys}
    return KeptArtifacts(keys=frozenset(keys), listed_at=listed_at)
