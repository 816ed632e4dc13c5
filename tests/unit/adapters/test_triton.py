import httpx
import pytest
from aiohttp import web

from unit.adapters.loopback import http_server
from visionmodel_operator.adapters.triton import TritonPods, counts_from
from visionmodel_operator.reconcile import PodActivity

METRICS = """\
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="m",version="1"} 40
nv_inference_request_success{model="m-net",version="1"} 2
# HELP nv_inference_request_failure Number of failed inference requests, all batch sizes
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="m",reason="REJECTED",version="1"} 3
nv_inference_request_failure{model="m",reason="OTHER",version="1"} 1
# HELP nv_inference_count Number of inferences performed
# TYPE nv_inference_count counter
nv_inference_count{model="m",version="1"} 1000
# HELP nv_inference_pending_request_count Instantaneous number of pending requests awaiting execution per-model.
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="m",version="1"} 5
nv_inference_pending_request_count{model="m-net",version="1"} 1
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(METRICS, (46.0, 6.0), id="summed over models and reasons"),
        pytest.param("", None, id="empty"),
        pytest.param(METRICS[: METRICS.index("# HELP nv_inference_pending")], None, id="no pending gauge"),
    ],
)
def test_counts_from(text: str, expected: tuple[float, float] | None) -> None:
    assert counts_from(text) == expected


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        pytest.param(200, METRICS, PodActivity(46.0, 6.0), id="answers"),
        pytest.param(500, METRICS, None, id="error"),
        pytest.param(200, "nv{", None, id="garbage"),
    ],
)
async def test_activity(status: int, text: str, expected: PodActivity | None) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with http_server(handler) as port, httpx.AsyncClient(trust_env=False) as client:
        assert await TritonPods(client, PodActivity, port).activity("127.0.0.1") == expected


async def test_a_pod_that_is_gone_has_no_activity() -> None:
    async def handler(request: web.Request) -> web.Response:
        raise AssertionError("nobody asks")

    async with http_server(handler) as port:
        pass
    async with httpx.AsyncClient(trust_env=False) as client:
        assert await TritonPods(client, PodActivity, port).activity("127.0.0.1") is None
