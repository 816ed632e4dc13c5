"""Timings in a store: what is kept of what builds leave, and that nothing that goes wrong with them is raised."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakes.device import TARGET
from visionmodel_contract.keys import timing_key
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.store.folder import FolderStore
from visionmodel_converter.store.published import MAX_CACHE_BYTES
from visionmodel_converter.store.timings import SEAL_BYTES, Timings, find_timings, keep_timings

NAME = f"timing-{timing_key(TARGET)}"
FOUND = b"what is there"
OUTAGE = ConversionFailure(Reason.STORE_UNAVAILABLE, "no answer")


def test_what_was_kept_is_found_by_its_target_alone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    assert find_timings(store, TARGET, tmp_path) == Timings()
    assert keep_timings(store, TARGET, FOUND, work=tmp_path) is None
    assert find_timings(store, TARGET, tmp_path) == Timings(FOUND)
    for field in TARGET.model_dump():
        other = TARGET.model_copy(update={field: 1 if field == "multiprocessors" else "1"})
        assert find_timings(store, other, tmp_path) == Timings()


LEFT: dict[str, tuple[bytes, bytes, bytes]] = {
    "more": (FOUND + b" and more", b"", FOUND + b" and more"),
    "the same": (FOUND, b"", FOUND),
    "as much": (b"WHAT IS THERE", b"", FOUND),
    "less, as another Job was faster": (b"less", b"", FOUND),
    "less, as what is there was refused": (b"less", FOUND, b"less"),
    "less, as something else was refused": (b"less", b"what was there before", FOUND),
    "nothing": (b"", b"", FOUND),
}


@pytest.mark.parametrize(("left", "refused", "stays"), LEFT.values(), ids=LEFT.keys())
def test_what_has_grown_is_kept(tmp_path: Path, left: bytes, refused: bytes, stays: bytes) -> None:
    store = FolderStore(tmp_path / "store")
    keep_timings(store, TARGET, FOUND, work=tmp_path)
    assert keep_timings(store, TARGET, left, refused=refused, work=tmp_path) is None
    assert find_timings(store, TARGET, tmp_path) == Timings(stays)


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: b"x" + data, lambda data: b""],
    ids=["shorter", "longer", "empty"],
)
def test_what_is_damaged_is_told_and_replaced(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    store = FolderStore(tmp_path / "store")
    keep_timings(store, TARGET, FOUND, work=tmp_path)
    file = store.root / NAME
    file.write_bytes(change(file.read_bytes()))
    found = find_timings(store, TARGET, tmp_path)
    assert (found.content, found.may_be_replaced) == (b"", True)
    assert found.trouble == f"{NAME} was not used (it is not what was written)"
    assert keep_timings(store, TARGET, b"new", work=tmp_path) is None
    assert find_timings(store, TARGET, tmp_path) == Timings(b"new")


def test_more_than_a_cache_may_have_is_not_kept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    most = MAX_CACHE_BYTES - SEAL_BYTES
    assert keep_timings(store, TARGET, bytes(most + 1), work=tmp_path) == (
        f"{NAME} was not kept ({most + 1} bytes are too many)"
    )
    assert find_timings(store, TARGET, tmp_path) == Timings()
    assert keep_timings(store, TARGET, bytes(most), work=tmp_path) is None
    assert find_timings(store, TARGET, tmp_path) == Timings(bytes(most))


@dataclass(frozen=True)
class FailingStore(FolderStore):
    """Cannot be read, or not be written."""

    error: Exception = OUTAGE
    reads: bool = True

    def read_cache(self, name: str, work: Path) -> bytes | None:
        if not self.reads:
            raise self.error
        return super().read_cache(name, work)

    def write_cache(self, name: str, content: bytes, work: Path) -> None:
        raise self.error


def test_what_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    store = FailingStore(tmp_path / "store", reads=False)
    told = f"{NAME} was not read (StoreUnavailable)"
    assert find_timings(store, TARGET, tmp_path) == Timings(trouble=told, may_be_replaced=False)
    assert keep_timings(store, TARGET, FOUND, work=tmp_path) == told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConversionFailure(Reason.STORE_FORBIDDEN, "no right"), "StoreForbidden"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
    ids=["store", "disk"],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, error: Exception, words: str) -> None:
    store = FailingStore(tmp_path / "store", error=error)
    assert keep_timings(store, TARGET, FOUND, work=tmp_path) == f"{NAME} was not kept ({words})"
