"""What only folders can tell: killed processes, names of mounted claims, and disks that refuse."""

import os
import signal
import sys
from pathlib import Path

import pytest

from contracts.artifact_stores import KEY, MODEL, publish
from contracts.collected_entries import collected
from contracts.store_kits import watched
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.store.collection import Fate
from visionmodel_converter.store.folder import FolderStore


def killed_at(step: int, store: FolderStore, work: Path) -> bool:
    """Publish in a child that is killed, as the kernel kills, before its write number `step`; whether it came to it."""
    work.mkdir()
    child = os.fork()
    if child == 0:
        writes = iter(range(1, step + 1))

        def strike() -> None:
            if next(writes, step) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with watched(store.root, strike):
                publish(store, work)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a fork beside threads is refused as a warning")
def test_killed_process_leaves_all_or_nothing(tmp_path: Path) -> None:
    outcomes: list[bool] = []
    while True:
        step = len(outcomes) + 1
        store = FolderStore(tmp_path / f"store-{step}")
        was_killed = killed_at(step, store, tmp_path / f"killed-{step}")
        found = store.find(KEY, tmp_path / "found")
        assert found is None or found.model.read_bytes() == MODEL
        outcomes.append(found is not None)
        (tmp_path / f"again-{step}").mkdir()
        again, was_there = publish(store, tmp_path / f"again-{step}")
        assert was_there is outcomes[-1]
        assert again.model.read_bytes() == MODEL
        assert set(collected(store, KEY).values()) <= {Fate.NEEDED, Fate.LEFTOVER}
        assert [path.name for path in store.root.iterdir()] == [f"prepare-{KEY}"]
        if not was_killed:
            break
    assert len(outcomes) > 8
    assert outcomes == sorted(outcomes), "once it is there it stays"


def test_an_artifact_on_a_claim_is_named_by_the_claim(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "mnt" / "vision", "pvc://artifacts/vision")
    (tmp_path / "work").mkdir()
    made, _ = publish(store, tmp_path / "work")
    assert made.info.image == f"pvc://artifacts/vision/prepare-{KEY}"
    assert made.model == tmp_path / "mnt" / "vision" / f"prepare-{KEY}" / "model.onnx"
    assert store.shown == "pvc://artifacts/vision"


def test_a_folder_that_servers_read_is_readable_by_all(tmp_path: Path) -> None:
    made, _ = publish(FolderStore(tmp_path / "store"), tmp_path / "work")
    assert made.model.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("file", ["artifact.json", "report.json", "model.onnx"])
def test_a_missing_file_is_damage(tmp_path: Path, file: str) -> None:
    store = FolderStore(tmp_path / "store")
    made, _ = publish(store, tmp_path / "work")
    (made.model.parent / file).unlink()
    with pytest.raises(ConversionFailure, match=f"lacks {file}") as refusal:
        store.find(KEY, tmp_path / "found")
    assert refusal.value.reason is Reason.ARTIFACT_CORRUPT


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConversionFailure, match="cannot be used") as refusal:
        publish(FolderStore(tmp_path / "file" / "store"), tmp_path / "work")
    assert refusal.value.reason is Reason.STORE_UNAVAILABLE


def test_who_reads_a_cache_while_it_is_replaced_has_the_old_one(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    store.write_cache("timing-0", b"old", tmp_path)
    os.link(store.root / "timing-0", tmp_path / "being-read")
    store.write_cache("timing-0", b"new", tmp_path)
    assert ((tmp_path / "being-read").read_bytes(), store.read_cache("timing-0", tmp_path)) == (b"old", b"new")
    assert [path.name for path in store.root.iterdir()] == ["timing-0"]
