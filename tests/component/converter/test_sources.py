"""Stores with a real server behind them: whole folders and split models on S3, artifacts and images in a registry."""

import base64
import dataclasses
import hashlib
import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from unit.converter import tiny_models
from unit.converter.sources.hostile_archives import tar_of
from unit.converter.sources.test_onnx_files import DATA, PLAIN, split
from visionmodel_contract.exits import ExitCode
from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.fetch import Fetched, fetch
from visionmodel_converter.sources.onnx_files import fetch_onnx
from visionmodel_converter.sources.tree import FetchedTree, fetch_tree

from .conftest import JobRunner, RegistryServer, S3Server

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"
Layer = tuple[bytes, str, dict[str, str]]


def titled(name: str, data: bytes, media_type: str = TAR, **more: str) -> Layer:
    """A file as ORAS pushes it: with a tar's media type unless told otherwise."""
    return data, media_type, {TITLE: name, **more}


@dataclass(frozen=True)
class Repository:
    """Pushes what others would push, with nothing of ours."""

    registry: RegistryServer
    name: str

    def push(self, layers: list[Layer], tag: str = "v1", **changes: Any) -> str:
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(b"{}") | {"mediaType": "application/vnd.oci.empty.v1+json"},
            "layers": [
                self._blob(data) | {"mediaType": media_type, "annotations": annotations}
                for data, media_type, annotations in layers
            ],
            **changes,
        }
        return self.put_manifest(manifest, tag, MANIFEST)

    def put_manifest(self, manifest: dict[str, Any], tag: str, media_type: str) -> str:
        data = json.dumps(manifest).encode()
        self._send("PUT", f"/v2/{self.name}/manifests/{tag}", data, media_type)
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def _blob(self, data: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        place = self._send("POST", f"/v2/{self.name}/blobs/uploads/", b"")
        self._send("PUT", f"{place}&digest={digest}".removeprefix(f"http://{self.registry.host}"), data)
        return {"digest": digest, "size": len(data)}

    def _send(self, method: str, path: str, data: bytes, media_type: str = "application/octet-stream") -> str:
        request = urllib.request.Request(f"http://{self.registry.host}{path}", data, method=method)
        request.add_header("Content-Type", media_type)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers.get("Location", ""))

    def uri(self, reference: str = ":v1") -> str:
        return f"oci://{self.registry.host}/{self.name}{reference}"


@pytest.fixture
def repository(registry: RegistryServer, job: JobRunner) -> Repository:
    (job.source_secret / "OCI_PLAIN_HTTP").write_text("true")
    return Repository(registry, "models/" + job.repository.rpartition("/")[2])


@pytest.fixture
def read(job: JobRunner, tmp_path: Path) -> Callable[[str], Fetched]:
    """Fetches a model as the Job would."""
    environment = environment_from({**job.environment, "VISIONMODEL_ALLOW_HTTP": "true"})

    def fetched(uri: str) -> Fetched:
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        return fetch_onnx(uri, work, environment=environment, max_bytes=10**6)

    return fetched


@pytest.fixture
def read_tree(job: JobRunner, tmp_path: Path) -> Callable[[str], FetchedTree]:
    environment = environment_from({**job.environment, "VISIONMODEL_ALLOW_HTTP": "true"})

    def fetched(uri: str) -> FetchedTree:
        return fetch_tree(uri, tmp_path / "tree", environment=environment, max_bytes=10**6)

    return fetched


# --- s3 -------------------------------------------------------------------------------------------------------


def test_s3_folder(s3_job: JobRunner, s3: S3Server, read_tree: Callable[[str], FetchedTree]) -> None:
    files = {"saved_model.pb": b"graph", "variables/a": b"1", "name with space": b"2"}
    for name, data in files.items():
        s3.put("models", f"tree one/{name}", data)
    s3.put("models", "tree one more/other", b"no part of it")
    tree = read_tree("s3://models/tree%20one")
    assert {file.name: (tree.path / file.name).read_bytes() for file in tree.files} == files


