import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from unit.adapters.loopback import Handler, http_server
from visionmodel_operator.adapters import prometheus
from visionmodel_operator.adapters.prometheus import PrometheusMetrics, value_from
from visionmodel_operator.core.counters import Series
from visionmodel_operator.errors import Retry

AT = datetime(2026, 1, 1, tzinfo=UTC)


def vector(*values: str) -> list[dict[str, Any]]:
    return [{"metric": {"i": str(index)}, "value": [1.5, value]} for index, value in enumerate(values)]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param([1.5, "0.25"], 0.25, id="scalar"),
        pytest.param(vector("3"), 3.0, id="one series"),
        pytest.param([], None, id="nothing"),
        pytest.param(vector("1", "2"), None, id="several series"),
        pytest.param(vector("NaN"), None, id="NaN"),
        pytest.param(vector("+Inf"), None, id="infinity"),
        pytest.param([1.5, "NaN"], None, id="scalar NaN"),
    ],
)
def test_value_from(result: Any, expected: float | None) -> None:
    assert value_from(result) == expected


@asynccontextmanager
async def metrics_of(handler: Handler) -> AsyncIterator[PrometheusMetrics]:
    async with http_server(handler) as port:
        with ThreadPoolExecutor(1) as executor:
            metrics = PrometheusMetrics(f"http://127.0.0.1:{port}/", executor)
            yield metrics
            metrics.close()


async def test_samples_of_a_range() -> None:
    asked: dict[str, str] = {}

    async def handler(request: web.Request) -> web.Response:
        asked.update(request.query, path=request.path)
        series = {"metric": {"__name__": "c", "instance": "a"}, "values": [[1.0, "5"], [6.0, "NaN"]]}
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": [series]}})

    async with metrics_of(handler) as metrics:
        (series,) = await metrics.samples("c[1m]", AT)
    assert asked == {"path": "/api/v1/query", "query": "c[1m]", "time": "1767225600.000"}
    assert series.labels == {"__name__": "c", "instance": "a"}
    assert repr(series.samples) == "((1.0, 5.0), (6.0, nan))"


async def test_several_series_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": vector("1", "2")}})

    async with metrics_of(handler) as metrics:
        assert await metrics.value("q", AT) is None
    assert [record.getMessage() for record in caplog.records] == ["query gives several series instead of one"]


@pytest.mark.parametrize(
    "response",
    [
        pytest.param({"status": 503, "text": "down"}, id="down"),
        pytest.param({"status": 400, "text": '{"status": "error", "error": "parse error"}'}, id="refused"),
        pytest.param({"status": 200, "text": "<html>"}, id="not Prometheus"),
        pytest.param({"status": 200, "text": "{}"}, id="no data"),
    ],
)
async def test_an_outage_is_a_retry(response: dict[str, Any]) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(**response)

    async with metrics_of(handler) as metrics:
        with pytest.raises(Retry):
            await metrics.samples("q", AT)


async def test_a_server_that_never_ends_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "ANSWER_SECONDS", 0.1)
    gate = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await gate.wait()
        return web.json_response({})

    async with metrics_of(handler) as metrics:
        with pytest.raises(Retry, match="TimeoutError"):
            await metrics.samples("q", AT)
        gate.set()


async def test_no_server() -> None:
    async def handler(request: web.Request) -> web.Response:
        raise AssertionError("nobody asks")

    async with http_server(handler) as port:
        pass
    with ThreadPoolExecutor(1) as executor:
        metrics = PrometheusMetrics(f"http://127.0.0.1:{port}", executor)
        with pytest.raises(Retry, match="Prometheus does not answer: ConnectionError"):
            await metrics.value("q", AT)
        metrics.close()


def test_series_compare_by_value() -> None:
    assert prometheus.matrix_from([{"metric": {"a": "b"}, "values": [[1, "2"]]}]) == (
        Series({"a": "b"}, ((1.0, 2.0),)),
    )
