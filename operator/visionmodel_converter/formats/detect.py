"""Which format fetched content is: read from the content, and held against what the request promised.

Names lie, so magic bytes and the members of archives decide; a disagreement is refused and not resolved. Nothing here
unpacks or loads anything. Called by `load` before a loader is chosen.
"""

import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from visionmodel_contract.formats import SourceFormat
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.formats.pickles import is_pickle, refuse_pickle, refuse_zipped_pickle

HEAD_BYTES: Final = 64
ZIP_MAGIC: Final = b"PK\x03\x04"
GZIP_MAGIC: Final = b"\x1f\x8b"
HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
TFLITE_IDENTIFIER: Final = b"TFL3"
SAVED_MODEL_FILE: Final = "saved_model.pb"
SAVED_MODEL_HEAD: Final = b"\x08\x01\x12"
"""Field 1 (schema version) is 1 and field 2 follows; in an ONNX file field 1 is the IR version, which is 3 or more."""
MAX_MEMBERS: Final = 100_000
SHOWN_MEMBERS: Final = 5
SET_FORMAT: Final = "set spec.model.modelFormat.name to what the file is, or upload the right file"


def detect(path: Path, *, shown: str, declared: str | None = None, trust_pickle: bool = False) -> SourceFormat:
    """Return the format of a file or folder.

    Content without any known signature counts as ONNX unless something else is declared: the ONNX reader says best
    what is wrong with it. Raises ConversionFailure: UnsupportedSource (an unknown name is declared), FormatMismatch,
    DamagedArchive, or for pickles UnsafePickle, TrustNeeded or NoGraph.
    """
    promised = _promised(declared)
    found = _found(path, shown, trust_pickle)
    if promised is not None and found is not promised and not (found is None and promised is SourceFormat.ONNX):
        seen = f"its content is {found.value}" if found else "its content is not; it may be truncated"
        raise ConversionFailure(
            Reason.FORMAT_MISMATCH, f"{shown} is declared to be {promised.value}, but {seen}; {SET_FORMAT}"
        )
    return found or SourceFormat.ONNX


def _promised(declared: str | None) -> SourceFormat | None:
    try:
        return None if declared is None else SourceFormat(declared)
    except ValueError as error:
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE,
            f"model format {declared!r} is not supported; there are {', '.join(SourceFormat)}",
        ) from error


def _found(path: Path, shown: str, trust_pickle: bool) -> SourceFormat | None:
    if path.is_dir():
        return _of_members([str(found.relative_to(path)) for found in path.rglob("*")], shown)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(HDF5_MAGIC):
        return SourceFormat.KERAS
    if head[4:8] == TFLITE_IDENTIFIER:
        return SourceFormat.TFLITE
    if head.startswith(ZIP_MAGIC):
        return _of_zip(path, shown, trust_pickle)
    if is_pickle(head):
        refuse_pickle(path, shown, trusted=trust_pickle)
    if head.startswith(SAVED_MODEL_HEAD):
        raise ConversionFailure(
            Reason.DAMAGED_ARCHIVE,
            f"{shown} is the {SAVED_MODEL_FILE} of a TensorFlow SavedModel without its variables; upload the whole "
            "folder as one .zip or .tar.gz",
        )
    return _of_tar(path, shown, head)


def _of_zip(path: Path, shown: str, trust_pickle: bool) -> SourceFormat:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise _damaged(shown, "zip archive", error) from error
    if any(_below_root(name) == "data.pkl" for name in names) and not _is_torchscript(names):
        refuse_zipped_pickle(path, shown, trusted=trust_pickle)
    return _of_members(names, shown)


def _of_tar(path: Path, shown: str, head: bytes) -> SourceFormat | None:
    """Look into a tar archive, compressed or not; other gzip files are left to the ONNX reader's words."""
    if not (head.startswith(GZIP_MAGIC) or tarfile.is_tarfile(path)):
        return None
    names: list[str] = []
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                names.append(member.name)
                if len(names) > MAX_MEMBERS or member.name.endswith(SAVED_MODEL_FILE):
                    break  # going on would unpack all of it
    except tarfile.ReadError:
        if not names:
            return None
        raise _damaged(shown, "tar archive", EOFError("unexpected end")) from None
    except (EOFError, OSError) as error:
        raise _damaged(shown, "gzip or tar archive", error) from error
    return _of_members(names, shown)


def _damaged(shown: str, kind: str, error: Exception) -> ConversionFailure:
    return ConversionFailure(
        Reason.DAMAGED_ARCHIVE,
        f"{shown} is a {kind} that cannot be read ({first_line(error)}): it is truncated or damaged; compare its size "
        "and sha256 with the original and upload it again",
    )


def _of_members(names: Sequence[str], shown: str) -> SourceFormat:
    if _is_torchscript(names):
        return SourceFormat.TORCHSCRIPT
    if any(_below_root(name) in ("archive_format", "archive_version") for name in names) or (
        "serialized_exported_program.json" in names
    ):
        return SourceFormat.TORCH_EXPORT
    if any(name.removeprefix("./").split("/")[-1] == SAVED_MODEL_FILE for name in names):
        return SourceFormat.SAVED_MODEL
    if "config.json" in names and any(name.endswith("model.weights.h5") for name in names):
        return SourceFormat.KERAS
    listed = ", ".join(repr(name[:60]) for name in names[:SHOWN_MEMBERS]) or "nothing"
    onnx = next((name for name in names if name.endswith(".onnx")), None)
    advice = f"upload {onnx!r} itself" if onnx else "upload one model, not a collection"
    raise ConversionFailure(Reason.FORMAT_MISMATCH, f"{shown} holds no model of a known format but {listed}; {advice}")


def _is_torchscript(names: Sequence[str]) -> bool:
    inner = {_below_root(name) for name in names}
    return "constants.pkl" in inner and any(part.startswith("code/") for part in inner)


def _below_root(name: str) -> str:
    """PyTorch's archives keep everything below one folder that is named after the file."""
    return name.partition("/")[2]
