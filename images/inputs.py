"""What goes into an image, as the digest that is its tag."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from images.catalog import PIP_LOCK, ROOT, ImageSource
from images.engine import Request

DIGEST_DIGITS = 12
# Raised when the way of building changes in a manner that no input shows.
LAYOUT = "1"


def input_digest(image: ImageSource, request: Request, root: Path = ROOT) -> str:
    """12 hex digits that change with any file, base or argument that goes into the image."""
    digest = hashlib.sha256()
    arguments = (LAYOUT, image.target, request.base.identity, request.base.python, request.version, request.revision)
    for text in arguments:
        digest.update(text.encode() + b"\0")
    for path in sorted(_input_files(image, root)):
        executable = os.access(path, os.X_OK)
        digest.update(f"{path.relative_to(root)}\0{executable}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:DIGEST_DIGITS]


def _input_files(image: ImageSource, root: Path) -> Iterator[Path]:
    common = ("images/install_venv.sh", str(PIP_LOCK), *map(str, image.locks), str(image.folder))
    for entry in dict.fromkeys((*common, *image.inputs)):
        path = root / entry
        found = path.rglob("*") if path.is_dir() else iter((path,))
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)
