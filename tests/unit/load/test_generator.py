"""The generator against a real server that misbehaves: nothing lost unseen, nothing sent twice."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from load import Load, LoadReport, LoadThread, Target
from load.__main__ import main
from load.payload import Image, Payload, image_payloads

from .conftest import FAIL, FAIL_AFTER_HEADERS, GATEWAY, GATHER, HANG, OK, RESET, Server

CANARY, STABLE = "canary1", "stable1"
RATE = 200.0


def image(index: int) -> Image:
    return np.full((1, 3, 2, 2), index, dtype=np.float32)


def load_for(server: Server, scheme: str = "http", requests: int = 24, timeout: float = 5.0) -> Load:
    target = Target(f"{scheme}://{server.address}", "shapes", host="shapes.example", timeout=timeout)
    return Load(target, RATE, image, max_requests=requests, max_seconds=60, distinct=3)


async def finished(load: Load, canary: str | None = CANARY) -> LoadReport:
    async with load:
        await load.wait()
    return load.report(canary=canary)


async def until(condition: Callable[[], bool], limit: float = 20.0) -> None:
    """Wait for a condition that the server or the generator brings about."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come"
        await asyncio.sleep(0.01)


MIXED = [
    (OK, STABLE),
    (OK, CANARY),
    (FAIL, CANARY),
    (FAIL, STABLE),
    (FAIL, None),
    (RESET, None),
    (FAIL_AFTER_HEADERS, CANARY),
    (FAIL_AFTER_HEADERS, STABLE),
    (GATEWAY, CANARY),
]


async def test_http_failures_are_told_apart(http_server: Server) -> None:
    http_server.behaviour.script = lambda index: MIXED[index % len(MIXED)]
    report = await finished(load_for(http_server, requests=27))
    assert (report.sent, report.answered, report.lost, report.own, report.pending) == (27, 6, 15, 6, 0)
    assert report.revisions == {STABLE: 3, CANARY: 3}
    assert (report.statuses["500"], report.statuses["503"]) == (9, 3)
    assert http_server.behaviour.arrived == 27, "a request was sent twice"


