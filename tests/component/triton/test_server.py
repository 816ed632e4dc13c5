"""The Triton image of demo and tests: what it must have in common with the vendor's server."""

import http.client
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from component.triton.conftest import FLAGS
from component.triton.repository import TABLE, write_model
from component.triton.server_process import Server, running, wait_until
from mounted_image import Image

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

Array = np.ndarray[Any, Any]

CLIENTS = 8
REQUESTS_EACH = 25


def body(x: list[float], index: int) -> dict[str, object]:
    return {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, len(x)], "data": x},
            {"name": "index", "datatype": "INT64", "shape": [1, 1], "data": [index]},
        ],
        "outputs": [{"name": "y"}],
    }


def counted(server: Server, model: str, metric: str, reason: str = "") -> float:
    labels = f'model="{model}",reason="{reason}",version="1"' if reason else f'model="{model}",version="1"'
    return server.samples()[f"{metric}{{{labels}}}"]


@pytest.mark.parametrize("model", ["lookup", "pair", "single", "renamed"])
def test_a_model_is_ready(server: Server, model: str) -> None:
    assert server.status(f"/v2/models/{model}/ready") == 200


def test_an_unknown_model_is_not_ready(server: Server) -> None:
    assert server.status("/v2/models/nobody/ready") == 400


def infer_http(server: Server, x: Array, index: Array) -> Array:
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}")
    try:
        return asked(client, tritonclient.http.InferInput, x, index)
    finally:
        client.close()


def infer_grpc(server: Server, x: Array, index: Array) -> Array:
    with server.grpc_client() as client:
        return asked(client, tritonclient.grpc.InferInput, x, index)


def asked(client: Any, input_type: Any, x: Array, index: Array) -> Array:
    inputs = [input_type("x", x.shape, "FP32"), input_type("index", index.shape, "INT64")]
    for tensor, value in zip(inputs, (x, index), strict=True):
        tensor.set_data_from_numpy(value)
    answer: Array = client.infer("lookup", inputs).as_numpy("y")
    return answer


@pytest.mark.parametrize("infer", [infer_http, infer_grpc])
def test_inference_is_right(server: Server, infer: Callable[[Server, Array, Array], Array]) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    index = np.array([[2], [0], [-1]], dtype=np.int64)
    np.testing.assert_array_equal(infer(server, x, index), x + TABLE[[2, 0, -1]])


def test_a_model_without_batch_dimension_answers(server: Server) -> None:
    request = {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": [0.0] * 8},
            {"name": "index", "datatype": "INT64", "shape": [2, 1], "data": [1, 2]},
        ]
    }
    expected = [
        {"name": name, "datatype": "FP32", "shape": [2, 4], "data": TABLE[[1, 2]].flatten().tolist()}
        for name in ("y", "row")
    ]
    assert server.post("/v2/models/single/infer", request) == (
        200,
        {"model_name": "single", "model_version": "1", "outputs": expected},
    )


def test_concurrent_requests_share_runs_and_get_their_own_answers(server: Server) -> None:
    before = {
        name: counted(server, "lookup", name) for name in ("nv_inference_request_success", "nv_inference_exec_count")
    }

    def ask(number: int) -> bool:
        status, answer = server.post("/v2/models/lookup/infer", body([float(number)] * 4, number % 3))
        expected = (TABLE[number % 3] + number).tolist()
        return status == 200 and isinstance(answer, dict) and answer["outputs"][0]["data"] == expected

    with ThreadPoolExecutor(CLIENTS) as clients:
        right = list(clients.map(ask, range(CLIENTS * REQUESTS_EACH)))
    grown = {name: counted(server, "lookup", name) - value for name, value in before.items()}
    assert right == [True] * (CLIENTS * REQUESTS_EACH)
    assert grown["nv_inference_request_success"] == CLIENTS * REQUESTS_EACH
    assert grown["nv_inference_exec_count"] < 0.8 * CLIENTS * REQUESTS_EACH


def test_a_failed_run_is_an_http_500_and_counted_as_a_backend_failure(server: Server) -> None:
    failed = counted(server, "renamed", "nv_inference_request_failure", "BACKEND")
    succeeded = counted(server, "renamed", "nv_inference_request_success")
    status, answer = server.post("/v2/models/renamed/infer", body([0.0] * 4, 7))
    assert status == 500
    assert isinstance(answer, dict)
    assert "onnx runtime error 2: Non-zero status code returned while running Gather node" in answer["error"]
    assert counted(server, "renamed", "nv_inference_request_failure", "BACKEND") == failed + 1
    assert counted(server, "renamed", "nv_inference_request_success") == succeeded


