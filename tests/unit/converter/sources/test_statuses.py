"""Every kind of store against the same refusals: each status has one reason, whatever the store's client calls it."""

from datetime import timedelta
from pathlib import Path

import pytest

from unit.converter.sources.answers import Answer, Server, serving
from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.fetch import Retry, fetch
from visionmodel_converter.sources.tree import fetch_tree

ONCE = Retry(attempts=0, first_wait=timedelta(milliseconds=1), deadline=timedelta(seconds=5))
SAS = "sv=2024-01-01&sig=c2lnbmF0dXJl"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "s3cret-value",
    "AZURE_STORAGE_SAS_TOKEN": SAS,
    "HF_TOKEN": "s3cret-value",
    "MLFLOW_TRACKING_TOKEN": "s3cret-value",
    "token": "s3cret-value",
    "OCI_PLAIN_HTTP": "true",
}
ADDRESSES = (
    "AWS_ENDPOINT_URL",
    "STORAGE_EMULATOR_HOST",
    "AZURE_STORAGE_ENDPOINT",
    "HF_ENDPOINT",
    "MLFLOW_TRACKING_URI",
)
URIS = {
    "s3": "s3://bucket/a/m.onnx",
    "gs": "gs://bucket/a/m.onnx",
    "abfs": "abfs://container@account.dfs.core.windows.net/a/m.onnx",
    "https": "http://{host}/a/m.onnx",
    "hf": "hf://org/repo@v1/a/m.onnx",
    "oci": "oci://{host}/org/repo:v1",
    "mlflow": "mlflow://model/3",
}
LISTING = ("s3", "gs", "abfs", "hf", "oci", "mlflow")
REASONS = {
    404: Reason.SOURCE_NOT_FOUND,
    401: Reason.SOURCE_FORBIDDEN,
    403: Reason.SOURCE_FORBIDDEN,
    429: Reason.SOURCE_THROTTLED,
    500: Reason.SOURCE_UNAVAILABLE,
    503: Reason.SOURCE_UNAVAILABLE,
}


def refusal(store: str, server: Server, folder: Path, *, tree: bool = False) -> ConversionFailure:
    for name, value in {**KEYS, **dict.fromkeys(ADDRESSES, server.url)}.items():
        (folder / name).write_text(value)
    environment = environment_from(
        {
            "VISIONMODEL_SOURCE_CREDENTIALS": str(folder),
            "VISIONMODEL_ALLOW_HTTP": "true",
            "GCE_METADATA_HOST": "127.0.0.1:9",
        }
    )
    uri = URIS[store].format(host=server.host)
    (folder / "out").mkdir()
    with pytest.raises(ConversionFailure) as caught:
        (fetch_tree if tree else fetch)(
            uri, folder / "out" / "target", environment=environment, max_bytes=1000, retry=ONCE
        )
    assert list((folder / "out").iterdir()) == []
    message = caught.value.message
    assert "s3cret" not in message
    assert "sig=" not in message
    return caught.value


@pytest.mark.parametrize("status", REASONS)
@pytest.mark.parametrize("store", URIS)
def test_a_status_has_one_reason_in_every_store(tmp_path: Path, store: str, status: int) -> None:
    with serving(lambda _: Answer(status, b"{}")) as server:
        failure = refusal(store, server, tmp_path)
    assert failure.reason is REASONS[status], failure.message
    assert "m.onnx" in failure.message or "org/repo" in failure.message or "model/3" in failure.message
    assert len(server.asked) >= 1


@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize("store", LISTING)
def test_listing_is_refused_with_the_same_reasons(tmp_path: Path, store: str, status: int) -> None:
    with serving(lambda _: Answer(status, b"{}")) as server:
        assert refusal(store, server, tmp_path, tree=True).reason is REASONS[status]


@pytest.mark.parametrize("store", ["hf", "mlflow", "oci"])
@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"[]", b"{}", b'{"layers": [{}]}', b"\xff\xfe"])
def test_an_answer_of_another_kind(tmp_path: Path, store: str, body: bytes) -> None:
    """A login page with status 200 is the usual proxy's answer."""
    with serving(lambda _: Answer(200, body)) as server:
        assert refusal(store, server, tmp_path).reason is Reason.UNSUPPORTED_SOURCE


@pytest.mark.parametrize("store", ["https", "hf", "mlflow"])
def test_credentials_do_not_follow_a_redirect_to_another_host(tmp_path: Path, store: str) -> None:
    with (
        serving(lambda _: Answer(403)) as other,
        serving(lambda _: Answer(302, headers={"Location": f"http://localhost:{other.host.split(':')[1]}/m"})) as first,
    ):
        assert refusal(store, first, tmp_path).reason is Reason.SOURCE_FORBIDDEN
    assert [request.headers.get("Authorization") for request in first.asked] == ["Bearer s3cret-value"]
    assert ["Authorization" in request.headers for request in other.asked] == [False]
