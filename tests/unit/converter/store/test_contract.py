"""The stores that need no server, held to the contract of all stores."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from obstore.store import MemoryStore

from contracts.artifact_stores import ArtifactStoreContract, folders
from contracts.collected_entries import CollectionContract
from contracts.store_kits import BucketKit, FolderKit, RegistryKit, fake_registry_kit, watched

__all__ = ["folders"]


class TestFolder(ArtifactStoreContract, CollectionContract):
    @pytest.fixture
    def kit(self, tmp_path: Path) -> Iterator[FolderKit]:
        kit = FolderKit(tmp_path / "store")
        with watched(kit.root, kit.gates.pass_through):
            yield kit


class TestBucketInMemory(ArtifactStoreContract, CollectionContract):
    @pytest.fixture
    def kit(self, monkeypatch: pytest.MonkeyPatch) -> BucketKit:
        kit = BucketKit(MemoryStore(), f"artifacts/{uuid4().hex}")
        kit.gated(monkeypatch)
        return kit


class TestRegistryInMemory(ArtifactStoreContract, CollectionContract):
    @pytest.fixture
    def kit(self) -> Iterator[RegistryKit]:
        kit = fake_registry_kit()
        yield kit
        kit.close()
