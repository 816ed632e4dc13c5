"""Artifacts in Azure: the contract of all stores, on its own conditional writes.

Google Cloud Storage is left out: its test server does not know the requests by which the client writes.
"""

from pathlib import Path
from uuid import uuid4

import pytest

from contracts.artifact_stores import ArtifactStoreContract, folders
from contracts.collected_entries import CollectionContract
from contracts.store_kits import BucketKit
from visionmodel_converter.clouds.buckets import Login, open_bucket
from visionmodel_converter.clouds.patience import Retry
from visionmodel_converter.environment import Environment

from .conftest import ACCOUNT, ACCOUNT_KEY

__all__ = ["folders"]


class TestAzure(ArtifactStoreContract, CollectionContract):
    @pytest.fixture
    def kit(self, azure: str, secret: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> BucketKit:
        (secret / "AZURE_STORAGE_ENDPOINT").write_text(azure)
        (secret / "AZURE_STORAGE_ACCOUNT_KEY").write_text(ACCOUNT_KEY)
        bucket = open_bucket("abfs", f"models@{ACCOUNT}.dfs.core.windows.net", Login(environment), Retry())
        kit = BucketKit(bucket, f"artifacts/{uuid4().hex}")
        kit.gated(monkeypatch)
        return kit
