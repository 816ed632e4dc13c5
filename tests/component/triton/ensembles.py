"""Ensembles on a real server, from what the operator renders, and clients that send files."""

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http

from component.triton.server_process import Server
from unit.render.samples import PLATFORM, REVISION
from visionmodel_contract.report import ArtifactInfo
from visionmodel_devcluster.direct import open_direct
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.render.repository import config_files, repository_models
from visionmodel_operator.render.triton_config import model_version

Array = np.ndarray[Any, Any]


def write_ensemble(repository: Path, name: str, spec: VisionModelSpec, artifact: ArtifactInfo, model: bytes) -> None:
    """Write the models of a VisionModel as its pods would see them."""
    texts = config_files(name, REVISION, spec, artifact, PLATFORM)
    for one in repository_models(name, spec):
        version = repository / one.name / str(model_version(REVISION))
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(texts[one.config_key], encoding="utf-8")
        if one.has_artifact:
            (version / "model.onnx").write_bytes(model)
    for path in (repository, *repository.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def post_bytes(server: Server, name: str, data: bytes) -> tuple[int, bytes, int]:
    """`curl --data-binary @photo.jpg -H 'Inference-Header-Content-Length: 0'`: status, body, length of its JSON."""
    url = f"http://127.0.0.1:{server.http}/v2/models/{name}/infer"
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    try:
        with open_direct(urllib.request.Request(url, data, headers, method="POST"), timeout=30) as answer:
            return answer.status, answer.read(), int(answer.headers.get("Inference-Header-Content-Length", "0"))
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), 0


def answered(body: bytes, header_length: int) -> dict[str, Array]:
    """Every output of an HTTP answer, by name."""
    result = tritonclient.http.InferenceServerClient.parse_response_body(body, header_length=header_length or None)
    names = [output["name"] for output in result.get_response()["outputs"]]
    return {name: result.as_numpy(name) for name in names}


def client_batch(client_module: Any, images: Sequence[bytes]) -> Any:
    """The input of a request with several images, for tritonclient.http or tritonclient.grpc."""
    tensor = client_module.InferInput("image", [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(images, dtype=np.object_).reshape(-1, 1))
    return [tensor]
