"""The OpenVINO image: the trained detector's network, configured as the operator does it, beside ONNX Runtime."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.http
from images.build import build_images

from component.triton.conftest import FLAGS
from component.triton.repository import write_model
from component.triton.server_process import Server, running, wait_until
from example_models.build import build
from mounted_image import Image, mounted
from unit.render.samples import PLATFORM, REVISION, artifact, spec
from visionmodel_contract.report import TensorSpec
from visionmodel_operator.render.triton_config import config_pbtxt, model_version

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

BACKENDS = ("OpenVINO", "ONNXRuntime")
NETWORK = artifact(
    inputs=(TensorSpec(name="images", dtype="float32", dims=(-1, 3, 64, 64)),),
    outputs=(
        TensorSpec(name="boxes", dtype="float32", dims=(-1, 64, 4)),
        TensorSpec(name="scores", dtype="float32", dims=(-1, 64, 3)),
    ),
)


@pytest.fixture(scope="module")
def openvino_image() -> Iterator[Image]:
    with mounted(build_images(["triton-openvino"])["triton-openvino"]) as image:
        yield image


@pytest.fixture(scope="module")
def model_file() -> Path:
    """The cached detector; trained first if this machine never did."""
    return build() / "shapes" / "v2" / "model.onnx"


@pytest.fixture(scope="module")
def server(openvino_image: Image, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("openvino")
    repository = folder / "models"
    for backend in BACKENDS:
        wanted = spec(conversion={"backend": backend}, serving={"resources": {"limits": {"cpu": "1"}}})
        version = repository / backend.lower() / str(model_version(REVISION))
        version.mkdir(parents=True)
        text = config_pbtxt(backend.lower(), REVISION, wanted, NETWORK, PLATFORM)
        (version.parent / "config.pbtxt").write_text(text, encoding="utf-8")
        shutil.copy(model_file, version / "model.onnx")
    for path in (repository, *repository.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with running(openvino_image, repository, folder / "server.log", *FLAGS) as server:
        wait_until(lambda: server.status("/v2/health/ready") == 200, server)
        yield server


def write_lookup(repository: Path, **values: str) -> None:
    """The tiny model for OpenVINO, whose default file in Triton is model.xml."""
    write_model(repository, "lookup", extra='default_model_filename: "model.onnx"', **values)
    config = repository / "lookup" / "config.pbtxt"
    config.write_text(config.read_text(encoding="utf-8").replace('"onnxruntime"', '"openvino"'), encoding="utf-8")


def infer(server: Server, model: str, x: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}")
    try:
        tensor = tritonclient.http.InferInput("images", x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        answer = client.infer(model, [tensor])
        return {name: answer.as_numpy(name) for name in ("boxes", "scores")}
    finally:
        client.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 5])
def test_answers_are_the_models(server: Server, model_file: Path, backend: str, batch: int) -> None:
    """Within FP32's rounding, on processors with BF16 as well: there it would be a hundred times that."""
    x = np.random.default_rng(batch).random((batch, 3, 64, 64), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(model_file), providers=["CPUExecutionProvider"])
    expected = dict(zip(("boxes", "scores"), session.run(["boxes", "scores"], {"images": x}), strict=True))
    found = infer(server, backend.lower(), x)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param({"x_dims": "5"}, "input 'x': configured with shape [-1, 5]", id="shape"),
        pytest.param(
            {"x_type": "TYPE_FP64"}, "configured as tensor(double), the ONNX file has tensor(float)", id="type"
        ),
        pytest.param({"second": "nothing"}, "unknown output ['nothing']", id="output"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    openvino_image: Image, tmp_path: Path, values: dict[str, str], reason: str
) -> None:
    write_lookup(tmp_path / "models", **values)
    with running(openvino_image, tmp_path / "models", tmp_path / "log", *FLAGS) as server:
        assert server.process.wait(60) != 0
    assert reason in (tmp_path / "log").read_text()
