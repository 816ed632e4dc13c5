"""The Metrics port in front of Prometheus. The client is synchronous and without time limit: both are given here.

NaN, infinity and "no series" are no data. No data delays a rollout; it never decides anything.
"""

import asyncio
import logging
import math
from concurrent.futures import Executor
from datetime import datetime
from functools import partial
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry as NoRetries

from visionmodel_operator.core.counters import Series
from visionmodel_operator.errors import Retry

TIMEOUT_SECONDS = 5
ANSWER_SECONDS = 15.0
"""A server that sends byte after byte never trips the socket's time limit; this is the limit of the whole answer."""

_log = logging.getLogger(__name__)


class PrometheusMetrics:
    """Implements `reconcile.Metrics`."""

    def __init__(self, url: str, executor: Executor) -> None:
        # Retries are the work queue's business; the library's own would keep a thread for many seconds.
        self._client = PrometheusConnect(url=url.rstrip("/"), retry=NoRetries(total=0), timeout=TIMEOUT_SECONDS)
        self._executor = executor

    async def samples(self, query: str, at: datetime) -> tuple[Series, ...]:
        """As `Metrics.samples`."""
        return matrix_from(await self._query(query, at))

    async def value(self, query: str, at: datetime) -> float | None:
        """As `Metrics.value`."""
        result = await self._query(query, at)
        if isinstance(result, list) and len(result) > 1 and isinstance(result[0], dict):
            _log.warning(
                "query gives several series instead of one", extra={"context": {"query": query, "series": len(result)}}
            )
        return value_from(result)

    async def _query(self, query: str, at: datetime) -> Any:
        loop = asyncio.get_running_loop()
        call = partial(self._client.custom_query, query, {"time": f"{at.timestamp():.3f}"})
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await loop.run_in_executor(self._executor, call)
        except PrometheusApiClientException as error:
            # A refused query too (the user's own PromQL): no data, and the rollout is held with this text.
            raise Retry(f"Prometheus refuses {query}: {error}") from error
        except (requests.RequestException, TimeoutError, KeyError, ValueError) as error:
            # Shown in status, so without what differs from one try to the next.
            raise Retry(f"Prometheus does not answer: {type(error).__name__} at {self._client.url}") from error

    def close(self) -> None:
        """Close the pool."""
        self._client.close()


def matrix_from(result: Any) -> tuple[Series, ...]:
    """Return the series of a matrix result, in the server's order."""
    return tuple(
        Series(dict(series["metric"]), tuple((float(time), float(value)) for time, value in series["values"]))
        for series in result
    )


def value_from(result: Any) -> float | None:
    """Return the number of a scalar result (`[time, "value"]`) or of a vector with exactly one finite series."""
    if len(result) == 2 and not isinstance(result[0], dict):
        number = float(result[1])
    elif len(result) == 1:
        number = float(result[0]["value"][1])
    else:
        return None
    return number if math.isfinite(number) else None
