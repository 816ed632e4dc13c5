"""What the store must keep: all that a VisionModel, a revision's workload or an artifact's record names."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from visionmodel_contract.kept import KeptArtifacts
from visionmodel_operator.adapters.needs import Needs


class Listing(Protocol):
    """What is listed; both raise where a list cannot be read to its end."""

    async def needs_of_configs(self) -> Needs:
        """Return what the records of artifacts and the workloads of revisions name."""

    async def needs_of_models(self) -> Needs:
        """Return what the VisionModels name."""


async def kept_artifacts(listing: Listing, now: Callable[[], datetime]) -> KeptArtifacts:
    """Return keys and digests; a failed list ends in its error, for a shorter list would let too much be deleted."""
    listed_at = now()
    needs = await listing.needs_of_configs() | await listing.needs_of_models()
    return KeptArtifacts(keys=needs.keys, digests=needs.digests, listed_at=listed_at)