async def test_grpc_failures_are_told_apart(grpc_server: Server) -> None:
    script = [entry for entry in MIXED if entry[0] != RESET]
    grpc_server.behaviour.script = lambda index: script[index % len(script)]
    report = await finished(load_for(grpc_server, "grpc"))
    assert (report.sent, report.answered, report.lost, report.own, report.pending) == (24, 6, 12, 6, 0)
    assert report.revisions == {STABLE: 3, CANARY: 3}
    assert report.statuses == {"OK": 6, "INTERNAL": 9, "UNKNOWN": 6, "UNAVAILABLE": 3}
    assert grpc_server.behaviour.arrived == 24, "a request was sent twice"


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_a_request_that_hangs_is_lost_at_the_timeout(
    scheme: str, http_server: Server, grpc_server: Server
) -> None:
    server = http_server if scheme == "http" else grpc_server
    server.behaviour.script = lambda index: (HANG, CANARY) if index == 1 else (OK, STABLE)
    report = await finished(load_for(server, scheme, requests=4, timeout=1.0))
    assert (report.sent, report.answered, report.lost, report.own) == (4, 3, 1, 0)
    assert report.statuses["timeout"] == 1
    assert [one.status for one in report.losses] == ["timeout"]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_nobody_listening_is_lost(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = Target(f"{scheme}://127.0.0.1:{taken.getsockname()[1]}", "shapes", timeout=2.0)
        report = await finished(Load(target, RATE, image, max_requests=5, max_seconds=60))
    assert (report.sent, report.lost) == (5, 5)


async def test_the_loop_is_open(http_server: Server) -> None:
    """No answer comes before all requests are there: a closed loop would never send the second one."""
    http_server.behaviour.script = lambda index: (GATHER, STABLE)
    http_server.behaviour.gather = 24
    report = await finished(load_for(http_server))
    assert (report.sent, report.answered) == (24, 24)


async def test_connections_are_reused(http_server: Server) -> None:
    report = await finished(load_for(http_server, requests=100))
    assert report.answered == 100
    assert len(http_server.behaviour.connections) < 50


async def test_stopping_waits_for_the_answers_that_are_out(http_server: Server) -> None:
    http_server.behaviour.script = lambda index: (GATHER, STABLE)
    http_server.behaviour.gather = 10**9
    async with load_for(http_server, requests=10_000) as load:
        await until(lambda: http_server.behaviour.arrived >= 3)
        live = load.counters()
        during = load.report(canary=CANARY)
        http_server.behaviour.all_here.set()
    report = load.report(canary=CANARY)
    assert live.pending == live.sent >= 3
    assert during.pending == during.sent >= 3
    assert (report.sent, report.pending) == (report.answered, 0)
    assert 3 <= report.sent < 10_000
    assert load.is_finished


async def test_a_part_of_a_run_is_reported_by_schedule(http_server: Server) -> None:
    http_server.behaviour.script = lambda index: (OK, STABLE)
    load = load_for(http_server, requests=20)
    await finished(load)
    parts = [load.report(until=0.05), load.report(since=0.05, until=0.08), load.report(since=0.08)]
    assert [part.sent for part in parts] == [10, 6, 4]
    assert [record.index for record in load.records()] == list(range(20))


async def test_a_blocked_generator_voids_its_run(http_server: Server) -> None:
    async with load_for(http_server, requests=1_000) as load:
        await until(lambda: load.counters().sent > 0)
        time.sleep(1.2)  # noqa: ASYNC251  (this is the fault)
    assert load.report().void
    assert load.report().max_lag > 1.0


async def test_a_run_ends_by_count_or_by_time(http_server: Server) -> None:
    target = Target(f"http://{http_server.address}", "shapes")
    by_time = Load(target, RATE, image, max_requests=10_000, max_seconds=0.05)
    by_count = Load(target, RATE, image, max_requests=7, max_seconds=60)
    assert [(await finished(one)).sent for one in (by_time, by_count)] == [10, 7]


async def test_a_fault_of_the_generator_is_not_taken_for_a_loss(http_server: Server) -> None:
    target = Target(f"http://{http_server.address}", "shapes")
    load = Load(target, RATE, [Payload(b"", {"bad\r\nname": "x"})], max_requests=1, max_seconds=1)
    with pytest.raises(ValueError, match="header"):
        await finished(load)


async def test_a_run_starts_once(http_server: Server) -> None:
    load = load_for(http_server, requests=1)
    await finished(load)
    with pytest.raises(RuntimeError, match="twice"):
        await load.start()


async def test_binary_requests_follow_the_protocol(http_server: Server) -> None:
    await finished(load_for(http_server, requests=4))
    seen = http_server.behaviour
    for index in range(4):
        length = int(seen.headers[index]["Inference-Header-Content-Length"])
        head = json.loads(seen.bodies[index][:length])
        assert head["inputs"] == [
            {
                "name": "images",
                "shape": [1, 3, 2, 2],
                "datatype": "FP32",
                "parameters": {"binary_data_size": 48},
            }
        ]
        assert seen.bodies[index][length:] in {image(one).tobytes() for one in range(3)}
    assert set(seen.paths) == {"/v2/models/shapes/infer"}
    assert {headers["Host"] for headers in seen.headers} == {"shapes.example"}


def test_json_requests_follow_the_protocol() -> None:
    target = Target("http://example.invalid:80", "shapes", "x", binary=False)
    payloads = image_payloads(target, lambda index: np.array([[index, 255]], dtype=np.uint8), 2)
    assert [json.loads(one.body) for one in payloads] == [
        {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "UINT8", "data": [index, 255]}]} for index in (0, 1)
    ]


