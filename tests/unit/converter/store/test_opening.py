"""Which store a request or an option means, and what names none."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from visionmodel_contract.conversion import PublishTarget
from visionmodel_converter.command_line import store_of
from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.store.collection import age_of
from visionmodel_converter.store.opening import fetch_from_bucket, open_store

DIGEST = f"sha256:{'a' * 64}"


def shown(target: PublishTarget, folder: Path) -> str:
    environment = environment_from(
        {"VISIONMODEL_ARTIFACT_ROOT": str(folder), "VISIONMODEL_ARTIFACT_CREDENTIALS": str(folder / "none")}
    )
    with open_store(target, environment, lambda: datetime.now(UTC)) as store:
        return store.shown


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("r.example:5000/a/b", "r.example:5000/a/b"),
        ("s3://bucket/a/", "s3://bucket/a"),
        ("s3://bucket", "s3://bucket"),
        ("pvc://claim/vision", "pvc://claim/vision"),
        ("pvc://claim", "pvc://claim"),
        ("/var/artifacts", "/var/artifacts"),
    ],
)
def test_store(text: str, found: str, tmp_path: Path) -> None:
    assert shown(store_of(text, insecure=False), tmp_path) == found


@pytest.mark.parametrize("text", ["ftp://host/a", "s3://", "pvc://claim/../other", "pvc://claim/a/%2e%2e/b", "R/A"])
def test_what_is_no_store_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure) as refusal:
        shown(store_of(text, insecure=False), tmp_path)
    assert refusal.value.reason is Reason.BAD_REQUEST


def test_plain_http_needs_a_word(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "AWS_ENDPOINT_URL").write_text("http://s3.example")
    with pytest.raises(ConversionFailure, match=r"artifacts\.insecure"):
        shown(store_of("s3://bucket", insecure=False), tmp_path)
    assert shown(store_of("s3://bucket", insecure=True), tmp_path) == "s3://bucket"


@pytest.mark.parametrize("image", ["s3://bucket/a", f"s3://bucket/a@{DIGEST}", "s3://bucket/prepare-1"])
def test_an_artifact_of_object_storage_is_named_by_key_and_digest(image: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match="names no artifact") as refusal:
        fetch_from_bucket(image, tmp_path, environment_from({}), insecure=False)
    assert refusal.value.reason is Reason.BAD_REQUEST


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604800), ("12h", 43200), ("30m", 1800), ("90s", 90)])
def test_age(text: str, seconds: int) -> None:
    assert age_of(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "7 d", "1w"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(ValueError, match="no time such as"):
        age_of(text)
