"""One server with all well-formed models for the whole module; the image is built once and cached."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from images.build import build_images

from component.triton.repository import write_model
from component.triton.server_process import Server, running, wait_until
from mounted_image import Image, mounted
from visionmodel_devcluster.packages import required_program

# The flags that the operator's pods have on this server.
FLAGS = (
    "--model-control-mode=none",
    "--exit-on-error=true",
    "--strict-readiness=true",
    "--disable-auto-complete-config",
    "--exit-timeout-secs=15",
    "--log-format=ISO8601",
)


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    required_program("buildah")
    with mounted(build_images(["triton"])["triton"]) as image:
        yield image


@pytest.fixture(scope="module")
def server(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "models"
    _write_models(repository)
    with running(image, repository, folder / "server.log", *FLAGS) as server:
        wait_until(lambda: server.status("/v2/health/ready") == 200, server)
        yield server


def _write_models(repository: Path) -> None:
    write_model(repository, "lookup", extra="dynamic_batching { max_queue_delay_microseconds: 5000 }")
    # The scheduler waits for two requests, so that a test decides which ones share a batch.
    write_model(
        repository,
        "pair",
        extra="dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 20000000 }",
    )
    write_model(repository, "single", max_batch_size="0", batch=2, x_dims="2, 4", index_dims="2, 1")
    write_model(repository, "renamed", filename="net.onnx", extra='default_model_filename: "net.onnx"', instances="2")
