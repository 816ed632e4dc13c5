"""What each store's own server says, against what we make of it."""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from obstore.store import AzureStore

from unit.converter import tiny_models
from unit.converter.sources.test_onnx_files import DATA, PLAIN, split
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.fetch import Retry, fetch
from visionmodel_converter.sources.onnx_files import fetch_onnx
from visionmodel_converter.sources.tree import fetch_tree

from .conftest import ACCOUNT, ACCOUNT_KEY, TOOLS

ONCE = Retry(attempts=1, first_wait=timedelta(milliseconds=1), deadline=timedelta(seconds=5))
TREE = {"saved_model.pb": b"graph", "variables/a": b"1", "name with space": b"2"}


def refusal(uri: str, folder: Path, environment: Environment, *, tree: bool = False) -> ConversionFailure:
    with pytest.raises(ConversionFailure) as caught:
        (fetch_tree if tree else fetch)(uri, folder / "t", environment=environment, max_bytes=10**6, retry=ONCE)
    return caught.value


# --- Google Cloud Storage ---------------------------------------------------------------------------------------


@pytest.fixture
def bucket(google: str, secret: Path, environment: Environment) -> Any:
    """Puts an object by the JSON API."""
    import urllib.request

    (secret / "STORAGE_EMULATOR_HOST").write_text(google)

    def put(name: str, data: bytes) -> str:
        url = f"{google}/upload/storage/v1/b/models/o?uploadType=media&name={quote(name, safe='')}"
        with urllib.request.urlopen(urllib.request.Request(url, data, method="POST"), timeout=10):
            return f"gs://models/{quote(name)}"

    return put


def test_google_files_and_folders(bucket: Any, tmp_path: Path, environment: Environment) -> None:
    uri = bucket("a b/m.onnx", b"model")
    assert fetch(uri, tmp_path / "m", environment=environment, max_bytes=10).path.read_bytes() == b"model"
    for name, data in TREE.items():
        bucket(f"tree/{name}", data)
    tree = fetch_tree("gs://models/tree", tmp_path / "t", environment=environment, max_bytes=100)
    assert {file.name: (tree.path / file.name).read_bytes() for file in tree.files} == TREE


def test_google_model_with_weights_beside_it(bucket: Any, tmp_path: Path, environment: Environment) -> None:
    uri = bucket("split/m.onnx", tiny_models.to_bytes(split()))
    bucket("split/m.data", DATA)
    assert fetch_onnx(uri, tmp_path, environment=environment, max_bytes=10**6).path.read_bytes() == PLAIN


