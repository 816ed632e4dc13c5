"""Trained models on request, from the cache when these sources have been trained before.

The key covers this package's sources and the versions of the libraries that decide the outcome,
so a changed recipe is a new entry and an unchanged one costs a file copy. The demo and the tests
call `build`; people call `python -m example_models build`.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from example_models.families import FAMILIES, SEED, Family, Report

PACKAGE = Path(__file__).parent
LIBRARIES = ("numpy", "onnx", "pillow")
MANIFEST = "models.json"


class TrainingFailedError(Exception):
    """A training process ended badly; its own output says why."""


def build(
    out: Path | None = None,
    *,
    only: Family | None = None,
    cache: Path | None = None,
    report: Report = lambda line: None,
) -> Path:
    """The folder that holds the models: `out` if given, else the cache entry itself.

    Treat the cache entry as read-only. Two builds at once train once: the second one waits.
    """
    families = FAMILIES if only is None else (only,)
    entry = (cache or default_cache()) / "models" / cache_key()
    entry.mkdir(parents=True, exist_ok=True)
    with _locked(entry / ".lock"):
        missing = [family for family in families if not (entry / family / MANIFEST).exists()]
        if missing:
            _train(missing, entry, report)
        _write_manifest(entry, [name for name in FAMILIES if (entry / name / MANIFEST).exists()])
    if out is None:
        return entry
    for family in families:
        shutil.copytree(entry / family, out / family, dirs_exist_ok=True)
    _write_manifest(out, families)
    return out


def default_cache() -> Path:
    """`$VISIONMODEL_CACHE`, else `visionmodel` in the user's cache folder."""
    named = os.environ.get("VISIONMODEL_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visionmodel"


def cache_key() -> str:
    """Sixteen hex digits over the sources of this package and `library_versions`."""
    digest = hashlib.sha256(json.dumps(library_versions(), sort_keys=True).encode())
    for path in sorted(PACKAGE.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def library_versions() -> dict[str, str]:
    """What besides the sources decides the bytes: libraries and processor architecture."""
    return {name: version(name) for name in LIBRARIES} | {"machine": platform.machine()}


def write_staged(family: Family, folder: Path, report: Report) -> None:
    """Train and verify one family in `folder`; what a training process runs."""
    # Both are heavy and needed only here: with a filled cache no model library is loaded.
    from example_models.recipe import write_family
    from example_models.verification import verified_files

    write_family(family, folder, report)
    files = verified_files(folder, family)
    for row in files:
        report(f"{row['file']}: {row['metric']} {row['value']}")
    (folder / MANIFEST).write_text(json.dumps(files, indent=2) + "\n")


def _train(families: Sequence[Family], entry: Path, report: Report) -> None:
    """Train in one process per family, each with one BLAS thread, and move the results in place.

    BLAS reads its thread count when it is loaded, hence processes. One thread makes the sums, and
    so the weights, the same on every run; and on a busy machine a second one only spins.
    """
    with tempfile.TemporaryDirectory(dir=entry, prefix=".staging-") as staging:
        runs = []
        for family in families:
            (Path(staging) / family).mkdir()
            command = [sys.executable, "-m", PACKAGE.name, "train", family, staging]
            report(f"{family}: training")
            runs.append((family, subprocess.Popen(command, env=_training_environment())))
        failed = [family for family, process in runs if process.wait() != 0]
        for family in set(families).difference(failed):
            (Path(staging) / family).rename(entry / family)
    if failed:
        raise TrainingFailedError(f"training of {', '.join(failed)} failed, see above")


def _training_environment() -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | threads | {"PYTHONPATH": os.pathsep.join(paths)}


def _write_manifest(folder: Path, families: Sequence[Family]) -> None:
    files = [row for name in families for row in json.loads((folder / name / MANIFEST).read_text())]
    content = {"key": cache_key(), "seed": SEED, "versions": library_versions(), "files": files}
    staged = folder / f"{MANIFEST}.tmp"
    staged.write_text(json.dumps(content, indent=2) + "\n")
    staged.replace(folder / MANIFEST)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
