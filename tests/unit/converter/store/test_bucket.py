"""What a bucket alone can have: an index that somebody has overwritten."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.store import MemoryStore

from contracts.artifact_stores import KEY, OTHER, publish
from contracts.store_kits import BucketKit


def test_damaged_artifact_does_not_end_the_collection_of_others(tmp_path: Path) -> None:
    kit = BucketKit(MemoryStore(), "artifacts")
    publish(kit.store(), tmp_path / "work", key=OTHER)
    publish(kit.store(), tmp_path / "work")
    obstore.put(kit.bucket, f"artifacts/prepare-{KEY}/artifact.json", b"overwritten")
    obstore.put(kit.bucket, f"artifacts/prepare-{OTHER}/abandoned/model.onnx", b"of a killed publisher")
    later = datetime.now(UTC) + timedelta(days=8)
    assert list(kit.store().remove_leftovers(later, dry_run=True)) == [
        f"s3://models/artifacts/prepare-{OTHER}/abandoned"
    ]