async def test_grpc_requests_follow_the_protocol(grpc_server: Server) -> None:
    await finished(load_for(grpc_server, "grpc", requests=2))
    request: Any = service_pb2.ModelInferRequest.FromString(grpc_server.behaviour.bodies[0])
    (tensor,) = request.inputs
    assert (request.model_name, tensor.name, tensor.datatype, list(tensor.shape)) == (
        "shapes",
        "images",
        "FP32",
        [1, 3, 2, 2],
    )
    assert list(request.raw_input_contents) == [image(0).tobytes()]


@pytest.mark.parametrize(
    "url", ["https://h:1", "h:1", "http://", "http://h:1/v2"], ids=["tls", "no scheme", "no host", "path"]
)
def test_a_target_that_cannot_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not http"):
        Target(url, "shapes")


@pytest.mark.parametrize(
    ("rate", "requests", "seconds"),
    [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, float("inf")), (float("nan"), 1, 1)],
    ids=["no rate", "no requests", "no time", "unbounded", "rate that is no number"],
)
def test_an_unbounded_run_is_refused(rate: float, requests: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="bounded"):
        Load(Target("http://h:1", "m"), rate, image, max_requests=requests, max_seconds=seconds)


def test_an_image_of_a_foreign_type_is_refused() -> None:
    with pytest.raises(ValueError, match="not complex128"):
        image_payloads(Target("http://h:1", "m"), lambda index: np.zeros(1, dtype=complex))


async def test_the_thread_runs_beside_code_without_a_loop(http_server: Server) -> None:
    http_server.behaviour.script = lambda index: (OK, STABLE)
    thread = LoadThread(load_for(http_server, requests=100_000))

    def run() -> LoadReport:
        with thread:
            deadline = time.monotonic() + 20
            while thread.counters().answered < 5 and time.monotonic() < deadline:
                time.sleep(0.01)
        return thread.report(canary=CANARY)

    report = await asyncio.to_thread(run)
    assert 5 <= report.answered == report.sent < 100_000
    assert thread.join(0)


async def test_the_thread_ends_by_itself_and_reports_its_faults(http_server: Server) -> None:
    thread = LoadThread(load_for(http_server, requests=3))
    await asyncio.to_thread(thread.start)
    assert await asyncio.to_thread(thread.join, 20.0)
    assert thread.report().sent == 3
    target = Target(f"http://{http_server.address}", "shapes")
    faulty = LoadThread(Load(target, RATE, [Payload(b"", {"bad\r\nname": "x"})], max_requests=1, max_seconds=1))

    def run() -> None:
        faulty.start()
        faulty.join(20.0)

    with pytest.raises(ValueError, match="header"):
        await asyncio.to_thread(run)


ARGUMENTS = ["shapes", "--rate", "100", "--seconds", "5", "--requests", "4", "--canary", CANARY]


@pytest.mark.parametrize(
    ("answer", "status", "counts"),
    [((OK, STABLE), 0, (4, 0, 0)), ((FAIL, STABLE), 1, (0, 4, 0)), ((FAIL, CANARY), 0, (0, 0, 4))],
    ids=["all answered", "all lost", "all the canary's own"],
)
async def test_the_command_says_it_by_its_exit_status(
    http_server: Server,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[str, str],
    status: int,
    counts: tuple[int, int, int],
) -> None:
    http_server.behaviour.script = lambda index: answer
    found = await asyncio.to_thread(main, [f"http://{http_server.address}", *ARGUMENTS, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (found, report["answered"], report["lost"], report["own"]) == (status, *counts)


@pytest.mark.parametrize(
    "wrong",
    [
        ["ftp://h:1", *ARGUMENTS],
        ["http://h:1", *ARGUMENTS, "--images", "load:nothing"],
        ["http://h:1", *ARGUMENTS, "--rate", "0"],
    ],
    ids=["scheme", "image function", "rate"],
)
def test_a_wrong_command_line_is_usage(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(wrong) == 2
    assert capsys.readouterr().err.startswith("python -m load: ")