def test_google_key_file(bucket: Any, secret: Path, tmp_path: Path, environment: Environment) -> None:
    """A service account's key signs its own token; the test server takes any, so only the file's use is proven."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {"type": "service_account", "client_email": "a@b", "private_key_id": "1", "private_key": pem}
    (secret / "credentials.json").write_text(json.dumps(account))
    uri = bucket("m.onnx", b"model")
    assert fetch(uri, tmp_path / "m", environment=environment, max_bytes=10).size_bytes == 5
    (secret / "credentials.json").write_text(json.dumps(account | {"private_key": "damaged"}))
    failure = refusal(uri, tmp_path, environment)
    assert (failure.reason, "damaged" in failure.message) == (Reason.BAD_REQUEST, False), failure.message


def test_google_absence_and_outage(bucket: Any, secret: Path, tmp_path: Path, environment: Environment) -> None:
    assert refusal("gs://models/absent", tmp_path, environment).reason is Reason.SOURCE_NOT_FOUND
    assert refusal("gs://models/absent", tmp_path, environment, tree=True).reason is Reason.SOURCE_NOT_FOUND
    assert refusal("gs://no-bucket/m", tmp_path, environment).reason is Reason.SOURCE_NOT_FOUND
    (secret / "STORAGE_EMULATOR_HOST").write_text("http://127.0.0.1:9")
    assert refusal("gs://models/m", tmp_path, environment).reason is Reason.SOURCE_UNAVAILABLE


# --- Azure --------------------------------------------------------------------------------------------------------

CONTAINER = f"abfs://models@{ACCOUNT}.dfs.core.windows.net"


@pytest.fixture
def container(azure: str, secret: Path) -> AzureStore:
    (secret / "AZURE_STORAGE_ENDPOINT").write_text(azure)
    (secret / "AZURE_STORAGE_ACCOUNT_KEY").write_text(ACCOUNT_KEY)
    return AzureStore(
        "models",
        account_name=ACCOUNT,
        account_key=ACCOUNT_KEY,
        endpoint=azure,
        client_options={"allow_http": True},
    )


def test_azure_files_and_folders(container: AzureStore, tmp_path: Path, environment: Environment) -> None:
    obstore.put(container, "a b/m.onnx", b"model")
    got = fetch(f"{CONTAINER}/a%20b/m.onnx", tmp_path / "m", environment=environment, max_bytes=10)
    assert got.path.read_bytes() == b"model"
    for name, data in TREE.items():
        obstore.put(container, f"tree/{name}", data)
    tree = fetch_tree(f"{CONTAINER}/tree/", tmp_path / "t", environment=environment, max_bytes=100)
    assert {file.name: (tree.path / file.name).read_bytes() for file in tree.files} == TREE


def test_azure_signature(container: AzureStore, secret: Path, tmp_path: Path, environment: Environment) -> None:
    obstore.put(container, "m.onnx", b"model")
    (secret / "AZURE_STORAGE_ACCOUNT_KEY").unlink()
    (secret / "AZURE_STORAGE_SAS_TOKEN").write_text("?" + account_signature("r"))
    assert fetch(f"{CONTAINER}/m.onnx", tmp_path / "m", environment=environment, max_bytes=10).size_bytes == 5
    (secret / "AZURE_STORAGE_SAS_TOKEN").write_text(account_signature("r")[:-4] + "AAA%3D")
    failure = refusal(f"{CONTAINER}/m.onnx", tmp_path, environment)
    assert (failure.reason, "sig" in failure.message) == (Reason.SOURCE_FORBIDDEN, False), failure.message


def account_signature(permissions: str) -> str:
    """An account SAS of version 2018-11-09, valid for an hour."""
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    version, services, kinds = "2018-11-09", "b", "sco"
    text = "\n".join((ACCOUNT, permissions, services, kinds, "", expiry, "", "", version, ""))
    signature = base64.b64encode(hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest())
    return (
        f"sv={version}&ss={services}&srt={kinds}&sp={permissions}&se={quote(expiry, safe='')}"
        f"&sig={quote(signature.decode(), safe='')}"
    )


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({}, "absent.onnx", Reason.SOURCE_NOT_FOUND),
        ({"AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"wrong").decode()}, "m.onnx", Reason.SOURCE_FORBIDDEN),
        ({"AZURE_STORAGE_ACCOUNT_KEY": ""}, "m.onnx", Reason.SOURCE_FORBIDDEN),
        ({"AZURE_STORAGE_ACCOUNT_KEY": "not base64!"}, "m.onnx", Reason.BAD_REQUEST),
        ({"AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:9/shop"}, "m.onnx", Reason.SOURCE_UNAVAILABLE),
    ],
    ids=["absent", "wrong-key", "anonymous", "damaged-key", "down"],
)
@pytest.mark.parametrize("tree", [False, True], ids=["file", "folder"])
def test_azure_refusals(
    container: AzureStore,
    secret: Path,
    tmp_path: Path,
    environment: Environment,
    change: dict[str, str],
    path: str,
    reason: Reason,
    tree: bool,
) -> None:
    obstore.put(container, "m.onnx", b"model")
    for name, value in change.items():
        (secret / name).write_text(value)
    failure = refusal(f"{CONTAINER}/{path}", tmp_path, environment, tree=tree)
    assert failure.reason is reason, failure.message


# --- MLflow -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def registered(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The classifier, logged and registered by MLflow's own client as version 1 of `my shapes`, alias champion."""
    model = tmp_path_factory.mktemp("model") / "m.onnx"
    model.write_bytes(PLAIN)
    subprocess.run(
        [
            TOOLS / "mlflow" / "bin" / "python",
            Path(__file__).with_name("log_model.py"),
            mlflow_server,
            model,
            "my shapes",
        ],
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"},
    )
    return mlflow_server


@pytest.mark.parametrize("version", ["1", "@champion", "@champion/model.onnx"])
def test_mlflow_model(registered: str, secret: Path, tmp_path: Path, environment: Environment, version: str) -> None:
    (secret / "MLFLOW_TRACKING_URI").write_text(registered)
    got = fetch_onnx(f"mlflow://my%20shapes/{version}", tmp_path, environment=environment, max_bytes=10**6)
    assert got.path.read_bytes() == PLAIN
    assert re.fullmatch(r"mlflow-artifacts:/1/models/m-[0-9a-f]{32}/artifacts/model\.onnx", got.uri)


def test_mlflow_folder(registered: str, secret: Path, tmp_path: Path, environment: Environment) -> None:
    (secret / "MLFLOW_TRACKING_URI").write_text(registered)
    tree = fetch_tree("mlflow://my%20shapes/1", tmp_path / "t", environment=environment, max_bytes=10**6)
    assert {"MLmodel", "model.onnx", "requirements.txt"} <= {file.name for file in tree.files}


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mlflow://my%20shapes/9", "version=9"),
        ("mlflow://my%20shapes/@loser", "alias loser"),
        ("mlflow://nobody/1", "nobody"),
        ("mlflow://my%20shapes/1/absent.onnx", "absent.onnx"),
    ],
)
def test_mlflow_absence(
    registered: str, secret: Path, tmp_path: Path, environment: Environment, uri: str, says: str
) -> None:
    (secret / "MLFLOW_TRACKING_URI").write_text(registered)
    failure = refusal(uri, tmp_path, environment)
    assert (failure.reason, says in failure.message) == (Reason.SOURCE_NOT_FOUND, True), failure.message
