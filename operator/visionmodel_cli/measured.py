"""What Prometheus holds about a VisionModel, asked by the operator's own queries and cut by its own counters."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol

import typer

from visionmodel_cli.failures import Failure
from visionmodel_operator.adapters.prometheus import PrometheusMetrics
from visionmodel_operator.core.counters import (
    GatewaySamples,
    Series,
    Slot,
    Tick,
    Window,
    sample_range,
    ticks_from_samples,
)
from visionmodel_operator.core.forecast import ExpectedTraffic
from visionmodel_operator.core.recent_traffic import SLOTS, recent_ends, recent_traffic, recent_window
from visionmodel_operator.errors import Retry, UserError
from visionmodel_operator.render.promql import gateway_queries

QUERIES_AT_ONCE: Final = 3

Prometheus = Annotated[str | None, typer.Option(metavar="URL", help="Prometheus that scrapes the gateway.")]
Gateway = Annotated[str, typer.Option("--gateway-profile", help="The operator's gateway profile.")]
DEFAULT_GATEWAY: Final = "envoy-gateway"


class Metrics(Protocol):
    """As `PrometheusMetrics`."""

    async def samples(self, query: str, at: datetime) -> tuple[Series, ...]:
        """Return the raw samples of a range-vector selector evaluated at a time. Raises Retry if it cannot."""

    async def value(self, query: str, at: datetime) -> float | None:
        """Return the one number an expression gives, None when there is none. Raises Retry if it cannot."""


class History:
    """One Prometheus, asked about one gateway's routes. Failure whenever it gives no answer."""

    def __init__(self, metrics: Metrics, gateway: str) -> None:
        self._metrics = metrics
        self._gateway = gateway

    def ticks(self, ends: Sequence[float], canary: Slot, stable: Slot, window: Window, name: str) -> tuple[Tick, ...]:
        """Return one tick per end, as `counters.ticks_from_samples`."""
        start, end = sample_range(ends, window)
        try:
            queries = gateway_queries(self._gateway, window.namespace, name, end - start)
            asked = (queries.requests, queries.buckets, queries.up)
            samples = asyncio.run(self._samples(asked, datetime.fromtimestamp(end, UTC)))
        except (Retry, UserError) as error:
            raise Failure(str(error)) from error
        return ticks_from_samples(samples, ends, canary, stable, window)

    def values(self, queries: Sequence[str], at: float) -> tuple[float | None, ...]:
        """Return the one number that each query gives at a time."""
        try:
            return asyncio.run(self._values(queries, datetime.fromtimestamp(at, UTC)))
        except Retry as error:
            raise Failure(str(error)) from error

    async def _samples(self, queries: Sequence[str], at: datetime) -> GatewaySamples:
        return GatewaySamples(*await asyncio.gather(*(self._metrics.samples(query, at) for query in queries)))

    async def _values(self, queries: Sequence[str], at: datetime) -> tuple[float | None, ...]:
        return tuple(await asyncio.gather(*(self._metrics.value(query, at) for query in queries)))


@contextmanager
def history(url: str, gateway: str) -> Iterator[History]:
    """Open a Prometheus; closed at the end of the block."""
    with ThreadPoolExecutor(QUERIES_AT_ONCE) as executor:
        metrics = PrometheusMetrics(url, executor)
        try:
            yield History(metrics, gateway)
        finally:
            metrics.close()


def measured_traffic(past: History, namespace: str, name: str, now: float) -> tuple[ExpectedTraffic, str]:
    """Return the rate and error share of the last hour over both backends, and where they are from.

    Minutes that cannot be counted are left out. Without a single error the share is that of one error.

    Raises:
        Failure: no request was counted.
    """
    ends, window = recent_ends(now), recent_window(namespace, name)
    recent = recent_traffic(past.ticks(ends, *SLOTS, window, name))
    expected, total = recent.expected, recent.total
    if expected is None:
        raise Failure(
            f"Prometheus holds no request of VisionModel {name!r} in namespace {namespace!r} within the last hour; give"
            " --requests-per-second and --error-rate instead"
        )
    return expected, f"Prometheus: {total.errors} errors of {total.requests} requests in {recent.minutes} minutes"
