"""The full list every few minutes: finds what the watches missed, and collects artifacts that nobody keeps."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from visionmodel_operator.adapters.inventory import ArtifactRecord, KnownModel
from visionmodel_operator.core.names import ROUTE_KINDS
from visionmodel_operator.errors import Error
from visionmodel_operator.work.health import Health
from visionmodel_operator.work.queue import WorkQueue
from visionmodel_operator.work.telemetry import Telemetry

ARTIFACT_SAFETY_AGE = timedelta(minutes=10)
"""A Job may have published an artifact that no status names yet."""
PASSES_PER_SECOND = 10.0
"""Every object is looked at again after a list, spread over time, so that thousands do not arrive together."""
RETRY_SECONDS = 15.0

_log = logging.getLogger(__name__)


class Listing(Protocol):
    """What can be listed, and the one thing that is deleted."""

    async def models(self) -> tuple[KnownModel, ...]:
        """Return every VisionModel."""

    async def artifacts(self) -> tuple[ArtifactRecord, ...]:
        """Return every artifact ConfigMap."""

    async def delete_artifact(self, record: ArtifactRecord) -> None:
        """Delete one, if it is still the one that was listed."""

    async def route_kinds(self) -> tuple[str, ...]:
        """Kinds of the Gateway API's routes that are served."""


def unkept_artifacts(
    artifacts: Iterable[ArtifactRecord], models: Iterable[KnownModel], now: datetime
) -> tuple[ArtifactRecord, ...]:
    """Return the artifacts that no VisionModel of their namespace keeps and that are old enough to be sure."""
    kept = {(model.namespace, key) for model in models for key in model.artifact_keys}
    return tuple(
        artifact
        for artifact in artifacts
        if (artifact.namespace, artifact.key) not in kept and now - artifact.created > ARTIFACT_SAFETY_AGE
    )


@dataclass
class Resync:
    """Lists again and again.

    Attributes:
        seconds: time between lists.
        route_kinds: kinds of the Gateway API's routes that were there when the process started.
        is_leader: whether this process may delete.
    """

    listing: Listing
    queue: WorkQueue
    health: Health
    telemetry: Telemetry
    now: Callable[[], datetime]
    seconds: float
    route_kinds: tuple[str, ...]
    is_leader: Callable[[], bool]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Work until a kind of route appears, which only a restart can watch."""
        while True:
            try:
                await self.once()
                if len(self.route_kinds) < len(ROUTE_KINDS) and await self.listing.route_kinds() != self.route_kinds:
                    _log.info("kinds of the Gateway API have appeared; restarting to watch them")
                    return
                wait = self.seconds
            except Error as error:
                _log.warning("resync failed: %s", error)
                wait = min(RETRY_SECONDS, self.seconds)
            await self.sleep(wait)

    async def once(self) -> None:
        """List everything once."""
        # Artifacts first: one that a model begins to keep while we list is then seen as kept.
        artifacts = await self.listing.artifacts()
        models = await self.listing.models()
        gone = self.health.saw_list({(model.namespace, model.name): model.resource_version for model in models})
        ghosts = self.queue.keep_only({(model.namespace, model.name) for model in models})
        self.telemetry.ghosts.inc(ghosts)
        for namespace, name in gone:
            self.queue.wake(namespace, name)  # a last pass, in which everybody forgets it
        for index, model in enumerate(models):
            self.queue.wake_within(model.namespace, model.name, index / PASSES_PER_SECOND)
        if self.is_leader():
            for record in unkept_artifacts(artifacts, models, self.now()):
                await self.listing.delete_artifact(record)
                context = {"namespace": record.namespace, "key": record.key}
                _log.info("artifact forgotten: nobody keeps it", extra={"context": context})
