import urllib.error
import urllib.request
from asyncio import to_thread

import pytest

from fakes.time import VirtualTime
from visionmodel_devcluster.direct import open_direct
from visionmodel_operator.work.health import Health
from visionmodel_operator.work.http_server import HttpServer
from visionmodel_operator.work.telemetry import Telemetry

KEY = ("default", "m")


def healthy(time: VirtualTime, resync_seconds: float = 300.0) -> Health:
    health = Health(time.monotonic, resync_seconds, serves_models=True, watching=True)
    health.saw_list({})
    return health


def test_a_process_that_sees_everything_is_ready() -> None:
    assert healthy(VirtualTime()).troubles() == []


def test_a_new_process_is_not_ready() -> None:
    assert Health(VirtualTime().monotonic, 300.0).troubles() == [
        "the CRD visionmodels.visionmodel.dev is not served",
        "the watches have not started",
        "the last full list is too old",
    ]


@pytest.mark.parametrize(
    ("resync_seconds", "limit"), [(10.0, 900.0), (300.0, 900.0), (3600.0, 10_800.0)], ids=["10s", "5m", "1h"]
)
async def test_an_old_list_is_not_trusted(resync_seconds: float, limit: float) -> None:
    time = VirtualTime()
    health = healthy(time, resync_seconds)
    await time.advance(limit)
    assert health.troubles() == []
    await time.advance(1)
    assert health.troubles() == ["the last full list is too old"]


@pytest.mark.parametrize(
    ("event", "stale"),
    [
        pytest.param("5", False, id="seen before the second list"),
        pytest.param(None, True, id="never seen"),
        pytest.param("4", True, id="only an older version seen"),
    ],
)
def test_two_lists_that_show_what_no_event_did(event: str | None, stale: bool) -> None:
    health = healthy(VirtualTime())
    health.saw_list({KEY: "5"})
    if event is not None:
        health.saw_model(KEY, event)
    health.saw_list({KEY: "5"})
    assert health.troubles() == (["the watch of VisionModels misses events"] if stale else [])


def test_a_busy_object_is_no_sign_of_a_dead_watch() -> None:
    health = healthy(VirtualTime())
    health.saw_list({KEY: "5"})
    health.saw_list({KEY: "9"})
    assert health.troubles() == []


async def test_event_ages() -> None:
    time = VirtualTime()
    health = healthy(time)
    health.saw_event("jobs")
    await time.advance(3)
    health.saw_event("deployments")
    assert health.event_ages() == {"jobs": 3, "deployments": 0}


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with open_direct(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_probes_and_metrics_over_http() -> None:
    health, telemetry = healthy(VirtualTime()), Telemetry()
    server = HttpServer(health, telemetry, 0, lambda: telemetry.queue_depth.set(3), "127.0.0.1")
    await server.start()
    try:
        assert await to_thread(_get, server.port, "/healthz") == (200, "ok\n")
        assert await to_thread(_get, server.port, "/readyz") == (200, "ok\n")
        health.stopping = True
        assert await to_thread(_get, server.port, "/readyz") == (503, "stopping\n")
        status, text = await to_thread(_get, server.port, "/metrics")
        assert status == 200
        assert "visionmodel_queue_depth 3.0\n" in text
    finally:
        await server.stop()
