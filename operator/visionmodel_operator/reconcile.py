"""One pass over one VisionModel: observe, gather evidence, decide, apply, report. kopf never appears here.

Called by the work queue, which owns all retries. The ports are small protocols, wired by `__main__`; the
in-memory fakes in `tests/fakes/` are held to the same contract tests as the adapters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from visionmodel_operator.core.counters import Series
from visionmodel_operator.core.operations import Operation
from visionmodel_operator.core.snapshot import ObjectRef, Snapshot


@dataclass(frozen=True)
class PodActivity:
    """Triton's own counters on one pod, summed over models."""

    finished: float
    pending: float


class Kube(Protocol):
    """The API server."""

    async def observe(self, namespace: str, name: str) -> Snapshot | None:
        """Return the object and its children, or None when it is gone. Evidence and pod counters are not filled."""

    async def perform(self, ref: ObjectRef, operation: Operation) -> None:
        """Carry out one operation in the object's namespace. Raises Retry or UserError."""

    async def write_status(self, ref: ObjectRef, resource_version: str, status: Mapping[str, Any]) -> None:
        """Replace the status if the object still has this resourceVersion. Raises Retry on a conflict."""


class Metrics(Protocol):
    """Prometheus."""

    async def samples(self, query: str, at: datetime) -> tuple[Series, ...]:
        """Return the raw samples of a range-vector selector evaluated at a time. Raises Retry on an outage."""

    async def value(self, query: str, at: datetime) -> float | None:
        """Return the one number an expression gives, None when there is none. Raises Retry on an outage."""


class Triton(Protocol):
    """The serving pods' own metrics."""

    async def activity(self, pod_ip: str) -> PodActivity | None:
        """Return the pod's request counters, None when it does not answer."""


@dataclass(frozen=True)
class World:
    """Everything outside the process that a pass may touch."""

    kube: Kube
    metrics: Metrics
    triton: Triton
    now: Callable[[], datetime]
