"""A lock between processes, held as long as a file stays open.

Two callers (a test run and a person) must not build the same binary or start the same cluster at once. `flock` is
released by the kernel when a process dies, so a crash leaves no stale lock.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visionmodel_devcluster.errors import DevClusterError


@contextmanager
def file_lock(path: Path, *, refusal: str = "") -> Iterator[None]:
    """Hold the exclusive lock on `path`, after waiting for it; with a `refusal` that is raised instead of waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise DevClusterError(refusal) from None
        yield
