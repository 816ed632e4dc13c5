"""The wheels of an image, downloaded once per lock.

Outside the build, so that it needs neither an index nor its certificates.
"""

import hashlib
import importlib.util
import logging
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from images.catalog import PIP_LOCK, ROOT
from images.engine import run

from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.paths import cache_dir

log = logging.getLogger("images")


def wheelhouse(locks: Sequence[Path], python: str) -> Path:
    """Folder with the wheels of an image's locks and of pip for a Python version, downloaded once."""
    texts = [(ROOT / path).read_bytes() for path in (*locks, PIP_LOCK)]
    digest = hashlib.sha256(b"\0".join((*texts, python.encode()))).hexdigest()[:12]
    parent, name = cache_dir() / "wheels", "-".join(lock.stem for lock in locks)
    target = parent / f"image-{name}-{digest}"
    with file_lock(parent / f".image-{name}.lock"):
        if not target.is_dir():
            log.info("downloading the wheels of %s", ", ".join(map(str, locks)))
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent) as scratch:
                output = Path(scratch) / "output"
                for lock in (*locks, PIP_LOCK):  # one by one: what is installed apart may pin other versions
                    run([*_pip(), *_download_arguments(lock, python, output)])
                output.rename(target)
    return target


def _download_arguments(lock: Path, python: str, output: Path) -> list[str]:
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", python]
    return ["download", *options, "--dest", str(output), "-r", str(lock)]


def _pip() -> list[str]:
    """A pip to download with; a virtual environment made by uv has none, so one may have to be made."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    folder = cache_dir() / "pip"
    with file_lock(cache_dir() / ".pip.lock"):
        if not (folder / "bin" / "pip").exists():
            venv.create(folder, with_pip=True, clear=True)
    return [str(folder / "bin" / "python"), "-m", "pip"]
