"""The Triton port: a pod's own counters, read directly, so that draining works without Prometheus."""

from collections.abc import Callable
from typing import Generic, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from visionmodel_operator.core.names import METRICS_PORT

TIMEOUT_SECONDS = 2.0
FINISHED = frozenset({"nv_inference_request_success", "nv_inference_request_failure"})
PENDING = "nv_inference_pending_request_count"


A = TypeVar("A")


class TritonPods(Generic[A]):
    """Implements `reconcile.Triton`; `activity_type` is its PodActivity, which this lower layer may not import."""

    def __init__(
        self, client: httpx.AsyncClient, activity_type: Callable[[float, float], A], port: int = METRICS_PORT
    ) -> None:
        self._client = client
        self._activity_type = activity_type
        self._port = port

    async def activity(self, pod_ip: str) -> A | None:
        """As `Triton.activity`."""
        host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
        try:
            response = await self._client.get(f"http://{host}:{self._port}/metrics", timeout=TIMEOUT_SECONDS)
            response.raise_for_status()
            counts = counts_from(response.text)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None
        return None if counts is None else self._activity_type(*counts)


def counts_from(exposition: str) -> tuple[float, float] | None:
    """Return (finished, pending) summed over all models; None when the counters that prove idleness are not there."""
    finished, pending = [], []
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            if name in FINISHED:
                finished.append(sample.value)
            elif name == PENDING:
                pending.append(sample.value)
    return (sum(finished), sum(pending)) if finished and pending else None
