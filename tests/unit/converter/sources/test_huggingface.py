"""The two calls of the Hub's contract, as the Hub answers them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from unit.converter.sources.answers import Answer, Asked, Server, serving
from visionmodel_converter.environment import Environment, environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.fetch import fetch
from visionmodel_converter.sources.tree import fetch_tree

COMMIT = "c0ffee" * 6 + "c0ff"
FILES = {"README.md": b"read me", "onnx/model.onnx": b"model", "onnx/model.onnx_data": b"weights"}


def hub(kind: str = "models", repository: str = "org/repo", revision: str = "v1.0") -> Callable[[Asked], Answer]:
    """One repository; `resolve` leads to another place, as the Hub does for large files."""

    def answer(request: Asked) -> Answer:
        path = urlsplit(request.path).path
        prefix = "" if kind == "models" else f"{kind}/"
        if path == f"/api/{kind}/{repository}/revision/{revision}":
            siblings = [{"rfilename": name, "size": len(data), "blobId": "x"} for name, data in FILES.items()]
            with_sizes = parse_qs(urlsplit(request.path).query).get("blobs") == ["true"]
            return Answer(200, json.dumps({"sha": COMMIT, "siblings": siblings if with_sizes else []}).encode())
        resolve = f"/{prefix}{repository}/resolve/{COMMIT}/"
        if path.startswith(resolve) and path.removeprefix(resolve) in FILES:
            return Answer(302, headers={"Location": f"/cdn/{path.removeprefix(resolve)}"})
        if path.startswith("/cdn/"):
            return Answer(200, FILES[path.removeprefix("/cdn/")])
        return Answer(404, headers={"X-Error-Code": "EntryNotFound"})

    return answer


def environment(server: Server, folder: Path) -> Environment:
    (folder / "HF_ENDPOINT").write_text(server.url + "/")
    (folder / "HF_TOKEN").write_text("hf_secret\n")
    return environment_from({"VISIONMODEL_SOURCE_CREDENTIALS": str(folder), "VISIONMODEL_ALLOW_HTTP": "true"})


def test_a_file_is_read_at_the_commit_that_the_revision_is_now(tmp_path: Path) -> None:
    with serving(hub()) as server:
        got = fetch(
            "hf://org/repo@v1.0/onnx/model.onnx",
            tmp_path / "m",
            environment=environment(server, tmp_path),
            max_bytes=100,
        )
    assert got.uri == f"hf://org/repo@{COMMIT}/onnx/model.onnx"
    assert got.digest == "sha256:" + hashlib.sha256(b"model").hexdigest()
    assert [request.headers["Authorization"] for request in server.asked] == ["Bearer hf_secret"] * 3


@pytest.mark.parametrize(
    ("uri", "kind", "repository", "revision"),
    [
        ("hf://org/repo/README.md", "models", "org/repo", "main"),
        ("hf://org/repo@refs%2Fpr%2F1/README.md", "models", "org/repo", "refs%2Fpr%2F1"),
        ("hf://datasets/org/repo@v2/README.md", "datasets", "org/repo", "v2"),
    ],
    ids=["default-revision", "revision-with-slashes", "dataset"],
)
def test_forms_of_the_uri(tmp_path: Path, uri: str, kind: str, repository: str, revision: str) -> None:
    with serving(hub(kind, repository, revision)) as server:
        fetch(uri, tmp_path / "m", environment=environment(server, tmp_path), max_bytes=100)
    assert (tmp_path / "m").read_bytes() == b"read me"


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("hf://org/repo@v1.0/onnx", ["model.onnx", "model.onnx_data"]),
        ("hf://org/repo@v1.0/", ["README.md", "onnx/model.onnx", "onnx/model.onnx_data"]),
    ],
)
def test_folders(tmp_path: Path, uri: str, names: list[str]) -> None:
    with serving(hub()) as server:
        tree = fetch_tree(uri, tmp_path / "t", environment=environment(server, tmp_path), max_bytes=100)
    assert [file.name for file in tree.files] == names
    assert {name: (tree.path / name).is_file() for name in names} == dict.fromkeys(names, True)


@pytest.mark.parametrize(
    ("status", "code", "reason", "says"),
    [
        (401, "RepoNotFound", Reason.SOURCE_NOT_FOUND, "or it is private"),
        (404, "RepoNotFound", Reason.SOURCE_NOT_FOUND, "or it is private"),
        (403, "GatedRepo", Reason.SOURCE_FORBIDDEN, "accept its terms"),
        (404, "RevisionNotFound", Reason.SOURCE_NOT_FOUND, "no such revision"),
    ],
)
def test_the_hubs_own_codes(tmp_path: Path, status: int, code: str, reason: Reason, says: str) -> None:
    with (
        serving(lambda _: Answer(status, headers={"X-Error-Code": code})) as server,
        pytest.raises(ConversionFailure, match=says) as caught,
    ):
        fetch("hf://org/repo/m", tmp_path / "m", environment=environment(server, tmp_path), max_bytes=100)
    assert caught.value.reason is reason


def test_a_missing_file_is_named_with_its_commit(tmp_path: Path) -> None:
    with serving(hub()) as server, pytest.raises(ConversionFailure, match=f"@{COMMIT}/absent was not found"):
        fetch("hf://org/repo@v1.0/absent", tmp_path / "m", environment=environment(server, tmp_path), max_bytes=100)