def test_s3_absent_folder_and_bucket(s3_job: JobRunner, s3: S3Server, read_tree: Callable[[str], FetchedTree]) -> None:
    for uri in ("s3://models/absent-folder", "s3://absent-bucket/folder"):
        with pytest.raises(ConversionFailure) as caught:
            read_tree(uri)
        assert caught.value.reason is Reason.SOURCE_NOT_FOUND, caught.value.message


def test_s3_model_with_weights_beside_it_is_served_from_one_file(s3_job: JobRunner, s3: S3Server) -> None:
    uri = s3.put("models", "split/m.onnx", tiny_models.to_bytes(split()))
    s3.put("models", "split/m.data", DATA)
    done = s3_job.run(s3_job.request(uri))
    assert (done.code, done.summary.result) == (ExitCode.OK, "Succeeded"), done.stderr
    lines = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in (("m.data", DATA), ("m.onnx", tiny_models.to_bytes(split())))
    )
    assert done.summary.source_digest == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


# --- registries -------------------------------------------------------------------------------------------------


def test_oras_file(repository: Repository, read: Callable[[str], Fetched]) -> None:
    digest = repository.push([titled("m.onnx", PLAIN)])
    model = read(repository.uri())
    assert (model.path.read_bytes(), model.uri) == (PLAIN, repository.uri(f"@{digest}#m.onnx"))
    assert model.digest == "sha256:" + hashlib.sha256(PLAIN).hexdigest()
    assert read(repository.uri(f"@{digest}")).digest == model.digest
    assert read(repository.uri(f":other@{digest}#m.onnx")).digest == model.digest


@pytest.mark.parametrize(
    "layers",
    [
        [(PLAIN, "application/octet-stream", {})],
        [titled("README.md", b"x"), titled("m.onnx", tiny_models.to_bytes(split())), titled("m.data", DATA)],
        [
            titled(
                "det",
                tar_of([("det/m.onnx", PLAIN)], packed=True),
                f"{TAR}+gzip",
                **{"io.deis.oras.content.unpack": "true"},
            )
        ],
        [(PLAIN, "application/vnd.cncf.model.weight.v1.raw", {"org.cncf.model.filepath": "m.onnx"})],
        [
            (
                tar_of([("m.onnx", tiny_models.to_bytes(split())), ("m.data", DATA)], packed=True),
                "application/vnd.cncf.model.weight.v1.tar+gzip",
                {"org.cncf.model.filepath": "weights"},
            ),
            (b"{}", "application/vnd.cncf.model.weight.config.v1.raw", {"org.cncf.model.filepath": "config.json"}),
        ],
        [
            (tar_of([("etc/passwd", b""), ("models/old.onnx", b"old")]), TAR, {}),
            (tar_of([("models/m.onnx", PLAIN), ("models/.wh.old.onnx", b"")], packed=True), f"{TAR}+gzip", {}),
        ],
    ],
    ids=["untitled-blob", "oras-files", "oras-folder", "modelpack-raw", "modelpack-tar", "image"],
)
def test_layouts(repository: Repository, read: Callable[[str], Fetched], layers: list[Layer]) -> None:
    repository.push(layers)
    assert read(repository.uri()).path.read_bytes() == PLAIN


def test_image_layers_lie_over_each_other(
    repository: Repository, read: Callable[[str], Fetched], read_tree: Callable[[str], FetchedTree]
) -> None:
    repository.push(
        [
            (tar_of([("m/a", b"old a"), ("m/b", b"b"), ("m/sub/c", b"c"), ("gone/d", b"d"), ("kept", b"k")]), TAR, {}),
            (tar_of([("m/sub/.wh..wh..opq", b""), ("m/sub/e", b"e"), (".wh.gone", b"")]), TAR, {}),
            (tar_of([("m/a", b"new a")]), TAR, {}),
            (tar_of([("m/b", b"")], kind=b"2"), TAR, {}),
        ]
    )
    tree = read_tree(repository.uri())
    assert {file.name: (tree.path / file.name).read_bytes() for file in tree.files} == {
        "kept": b"k",
        "m/a": b"new a",
        "m/sub/e": b"e",
    }
    assert read(repository.uri(":v1#m/a")).path.read_bytes() == b"new a"
    with pytest.raises(ConversionFailure, match="links in an image are not followed"):
        read(repository.uri(":v1#m/b"))


