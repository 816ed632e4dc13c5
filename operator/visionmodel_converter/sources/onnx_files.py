"""Fetch an ONNX model that may not be one file: weights beside it (external data), or an archive around both.

What arrives is folded into one self-contained file, so that every stage after this one reads a single model. The
model file is untrusted when it says where its weights lie: only plain names below its own folder are followed, in the
store it came from, and what the tensors claim is checked against what is there before any of it is loaded.
"""

import mmap
import posixpath
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor

from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.defects import bytes_of
from visionmodel_converter.graph.onnx_model import tensors_of
from visionmodel_converter.sources.archive import Limits, archive_kind, unpack
from visionmodel_converter.sources.claim import FolderOrigin
from visionmodel_converter.sources.fetch import (
    DEFAULT_RETRY,
    Fetched,
    Retry,
    copied,
    file_of,
    is_model,
    opened,
    refuse_other_digest,
)
from visionmodel_converter.sources.names import clash_of, fault_of, shown_name
from visionmodel_converter.sources.origin import Origin
from visionmodel_converter.sources.tree import TreeFile, tree_digest

PROTOBUF_LIMIT: Final = 2**31 - 1
MAX_FILES: Final = 1000
SINGLE_FILE: Final = "save the model as a single file (onnx.save with save_as_external_data=False)"
NUMBER: Final = re.compile(r"^[0-9]{0,18}\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """One tensor's data in a file beside the model; `length` is what its shape and type need."""

    tensor: str
    location: str
    offset: int
    length: int


def fetch_onnx(
    uri: str,
    folder: Path,
    *,
    environment: Environment,
    max_bytes: int,
    expected_digest: str | None = None,
    retry: Retry = DEFAULT_RETRY,
) -> Fetched:
    """Fetch a model into `folder` as one file without external data.

    The digest is that of the one file at the URI (the model or the archive); with weights beside the model it is the
    folder digest (`tree`) over the model and each of them. Raises ConversionFailure as `fetch` and `unpack` do, and
    ExternalData or ExternalDataShort for a model whose references must not or cannot be followed.
    """
    target = folder / "source.onnx"
    with opened(uri, environment=environment, max_bytes=max_bytes, retry=retry, scratch=folder) as found:
        path = file_of(found)
        kind = archive_kind(path)
        if kind is None:
            model = copied(found.origin, path, target, max_bytes=max_bytes)
            beside = _fetch_beside(found.origin, path, model, folder / "beside", max_bytes)
            digest = model.digest if not beside else tree_digest([_as_part(path, model), *beside])
            refuse_other_digest(model.uri, digest, expected_digest)
        else:
            packed = copied(found.origin, path, folder / "packed", max_bytes=max_bytes, expected_digest=expected_digest)
            model, digest = _unpacked(packed, kind, folder, target, max_bytes), packed.digest
            packed.path.unlink()
    if (folder / "beside").exists():
        _fold(model.path, folder / "beside", model.uri)
        shutil.rmtree(folder / "beside")
    return Fetched(target, digest, target.stat().st_size, model.uri)


def _as_part(path: str, file: Fetched) -> TreeFile:
    return TreeFile(posixpath.basename(path), file.digest, file.size_bytes)


def _unpacked(packed: Fetched, kind: str, folder: Path, target: Path, max_bytes: int) -> Fetched:
    unpacked = folder / "unpacked"
    names = unpack(packed.path, unpacked, kind=kind, shown=packed.uri, limits=Limits(max_bytes))
    models = [name for name in names if is_model(name)]
    if len(models) != 1:
        raise ConversionFailure(
            Reason.AMBIGUOUS_SOURCE,
            f"{packed.uri} holds {len(models)} ONNX models among {len(names)} files; pack exactly one .onnx file, with "
            "its weights beside it if it has such",
        )
    origin = FolderOrigin(unpacked, f"{packed.uri}#")
    model = copied(origin, models[0], target, max_bytes=max_bytes)
    _fetch_beside(origin, models[0], model, folder / "beside", max_bytes)
    shutil.rmtree(unpacked)
    return model


def _fetch_beside(origin: Origin, path: str, model: Fetched, target: Path, max_bytes: int) -> tuple[TreeFile, ...]:
    """Fetch every file that the model's tensors name, from its own folder in its own store."""
    references = external_references(model.path, model.uri)
    if not references:
        return ()
    locations = sorted({reference.location for reference in references})
    _refuse_impossible(references, locations, model, posixpath.basename(path), min(max_bytes, PROTOBUF_LIMIT))
    left, files = max_bytes - model.size_bytes, []
    for location in locations:
        file = target / location
        file.parent.mkdir(parents=True, exist_ok=True)
        first = next(reference for reference in references if reference.location == location)
        try:
            got = copied(origin, posixpath.join(posixpath.dirname(path), location), file, max_bytes=max(left, 0))
        except ConversionFailure as failure:
            raise ConversionFailure(
                failure.reason,
                f"{model.uri}: tensor {first.tensor!r} keeps its data in {location!r} beside the model: "
                f"{failure.message}",
            ) from failure
        left -= got.size_bytes
        files.append(TreeFile(location, got.digest, got.size_bytes))
    for reference in references:
        _refuse_outside(reference, (target / reference.location).stat().st_size, model.uri)
    return tuple(files)


def external_references(path: Path, shown: str) -> tuple[Reference, ...]:
    """Return where a model file keeps tensors outside itself; nothing for a file that is no ONNX model.

    What such a file is instead is said by the Check stage. Raises ExternalData for entries that are no plain names
    and numbers.
    """
    if not _mentions_location(path):
        return ()
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        return ()
    return tuple(_references(model, shown))


def _mentions_location(path: Path) -> bool:
    """Whether the key that every reference has occurs at all: saves parsing large models twice."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return text.find(b"location") >= 0


def _references(model: ModelProto, shown: str) -> Iterator[Reference]:
    for tensor in tensors_of(model):
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            continue
        keys = [entry.key for entry in tensor.external_data]
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if tensor.data_location != TensorProto.EXTERNAL or tensor.HasField("raw_data"):
            raise _refused(shown, tensor.name, location, "and in the model too")
        if len(keys) != len(entries):
            raise _refused(shown, tensor.name, location, "and names a key of it twice")
        fault = fault_of(location)
        if fault is not None:
            raise _refused(shown, tensor.name, location, f"whose name {fault}")
        numbers = [entries.get(key, default) for key, default in (("offset", "0"), ("length", ""))]
        if not all(NUMBER.match(number) for number in numbers):
            raise _refused(shown, tensor.name, location, "at an offset or length that is no number")
        needed = bytes_of(tensor)
        if needed is None or (numbers[1] and int(numbers[1]) != needed):
            raise _refused(
                shown,
                tensor.name,
                location,
                f"with a length of {numbers[1] or '?'}, where type and shape need {needed}",
            )
        yield Reference(tensor.name, location, int(numbers[0] or 0), needed)


def _refused(shown: str, tensor: str, location: str, what: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.EXTERNAL_DATA,
        f"{shown}: tensor {tensor[:100]!r} keeps its data in another file ({shown_name(location)}) {what}; "
        f"{SINGLE_FILE}, or with plain file names beside it",
    )


def _refuse_impossible(
    references: tuple[Reference, ...], locations: list[str], model: Fetched, name: str, max_bytes: int
) -> None:
    """Look at all references together, before anything is fetched."""
    total = model.size_bytes + sum(reference.length for reference in references)
    if total > max_bytes or len(locations) > MAX_FILES:
        raise ConversionFailure(
            Reason.SOURCE_TOO_LARGE,
            f"{model.uri} with its tensors in {len(locations)} other file(s) needs {total} bytes; one model may have "
            f"{max_bytes} bytes in {MAX_FILES} files",
        )
    clash = name if name in locations else clash_of(locations)
    if clash is not None:
        first = next(reference for reference in references if reference.location.startswith(clash))
        raise _refused(model.uri, first.tensor, clash, "that is the model itself or a folder of another one")


def _refuse_outside(reference: Reference, size: int, shown: str) -> None:
    if reference.offset + reference.length > size:
        raise ConversionFailure(
            Reason.EXTERNAL_DATA_SHORT,
            f"{shown}: tensor {reference.tensor[:100]!r} needs bytes {reference.offset} to "
            f"{reference.offset + reference.length} of {reference.location!r}, which has {size}; upload model and "
            "weights of one export together",
        )


def _fold(model_file: Path, beside: Path, shown: str) -> None:
    """Rewrite the model with its tensors inside."""
    model = ModelProto()
    model.ParseFromString(model_file.read_bytes())
    for tensor in tensors_of(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            _state_fully(tensor)
            load_external_data_for_tensor(tensor, str(beside))
            tensor.ClearField("data_location")  # the same bytes as if it had been saved as one file
    try:
        model_file.write_bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:  # protobuf counts more than our sum of the parts
        raise ConversionFailure(
            Reason.SOURCE_TOO_LARGE,
            f"{shown} with its tensors is larger than a model can be (2 GiB); quantize or split it",
        ) from error


def _state_fully(tensor: TensorProto) -> None:
    """Leave only the three keys that were checked, the length stated: without one onnx reads to the file's end."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    del tensor.external_data[:]
    for key, value in (
        ("location", entries["location"]),
        ("offset", entries.get("offset") or "0"),
        ("length", str(bytes_of(tensor))),
    ):
        tensor.external_data.add(key=key, value=value)
