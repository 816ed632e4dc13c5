import asyncio
import contextlib
import json
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


def matrix(*values: str) -> list[dict[str, Any]]:
    return [{"metric": {"i": str(index)}, "values": [[1.5, value]]} for index, value in enumerate(values)]


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


NO_NUMBER = {
    "a range of one series": ("matrix", matrix("1")),
    "a range of several series": ("matrix", matrix("1", "2")),
    "a string": ("string", [1.5, "hello"]),
    "a value that is no number": ("vector", vector("many")),
    "a value that is not there": ("vector", [{"metric": {}}]),
    "a histogram": ("vector", [{"metric": {}, "histogram": [1.5, {"count": "5"}]}]),
    "no list": ("vector", None),
}


@pytest.mark.parametrize(("kind", "result"), NO_NUMBER.values(), ids=NO_NUMBER.keys())
async def test_an_answer_that_is_no_number_is_no_data_with_the_reason(kind: str, result: Any) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"resultType": kind, "result": result}})

    async with metrics_of(handler) as metrics:
        with pytest.raises(Retry) as caught:
            await metrics.value("my_query", AT)
    assert str(caught.value) == "Prometheus gives no data (the answer is not one number): my_query"


NO_SAMPLES = {
    "a vector": vector("1"),
    "a scalar": [1.5, "1"],
    "a value that is no number": matrix("many"),
    "nothing": None,
}


@pytest.mark.parametrize("result", NO_SAMPLES.values(), ids=NO_SAMPLES.keys())
async def test_an_answer_without_samples_is_no_data_with_the_reason(result: Any) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"result": result}})

    async with metrics_of(handler) as metrics:
        with pytest.raises(Retry) as caught:
            await metrics.samples("c[1m]", AT)
    assert str(caught.value) == "Prometheus gives no data (the answer is not samples over time): c[1m]"


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


SILENT = {
    "several series": (vector("1", "2"), ["query gives several series instead of one"]),
    "no series": ([], []),
    "a scalar": ([1.5, "NaN"], []),
}


@pytest.mark.parametrize(("result", "told"), SILENT.values(), ids=SILENT.keys())
async def test_several_series_are_told(result: Any, told: list[str], caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"result": result}})

    async with metrics_of(handler) as metrics:
        assert await metrics.value("q", AT) is None
    assert [record.getMessage() for record in caplog.records] == told


@pytest.mark.parametrize(
    "response",
    [
        pytest.param({"status": 503, "text": "down"}, id="down"),
        pytest.param({"status": 400, "text": '{"status": "error", "error": "parse error"}'}, id="refused"),
        pytest.param({"status": 200, "text": "<html>"}, id="not Prometheus"),
        pytest.param({"status": 200, "text": "{}"}, id="no data"),
        pytest.param({"status": 200, "text": "[]"}, id="no object"),
        pytest.param({"status": 204}, id="empty"),
    ],
)
async def test_an_outage_is_a_retry(response: dict[str, Any]) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(**response)

    async with metrics_of(handler) as metrics:
        with pytest.raises(Retry):
            await metrics.samples("q", AT)


PROMETHEUS_SAYS = {"status": "error", "errorType": "bad_data", "error": "parse error: " + "x" * 1000}
REFUSALS = {
    "Prometheus itself": (400, PROMETHEUS_SAYS, "HTTP 400: " + PROMETHEUS_SAYS["error"][:200]),
    "a proxy": (502, "<html>request 1</html>", "HTTP 502"),
    "a proxy that speaks JSON": (429, {"error": "too many, request 1"}, "HTTP 429"),
    "a page without end": (503, "x" * 5000, "HTTP 503"),
}


@pytest.mark.parametrize(("status", "body", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_is_told_in_words_that_do_not_change(
    status: int, body: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "VALUE_BYTES", 2000)
    texts = body if isinstance(body, str) else json.dumps(body)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=texts, content_type="application/json")

    async with metrics_of(handler) as metrics:
        with pytest.raises(Retry) as caught:
            await metrics.value("q", AT)
    assert str(caught.value) == f"Prometheus gives no data ({reason}): q"


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "VALUE_BYTES", 3 * 2**20)
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        if compressed:
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                await response.write(b" " * 2**20)
                sent += 1
        return response

    async with metrics_of(handler) as metrics:
        with pytest.raises(Retry) as caught:
            await metrics.value("everything", AT)
    assert str(caught.value) == "Prometheus gives no data (the answer has more than 3 MiB): everything"
    assert compressed or sent < 100


async def test_a_redirect_is_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        if not request.path.startswith("/moved"):
            raise web.HTTPFound("/moved" + request.path_qs)
        return web.json_response({"status": "success", "data": {"result": vector("3")}})

    async with metrics_of(handler) as metrics:
        assert await metrics.value("q", AT) == 3.0


async def test_samples_may_be_longer_than_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "VALUE_BYTES", 1000)

    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"result": matrix(*["1"] * 100)}})

    async with metrics_of(handler) as metrics:
        assert len(await metrics.samples("c[1m]", AT)) == 100


async def test_a_server_that_never_ends_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(prometheus, "TIMEOUT_SECONDS", 0.5)
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