def test_index_of_platforms(repository: Repository, read: Callable[[str], Fetched]) -> None:
    wanted = repository.push([titled("m.onnx", PLAIN)], tag="amd64")
    other = repository.push([titled("m.onnx", b"arm")], tag="arm64")
    manifests = [
        {"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": architecture}}
        for digest, architecture in ((wanted, "amd64"), (other, "arm64"))
    ]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    repository.put_manifest(index, "both", INDEX)
    assert read(repository.uri(":both")).uri == repository.uri(f"@{wanted}#m.onnx")
    repository.put_manifest(index | {"manifests": [manifests[1], manifests[1]]}, "arm", INDEX)
    with pytest.raises(ConversionFailure, match="exactly one for linux/amd64"):
        read(repository.uri(":arm"))


@pytest.mark.parametrize(
    ("layers", "reference", "reason", "says"),
    [
        ([titled("m.onnx", PLAIN)], ":absent", Reason.SOURCE_NOT_FOUND, "check repository and tag"),
        ([titled("m.onnx", PLAIN)], "#other.onnx", Reason.SOURCE_NOT_FOUND, "1 files ('m.onnx')"),
        ([titled("a.onnx", PLAIN), titled("b.onnx", PLAIN)], "", Reason.AMBIGUOUS_SOURCE, "add the path of one"),
        ([titled("../m.onnx", PLAIN)], "", Reason.UNSAFE_ARCHIVE, "leads out"),
        ([(tar_of([("../../m.onnx", PLAIN)]), TAR, {})], "", Reason.UNSAFE_ARCHIVE, "leads out"),
        ([(b"\x1f\x8b broken", f"{TAR}+gzip", {})], "", Reason.DAMAGED_ARCHIVE, "cannot be unpacked"),
        ([(b"x", f"{TAR}+zstd", {})], "", Reason.UNSUPPORTED_SOURCE, "zstd"),
        ([titled("m.onnx", bytes(10**6 + 1))], "", Reason.SOURCE_TOO_LARGE, "the limit is 1000000"),
        ([], "", Reason.UNSUPPORTED_SOURCE, "no image or artifact manifest"),
    ],
    ids=[
        "no-tag",
        "no-path",
        "two-models",
        "title-traversal",
        "layer-traversal",
        "damaged",
        "zstd",
        "too-large",
        "no-layers",
    ],
)
def test_refused(
    repository: Repository,
    read: Callable[[str], Fetched],
    layers: list[Layer],
    reference: str,
    reason: Reason,
    says: str,
) -> None:
    repository.push(layers)
    uri = repository.uri(":v1" + reference if reference.startswith("#") or not reference else reference)
    with pytest.raises(ConversionFailure) as caught:
        read(uri)
    assert (caught.value.reason, says in caught.value.message) == (reason, True), caught.value.message


def test_plain_http_registry_needs_the_platform_teams_word(
    repository: Repository, job: JobRunner, tmp_path: Path
) -> None:
    with pytest.raises(ConversionFailure, match=r"OCI_PLAIN_HTTP of .*VISIONMODEL_ALLOW_HTTP"):
        fetch(repository.uri(), tmp_path / "m", environment=environment_from(job.environment), max_bytes=10)


def test_the_login_of_a_registry_is_the_users_not_the_platforms(repository: Repository, job: JobRunner) -> None:
    """The platform team's Secret pushes artifacts: it must never be sent where a user's URI points."""
    environment = environment_from({**job.environment, "VISIONMODEL_ALLOW_HTTP": "true"})
    auth = base64.b64encode(b"platform:secret").decode()
    (job.registry_secret / "config.json").write_text("damaged: would fail if it were read " + auth)
    repository.push([titled("m.onnx", PLAIN)])
    got = fetch(repository.uri(), job.folder / "m", environment=dataclasses.replace(environment), max_bytes=10**6)
    assert got.path.read_bytes() == PLAIN
