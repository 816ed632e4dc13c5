"""The Metrics port in front of Prometheus. The client is synchronous and without limits: both are given here.

NaN, infinity and "no series" are no data. So is an answer that is refused, too long, or of another kind than was asked
for; its reason is shown in status, so it is told in words that do not differ from one try to the next. No data delays
a rollout; it never decides anything.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from urllib3.util.retry import Retry as NoRetries

from visionmodel_operator.core.counters import Series
from visionmodel_operator.errors import Retry

TIMEOUT_SECONDS = 5
ANSWER_SECONDS = 15.0
"""A server that sends byte after byte never trips the socket's time limit; this is the limit of the whole answer."""
SAMPLES_BYTES = 16 * 2**20
"""One pass asks for an hour of counters at most (`core.evidence`); those of one gateway pod have less than 1 MiB."""
VALUE_BYTES = 2**20
"""One number is asked for, by a query of the user's, which may match everything that Prometheus holds."""
MAX_REASON = 200
"""Characters kept of what Prometheus says."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class PrometheusMetrics:
    """Implements `reconcile.Metrics`."""

    def __init__(self, url: str, executor: Executor) -> None:
        self._url = url.rstrip("/")
        self._for_samples = _client(self._url, SAMPLES_BYTES)
        self._for_values = _client(self._url, VALUE_BYTES)
        self._executor = executor

    async def samples(self, query: str, at: datetime) -> tuple[Series, ...]:
        """As `Metrics.samples`."""
        return await self._query(self._for_samples, (query, at), matrix_from, "samples over time")

    async def value(self, query: str, at: datetime) -> float | None:
        """As `Metrics.value`."""

        def number_from(result: Any) -> float | None:
            number = value_from(result)
            if number is None and len(result) > 1 and isinstance(result[0], dict):
                context = {"query": query, "series": len(result)}
                _log.warning("query gives several series instead of one", extra={"context": context})
            return number

        return await self._query(self._for_values, (query, at), number_from, "one number")

    async def _query(
        self, client: PrometheusConnect, question: tuple[str, datetime], parse: Callable[[Any], T], expected: str
    ) -> T:
        query, at = question
        loop = asyncio.get_running_loop()
        call = partial(client.custom_query, query, {"time": f"{at.timestamp():.3f}"})
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return parse(await loop.run_in_executor(self._executor, call))
        except _UnusableError as error:
            # A refused query too (the user's own PromQL): the rollout is held with this text.
            raise Retry(f"Prometheus gives no data ({error}): {query}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise Retry(f"Prometheus gives no data (the answer is not {expected}): {query}") from error
        except (requests.RequestException, TimeoutError) as error:
            raise Retry(f"Prometheus does not answer: {type(error).__name__} at {self._url}") from error

    def close(self) -> None:
        """Close the pools."""
        self._for_samples.close()
        self._for_values.close()


class _UnusableError(Exception):
    """An answer that is no data; the text is the reason. Never leaves this module."""


def _client(url: str, limit: int) -> PrometheusConnect:
    """Return a client that reads at most `limit` bytes of an answer.

    Retries are the work queue's business; the library's own would keep a thread for many seconds.
    """
    session = requests.Session()
    session.hooks["response"] = [partial(_check, limit=limit)]
    return PrometheusConnect(url=url, session=session, retry=NoRetries(total=0), timeout=TIMEOUT_SECONDS)


def _check(response: requests.Response, *, limit: int, **_: object) -> None:
    """Bound an answer whose body is still to come; _UnusableError unless it may hold a result."""
    response.raw = _Bounded(response.raw, limit)
    if response.status_code != requests.codes.ok and not response.is_redirect:
        raise _UnusableError(f"HTTP {response.status_code}{_words_of(response)}")


def _words_of(response: requests.Response) -> str:
    """Return what Prometheus itself says; the page of a proxy in between may name each request, and is left out."""
    try:
        answer = response.json()
    except (requests.RequestException, _UnusableError):
        return ""
    match answer:
        case {"status": "error", "error": str(words)}:
            return f": {words[:MAX_REASON]}"
        case _:
            return ""


class _Bounded:
    """The body of an answer, as requests reads it; _UnusableError once there are more than `limit` bytes."""

    def __init__(self, raw: Any, limit: int) -> None:
        self._raw = raw
        self._limit = limit

    def stream(self, amount: int, decode_content: bool) -> Iterator[bytes]:
        """As urllib3's response."""
        read = 0
        for chunk in self._raw.stream(amount, decode_content=decode_content):
            read += len(chunk)
            if read > self._limit:
                self._raw.close()
                raise _UnusableError(f"the answer has more than {self._limit // 2**20} MiB")
            yield chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def matrix_from(result: Any) -> tuple[Series, ...]:
    """Return the series of a matrix result, in the server's order; KeyError, TypeError or ValueError for another."""
    return tuple(
        Series(dict(series["metric"]), tuple((float(time), float(value)) for time, value in series["values"]))
        for series in result
    )


def value_from(result: Any) -> float | None:
    """Return the number of a scalar result (`[time, "value"]`) or of a vector with exactly one finite series.

    None: nothing, several series, NaN or infinity. ValueError or TypeError: a result of another kind.
    """
    match result:
        case [{"value": [_, value]}] | [int() | float(), value]:
            number = float(value)
            return number if math.isfinite(number) else None
        case [] | [{"value": _}, *_]:
            return None
        case _:
            raise ValueError("neither a scalar nor an instant vector")
