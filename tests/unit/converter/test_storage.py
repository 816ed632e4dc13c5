"""What still fits into the scratch folders: said before it is written, with the setting that helps."""

import errno
from collections import namedtuple
from pathlib import Path

import pytest

from visionmodel_contract.exits import PERMANENT_EXIT_CODES
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.storage import Storage, is_disk_full, says_disk_full

MIB = 1024 * 1024
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A scratch folder that holds 1 MiB."""
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "file").write_bytes(b"\1" * MIB)
    return tmp_path


def test_all_folders_count(work: Path) -> None:
    other = work.with_name("other")
    other.mkdir()
    (other / "file").write_bytes(b"\1" * MIB)
    assert Storage((work, other)).used_bytes() == 2 * MIB
    assert Storage((work / "nowhere",)).used_bytes() == 0


def test_what_fits_passes(work: Path) -> None:
    Storage((work,), limit_bytes=3 * MIB).refuse_shortage(2 * MIB, "a model")
    Storage((work,)).refuse_shortage(2 * MIB, "a model")
    Storage().refuse_shortage(2**60, "a model")


def test_the_pods_limit_is_final_and_names_the_setting(work: Path) -> None:
    with pytest.raises(ConversionFailure) as refused:
        Storage((work,), limit_bytes=3 * MIB).refuse_shortage(2 * MIB + 1, "a model")
    assert refused.value.message == (
        "a model would take more than the 2 MiB of scratch space that are left of the Job's 3 MiB; use a smaller model "
        "or fewer samples, or have the platform team raise the Helm value jobResources.ephemeralStorage"
    )
    assert (refused.value.reason, refused.value.exit_code in PERMANENT_EXIT_CODES) == (Reason.STORAGE_EXCEEDED, True)


def test_a_full_disk_may_be_another_one_next_time(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10 * MIB, 9 * MIB, MIB))
    with pytest.raises(ConversionFailure, match="the node's disk is full") as refused:
        Storage((work,), limit_bytes=9 * MIB).refuse_shortage(2 * MIB, "a model")
    assert (refused.value.reason, refused.value.exit_code in PERMANENT_EXIT_CODES) == (Reason.DISK_FULL, False)


def too_large(reason: Reason = Reason.SOURCE_TOO_LARGE) -> ConversionFailure:
    return ConversionFailure(reason, "larger than the limit")


@pytest.mark.parametrize(
    ("limit", "copies", "expected"),
    [
        pytest.param(9 * MIB, 4, 2 * MIB, id="a quarter of what is left"),
        pytest.param(99 * MIB, 4, 5 * MIB, id="never more than is asked"),
        pytest.param(MIB // 2, 4, 0, id="more is used than may be"),
    ],
)
def test_sizes_are_limited_to_what_fits(work: Path, limit: int, copies: int, expected: int) -> None:
    with Storage((work,), limit_bytes=limit).limiting(5 * MIB, copies=copies, what="a model") as allowed:
        assert allowed == expected


@pytest.mark.parametrize("wrapped", [False, True], ids=["itself", "as the cause of a data failure"])
def test_what_meets_the_lowered_limit_lacks_space(work: Path, wrapped: bool) -> None:
    failure = too_large()
    if wrapped:
        failure = too_large(Reason.DATASET_INVALID)
        failure.__cause__ = too_large(Reason.ARCHIVE_TOO_LARGE)
    with (
        pytest.raises(ConversionFailure, match="s3://m would take more than the 8 MiB") as refused,
        Storage((work,), limit_bytes=9 * MIB).limiting(5 * MIB, copies=4, what="s3://m"),
    ):
        raise failure
    assert refused.value.reason is Reason.STORAGE_EXCEEDED


@pytest.mark.parametrize(
    ("limit", "failure"),
    [
        pytest.param(99 * MIB, too_large(), id="too large for any folder"),
        pytest.param(21 * MIB, too_large(), id="the full size would just have fitted"),
        pytest.param(9 * MIB, ConversionFailure(Reason.SOURCE_FORBIDDEN, "no"), id="another failure"),
    ],
)
def test_other_failures_stay_what_they_are(work: Path, limit: int, failure: ConversionFailure) -> None:
    with (
        pytest.raises(ConversionFailure) as refused,
        Storage((work,), limit_bytes=limit).limiting(5 * MIB, copies=4, what="s3://m"),
    ):
        raise failure
    assert refused.value is failure


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("No space left on device"), False),
    ],
)
def test_the_systems_word_for_a_full_disk(error: Exception, expected: bool) -> None:
    assert is_disk_full(error) is expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("OSError: [Errno 28] No space left on device: 'a.onnx'", True),
        ("write failed: Disk quota exceeded", True),
        ("OSError: [Errno 13] Permission denied", False),
    ],
)
def test_the_systems_word_in_the_output_of_another_process(words: str, expected: bool) -> None:
    assert says_disk_full(words) is expected