def test_a_failed_run_is_grpc_internal(server: Server) -> None:
    with pytest.raises(tritonclient.grpc.InferenceServerException) as raised:
        infer_grpc(server, np.zeros((1, 4), dtype=np.float32), np.array([[7]], dtype=np.int64))
    assert raised.value.status() == "StatusCode.INTERNAL"


@pytest.mark.parametrize(
    "request_body",
    [
        pytest.param(body([0.0] * 3, 0), id="wrong shape"),
        pytest.param({"inputs": body([0.0] * 4, 0)["inputs"], "outputs": [{"name": "z"}]}, id="unknown output"),
        pytest.param({"inputs": []}, id="no inputs"),
    ],
)
def test_a_clients_fault_is_an_http_400(server: Server, request_body: dict[str, object]) -> None:
    status, _ = server.post("/v2/models/lookup/infer", request_body)
    assert status == 400


def test_requests_of_a_failed_batch_fail_together(server: Server) -> None:
    with ThreadPoolExecutor(2) as clients:
        answers = list(clients.map(lambda index: server.post("/v2/models/pair/infer", body([0.0] * 4, index)), [0, 7]))
    assert [status for status, _ in answers] == [500, 500]
    assert counted(server, "pair", "nv_inference_request_failure", "BACKEND") == 2


def test_the_judges_metrics_are_there(server: Server) -> None:
    names = {name for name in server.samples() if 'model="lookup"' in name}
    assert names == {
        *(
            f'nv_inference_{name}{{model="lookup",version="1"}}'
            for name in (
                *("request_success", "count", "exec_count", "request_duration_us", "queue_duration_us"),
                *("compute_input_duration_us", "compute_infer_duration_us", "compute_output_duration_us"),
                "pending_request_count",
            )
        ),
        *(
            f'nv_inference_request_failure{{model="lookup",reason="{reason}",version="1"}}'
            for reason in ("OTHER", "BACKEND", "CANCELED", "REJECTED")
        ),
    }


def test_sigterm_ends_the_server(image: Image, tmp_path: Path) -> None:
    write_model(tmp_path / "models", "lookup")
    with running(image, tmp_path / "models", tmp_path / "log", *FLAGS) as server:
        wait_until(lambda: server.status("/v2/models/lookup/ready") == 200, server)
        server.process.send_signal(signal.SIGTERM)
        # 15 s of exit timeout, and the machine may be busy.
        assert server.process.wait(60) == 0


def test_a_kept_connection_holds_the_server_up_to_its_exit_timeout_only(image: Image, tmp_path: Path) -> None:
    write_model(tmp_path / "models", "lookup")
    # Of two flags of a name the last one holds; 15 s would only make the test longer.
    with running(image, tmp_path / "models", tmp_path / "log", *FLAGS, "--exit-timeout-secs=3") as server:
        wait_until(lambda: server.status("/v2/models/lookup/ready") == 200, server)
        with closing(http.client.HTTPConnection("127.0.0.1", server.http)) as connection:
            connection.request("GET", "/v2/health/live")
            connection.getresponse().read()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 1


def test_a_model_that_does_not_load_ends_the_server(image: Image, tmp_path: Path) -> None:
    write_model(tmp_path / "models", "broken", x_dims="5")
    with running(image, tmp_path / "models", tmp_path / "log", *FLAGS) as server:
        assert server.process.wait(90) == 1


def test_a_configuration_that_the_file_cannot_honour_is_refused_with_its_reason(image: Image, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    write_model(repository, "shape", x_dims="5")
    write_model(repository, "type", x_type="TYPE_FP64")
    write_model(repository, "output", second="nobody")
    write_model(repository, "file", filename="other.onnx")
    write_model(repository, "threads", threads="many")
    write_model(repository, "batch", batch=1)
    with running(
        image, repository, tmp_path / "log", "--exit-on-error=false", "--disable-auto-complete-config"
    ) as server:
        wait_until(lambda: server.status("/v2/health/live") == 200, server)
        _, index = server.post("/v2/repository/index", {})
    assert isinstance(index, list)
    reasons = {entry["name"]: entry["reason"] for entry in index}
    expected = {
        "shape": "input 'x': configured with shape [-1, 5], the ONNX file has [-1, 4]",
        "type": "input 'x': configured as tensor(double), the ONNX file has tensor(float)",
        "output": "unknown output ['nobody'], the ONNX file has ['row', 'y']",
        "file": "there is no file /models/file/1/model.onnx",
        "threads": "parameter intra_op_thread_count is 'many', not an integer",
        "batch": "input 'x': max_batch_size > 0 needs a dynamic first dimension, the ONNX file has [1, 4]",
    }
    assert {name: text for name, text in expected.items() if text not in reasons[name]} == {}
