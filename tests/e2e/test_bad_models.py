"""Models that no conversion can accept: the reason in words, and users never notice."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.installation import Installation
from e2e.scene import Scene, new_name

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WRONG = "sha256:" + 64 * "0"
FILE = "s3://models/shapes/{}/model.onnx"


@pytest.fixture(scope="module")
def served(
    installation: Installation,
    shared_namespace: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Scene]:
    """A VisionModel that serves its first version."""
    scene = Scene(installation, shared_namespace, new_name(), tmp_path_factory.mktemp("served"))
    scene.serve()
    yield scene
    if not request.session.testsfailed:
        scene.delete()


def source(version: str, digest: str | None) -> dict[str, Any]:
    return {"storageUri": FILE.format(version), "digest": digest, "secretRef": {"name": "models-s3"}}


@pytest.mark.parametrize(
    ("version", "digest", "reason", "advice"),
    [
        ("truncated", "own", "NotOnnx", "compare its size and sha256 with the original and upload it again"),
        ("v2", WRONG, "DigestMismatch", f"but the spec asks for {WRONG}; either the file was replaced"),
        ("future-opset", "own", "UnsupportedOpset", "uses opset 99; supported are"),
        ("no-such-version", WRONG, "SourceNotFound", "was not found; check bucket, key and AWS_ENDPOINT_URL"),
    ],
    ids=["truncated file", "wrong digest", "unsupported opset", "missing key"],
)
def test_bad_model_is_named_and_stable_serves_on(
    served: Scene, version: str, digest: str, reason: str, advice: str
) -> None:
    stable = served.model.status()["stable"]["revision"]
    document = served.document(version)
    wanted = served.installation.digests[version] if digest == "own" else digest
    document["spec"]["model"] = source(version, wanted)
    served.model.apply(document)
    status = served.wait_settled(timeout=120)
    converted = served.model.condition("Converted")
    assert (status["phase"], status["reason"]) == ("Degraded", "ConversionFailed")
    assert status["message"].startswith(f"{reason}: "), status["message"]
    assert advice in status["message"]
    assert (converted["status"], converted["reason"]) == ("False", "ConversionFailed")
    assert advice in converted["message"]
    assert status["stable"]["revision"] == stable
    assert (status["history"][0]["outcome"], status["history"][0]["requests"]) == ("ConversionFailed", 0)
    served.answer()
