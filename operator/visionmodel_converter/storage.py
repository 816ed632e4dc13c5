"""What a conversion may still write, asked before it writes.

The kubelet measures the pod's scratch folders and evicts a pod above its limit; the process cannot say why then, and
the Job would try the same again. So sizes are limited to what is left: a model that does not fit is refused with the
limit and the setting that raises it. Called by `prepare`.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visionmodel_contract.report import byte_size
from visionmodel_converter.failures import ConversionFailure, Reason

MODEL_COPIES: Final = 4
"""A model on disk at once: the archive, what comes out of it, the graph read out of that, its weights folded in."""
DATA_COPIES: Final = 2
"""A dataset: the archive, and what comes out of it."""
WORKING_COPIES: Final = 4
"""While precisions are made: a library's input, its augmented graph and its output; afterwards the artifact's layer."""
EXPORT_COPIES: Final = 5
"""While an export is made: the graph handed over, two of a framework's own (onnx2tf), the files and their layer."""
TOO_LARGE: Final = (Reason.SOURCE_TOO_LARGE, Reason.ARCHIVE_TOO_LARGE)
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
SETTING: Final = "Helm value jobResources.ephemeralStorage"


@dataclass(frozen=True, slots=True)
class Storage:
    """The scratch folders of one run; without folders nothing is measured and everything fits.

    Attributes:
        folders: all that counts towards the limit.
        limit_bytes: of the pod (`limits.ephemeral-storage`); None where only the disk is one.
    """

    folders: tuple[Path, ...] = ()
    limit_bytes: int | None = None

    def used_bytes(self) -> int:
        """Return what the files below the folders take on disk."""
        return sum(map(_size_of, (path for top in self.folders for path in _files(top))))

    def refuse_shortage(self, needed: int, what: str) -> None:
        """Raise unless so many bytes may still be written.

        Raises:
            ConversionFailure: StorageExceeded where the pod's limit is in the way, which the next run would meet
                again; DiskFull where the node's disk is, which another node may not share.
        """
        left = self._left()
        if left is not None and needed > left:
            raise self._shortage(left, what)

    @contextmanager
    def limiting(self, max_bytes: int, *, copies: int, what: str) -> Iterator[int]:
        """Give the largest size, at most `max_bytes`, of which so many copies fit.

        Sizes are known only as the bytes arrive. What meets the lowered limit and not the full one is refused for want
        of space, as `refuse_shortage` does, and not for its size.
        """
        left = self._left()
        allowed = max_bytes if left is None else max(0, min(max_bytes, left // copies))
        try:
            yield allowed
        except ConversionFailure as failure:
            if left is None or allowed == max_bytes or not _is_too_large(failure):
                raise
            raise self._shortage(left, what) from failure

    def _shortage(self, left: int, what: str) -> ConversionFailure:
        words = f"{what} would take more than the {byte_size(max(0, left))} of scratch space that are left"
        if self.limit_bytes is not None and self.limit_bytes - self.used_bytes() <= self._free():
            return ConversionFailure(
                Reason.STORAGE_EXCEEDED,
                f"{words} of the Job's {byte_size(self.limit_bytes)}; use a smaller model or fewer samples, or have "
                f"the platform team raise the {SETTING}",
            )
        return disk_full(words)

    def _left(self) -> int | None:
        if not self.folders:
            return None
        free = self._free()
        return free if self.limit_bytes is None else min(free, self.limit_bytes - self.used_bytes())

    def _free(self) -> int:
        return min(shutil.disk_usage(folder).free for folder in self.folders)


def disk_full(what: str) -> ConversionFailure:
    """Return the failure of a node without space; the Job tries again, perhaps on another one."""
    return ConversionFailure(
        Reason.DISK_FULL,
        f"{what}: the node's disk is full; free space on it, or give Jobs a larger disk and request (the {SETTING})",
    )


def is_disk_full(error: BaseException) -> bool:
    """Return whether the system refused a write for want of space."""
    return isinstance(error, OSError) and error.errno in FULL


def says_disk_full(words: str) -> bool:
    """Return whether the output of another process says so."""
    return any(os.strerror(number) in words for number in FULL)


def _is_too_large(failure: ConversionFailure) -> bool:
    cause = failure.__cause__
    return failure.reason in TOO_LARGE or (isinstance(cause, ConversionFailure) and cause.reason in TOO_LARGE)


def _files(top: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(top):
        yield from (Path(parent) / name for name in names)


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:  # a library's scratch file, gone since it was listed
        return 0
