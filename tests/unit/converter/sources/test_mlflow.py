"""MLflow's registry: alias to version to place; the server itself is real in `make test-sources`."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from unit.converter.sources.answers import Answer, Asked, Server, serving
from visionmodel_converter.environment import Environment, environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.fetch import fetch
from visionmodel_converter.sources.mlflow import _cloud_uri
from visionmodel_converter.sources.tree import fetch_tree

FILES = {"MLmodel": b"flavors", "model.onnx": b"model", "extra/weights.data": b"weights"}
PLACE = "mlflow-artifacts:/1/models/m-7/artifacts"


def tracking_server(place: str = PLACE, files: dict[str, bytes] = FILES) -> Callable[[Asked], Answer]:
    """Model `my model`: version 7, alias `champion`."""

    def answer(request: Asked) -> Answer:
        url = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        call = url.path.removeprefix("/api/2.0/")
        if call == "mlflow/registered-models/alias" and query == {"name": "my model", "alias": "champion"}:
            return Answer(200, json.dumps({"model_version": {"name": "my model", "version": "7"}}).encode())
        if call == "mlflow/model-versions/get-download-uri" and query == {"name": "my model", "version": "7"}:
            return Answer(200, json.dumps({"artifact_uri": place}).encode())
        if call == "mlflow-artifacts/artifacts":
            return Answer(200, json.dumps({"files": listed(files, query["path"])}).encode())
        name = call.removeprefix("mlflow-artifacts/artifacts/1/models/m-7/artifacts/")
        return Answer(200, files[name]) if name in files else Answer(404, b'{"message": "no such thing"}')

    return answer


def listed(files: dict[str, bytes], path: str) -> list[dict[str, object]]:
    below = path.removeprefix("1/models/m-7/artifacts").lstrip("/")
    start = f"{below}/" if below else ""
    names = {name.removeprefix(start) for name in files if name.startswith(start)}
    folders = {name.partition("/")[0] for name in names if "/" in name}
    return [{"path": name, "is_dir": True} for name in sorted(folders)] + [
        {"path": name, "is_dir": False, "file_size": len(files[start + name])}
        for name in sorted(names)
        if "/" not in name
    ]


def environment(server: Server, folder: Path) -> Environment:
    (folder / "MLFLOW_TRACKING_URI").write_text(server.url + "\n")
    (folder / "MLFLOW_TRACKING_USERNAME").write_text("user")
    (folder / "MLFLOW_TRACKING_PASSWORD").write_text("pass")
    return environment_from({"VISIONMODEL_SOURCE_CREDENTIALS": str(folder), "VISIONMODEL_ALLOW_HTTP": "true"})


@pytest.mark.parametrize(
    "uri",
    [
        "mlflow://my%20model/7",
        "mlflow://my%20model/@champion",
        "mlflow://my%20model/7/model.onnx",
    ],
)
def test_the_model_of_a_version(tmp_path: Path, uri: str) -> None:
    with serving(tracking_server()) as server:
        got = fetch(uri, tmp_path / "m", environment=environment(server, tmp_path), max_bytes=100)
    assert (got.path.read_bytes(), got.uri) == (b"model", f"{PLACE}/model.onnx")
    assert {request.headers["Authorization"] for request in server.asked} == {"Basic dXNlcjpwYXNz"}


def test_the_whole_folder_of_a_version(tmp_path: Path) -> None:
    with serving(tracking_server()) as server:
        tree = fetch_tree(
            "mlflow://my%20model/@champion", tmp_path / "t", environment=environment(server, tmp_path), max_bytes=100
        )
    assert sorted(file.name for file in tree.files) == sorted(FILES)


@pytest.mark.parametrize(
    ("uri", "server", "reason", "says"),
    [
        ("mlflow://my%20model/8", tracking_server(), Reason.SOURCE_NOT_FOUND, "no such thing"),
        ("mlflow://my%20model/@loser", tracking_server(), Reason.SOURCE_NOT_FOUND, "version or alias"),
        ("mlflow://my%20model/7/absent", tracking_server(), Reason.SOURCE_NOT_FOUND, "artifacts/absent"),
        ("mlflow://my%20model/Staging", tracking_server(), Reason.BAD_REQUEST, "use an alias"),
        ("mlflow://my%20model/7", tracking_server("file:///mlruns/1"), Reason.UNSUPPORTED_SOURCE, "serve-artifacts"),
        ("mlflow://my%20model/7", tracking_server("/mlruns/1"), Reason.UNSUPPORTED_SOURCE, "a local path"),
        (
            "mlflow://my%20model/7",
            tracking_server("mlflow-artifacts://evil.example/1"),
            Reason.UNSUPPORTED_SOURCE,
            "no credentials of ours",
        ),
        (
            "mlflow://my%20model/7",
            tracking_server(files={"a.onnx": b"", "b.onnx": b""}),
            Reason.AMBIGUOUS_SOURCE,
            "2 files that end in .onnx ('a.onnx', 'b.onnx')",
        ),
        (
            "mlflow://my%20model/7",
            tracking_server(files={"a.pt": b"", "b.pt": b""}),
            Reason.AMBIGUOUS_SOURCE,
            "0 files that end in .onnx ('a.pt', 'b.pt')",
        ),
    ],
    ids=[
        "no-version",
        "no-alias",
        "no-file",
        "stage",
        "local-disk",
        "local-path",
        "other-server",
        "two-models",
        "no-onnx",
    ],
)
def test_refused(tmp_path: Path, uri: str, server: Callable[[Asked], Answer], reason: Reason, says: str) -> None:
    with serving(server) as running, pytest.raises(ConversionFailure) as caught:
        fetch(uri, tmp_path / "m", environment=environment(running, tmp_path), max_bytes=100)
    assert (caught.value.reason, says in caught.value.message) == (reason, True), caught.value.message


@pytest.mark.parametrize(
    ("place", "ours"),
    [
        ("s3://b/1/a b", "s3://b/1/a%20b"),
        ("gs://b/1", "gs://b/1"),
        ("abfss://c@a.dfs.core.windows.net/1", "abfs://c@a.dfs.core.windows.net/1"),
        ("wasbs://c@a.blob.core.windows.net/1", "abfs://c@a.dfs.core.windows.net/1"),
        ("wasbs://broken/1", None),
        ("dbfs:/1", None),
        ("ftp://h/1", None),
    ],
)
def test_places_in_buckets(place: str, ours: str | None) -> None:
    assert _cloud_uri(place) == ours
