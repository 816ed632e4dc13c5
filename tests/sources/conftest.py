"""Real servers of Google Cloud Storage, Azure and MLflow: too heavy for every run, fetched by `make test-sources`."""

import base64
import hashlib
import hmac
import os
import subprocess
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from component.converter.conftest import child_processes, free_port
from visionmodel_converter.environment import Environment, environment_from
from visionmodel_devcluster.builds import binary

__all__ = ["child_processes"]

TOOLS = Path(__file__).resolve().parents[2] / ".tools"
ACCOUNT, ACCOUNT_KEY = "shop", base64.b64encode(b"key of the test account").decode()
Start = Callable[..., subprocess.Popen[bytes]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.sources)


def program(path: str) -> str:
    found = TOOLS / path
    if not found.exists():
        pytest.skip(f"{found.name} is not installed; run make test-sources")
    return str(found)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    return tmp_path / "secret"


@pytest.fixture
def environment(secret: Path) -> Environment:
    return environment_from(
        {
            "VISIONMODEL_SOURCE_CREDENTIALS": str(secret),
            "VISIONMODEL_ALLOW_HTTP": "true",
            "GCE_METADATA_HOST": "127.0.0.1:9",
        }
    )


@pytest.fixture(scope="session")
def google(child_processes: Start, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a Cloud Storage server with the bucket `models`."""
    folder, port = tmp_path_factory.mktemp("gcs"), free_port()
    (folder / "data" / "models").mkdir(parents=True)
    address = f"127.0.0.1:{port}"
    child_processes(
        [
            str(binary("fake-gcs-server")),
            *("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", address),
            *("-backend", "filesystem", "-filesystem-root", str(folder / "data")),
        ],
        folder / "log",
        port,
    )
    return f"http://{address}"


@pytest.fixture(scope="session")
def azure(child_processes: Start, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Endpoint of an account's Blob service with the container `models`."""
    folder, port = tmp_path_factory.mktemp("azure"), free_port()
    child_processes(
        [
            program("azurite/node_modules/.bin/azurite-blob"),
            *("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder / "data")),
            *("--silent", "--skipApiVersionCheck", "--disableTelemetry"),
        ],
        folder / "log",
        port,
        AZURITE_ACCOUNTS=f"{ACCOUNT}:{ACCOUNT_KEY}",
    )
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    _create_container(endpoint)
    return endpoint


def _create_container(endpoint: str) -> None:
    """The one call that the client of object stores does not have; signed by the account's key."""
    headers = {"x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    text = "PUT" + "\n" * 12 + canonical + f"/{ACCOUNT}/{ACCOUNT}/models\nrestype:container"
    signature = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
    request = urllib.request.Request(f"{endpoint}/models?restype=container", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201


@pytest.fixture(scope="session")
def mlflow_server(child_processes: Start, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a tracking server that keeps artifacts itself."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    child_processes(
        [
            program("mlflow/bin/mlflow"),
            *("server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts"),
            *("--backend-store-uri", f"sqlite:///{folder / 'db.sqlite'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        folder / "log",
        port,
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        PATH=f"{TOOLS / 'mlflow' / 'bin'}{os.pathsep}{os.environ['PATH']}",
    )
    return f"http://127.0.0.1:{port}"
