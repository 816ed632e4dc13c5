"""The Load stage: make the ONNX graph that the other stages work on out of a source in another format.

Called by `prepare` after the look-up. Everything that can be refused without a framework is refused here; the
framework runs in the sandbox, and its graph is checked like any other and compared with the framework's own outputs.
"""

import importlib.util
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visionmodel_contract.conversion import SourceRequest
from visionmodel_contract.formats import CODE_FORMATS, SourceFormat
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.child import MODEL_FILE, REFERENCES_FILE, LoaderJob
from visionmodel_converter.formats.confinement import Confinement, Limits
from visionmodel_converter.formats.detect import GZIP_MAGIC, HDF5_MAGIC, SAVED_MODEL_FILE, ZIP_MAGIC
from visionmodel_converter.formats.loaded import LOADERS
from visionmodel_converter.formats.references import Reference, read_references, refuse_disagreement
from visionmodel_converter.formats.sandbox import OUT, check_untrusted, invalid_result, run_confined
from visionmodel_converter.graph.limits import RuntimeLimits
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import open_session
from visionmodel_converter.sources.archive import Limits as ArchiveLimits
from visionmodel_converter.sources.archive import unpack

MAX_REFERENCE_BYTES: Final = 1024**3
SERVICE_ACCOUNT: Final = Path("/var/run/secrets")
MEMORY_SHARE: Final = 0.75
"""Of the container's memory limit: the rest is for this process, so that the kernel never ends both."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a load may use: an existing folder, limits, threads, and the folders that the loader must not see."""

    work: Path
    limits: Limits
    threads: int
    runtime: RuntimeLimits
    hidden: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedSource:
    """The checked graph, and the largest relative difference of its outputs from the framework's."""

    path: Path
    model: CheckedModel
    difference: float


def loader_limits(cgroup: Path, default: Limits = Limits()) -> Limits:  # noqa: B008 - frozen
    """Return limits that fit into this container: cgroup v2's `memory.max`, or the default's memory."""
    file = cgroup / "memory.max"
    text = file.read_text(encoding="ascii").strip() if file.is_file() else "max"
    if text == "max":
        return default
    return default.model_copy(update={"memory_bytes": int(int(text) * MEMORY_SHARE)})


def load_as_onnx(
    source: Path, found: SourceFormat, request: SourceRequest, around: Surroundings, *, shown: str
) -> LoadedSource:
    """Convert a source to ONNX and prove the graph.

    Raises ConversionFailure: TrustNeeded, InputShapesNeeded, LoaderNotInstalled, what `unpack` and `run_confined`
    raise, LoaderDisagrees, and what `load_checked` raises.
    """
    _refuse_without_permission(found, request, shown)
    _refuse_missing_framework(found, shown)
    folder = around.work / "load"
    out = folder / OUT
    out.mkdir(parents=True)
    staged = _staged(source, found, folder, around.limits.file_bytes, shown)
    hidden = (SERVICE_ACCOUNT, *around.hidden)
    confinement = Confinement(
        limits=around.limits,
        packages=LOADERS[found].packages,
        readable=(str(staged),),
        writable=(str(out), str(folder / "scratch")),
        hidden=tuple(str(path) for path in hidden),
    )
    job = LoaderJob(format=found, source=str(staged), out=str(out), inputs=request.inputs, confinement=confinement)
    try:
        run_confined(job, folder, threads=around.threads)
    except ConversionFailure as failure:
        raise ConversionFailure(failure.reason, f"{shown}: {failure.message}") from failure
    return prove(out, around, shown)


def _refuse_without_permission(found: SourceFormat, request: SourceRequest, shown: str) -> None:
    if found in CODE_FORMATS and not request.trust_pickle:
        raise ConversionFailure(
            Reason.TRUST_NEEDED,
            f"{shown} is a {found.value} program, whose loading can run code that is in the file; if you know who made "
            "it, set spec.model.trustPickle: true together with spec.model.digest, or export it to ONNX",
        )
    if found is SourceFormat.TORCHSCRIPT and not request.inputs:
        raise ConversionFailure(
            Reason.INPUT_SHAPES_NEEDED,
            f"{shown} is TorchScript, which does not hold the shapes of its inputs; set spec.model.inputs, for example "
            "[{name: image, dtype: float32, dims: [-1, 3, 224, 224]}]",
        )


def _refuse_missing_framework(found: SourceFormat, shown: str) -> None:
    loader = LOADERS[found]
    if importlib.util.find_spec(loader.packages[0]) is None:
        raise ConversionFailure(
            Reason.LOADER_NOT_INSTALLED,
            f"{shown}: this converter image cannot load {found.value}; have the platform team build one "
            f"(python -m images.build converter-{loader.extra}) and set the Helm value converter.images.{found.value}; "
            f"and set spec.model.modelFormat.name: {found.value}, by which the image is chosen",
        )


def _staged(source: Path, found: SourceFormat, folder: Path, max_bytes: int, shown: str) -> Path:
    """Put the source under a name that its framework accepts."""
    if found is not SourceFormat.SAVED_MODEL:
        target = folder / f"source{_suffix(source, found)}"
        try:
            target.hardlink_to(source)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
        return target
    root = source
    if source.is_file():
        root = folder / "source"
        unpack(source, root, kind=_archive_kind(source), shown=shown, limits=ArchiveLimits(max_bytes))
    # archives often add a folder, and TensorFlow Serving's layout a version
    inner = min(root.rglob(SAVED_MODEL_FILE), key=lambda path: (len(path.parts), str(path)), default=None)
    if inner is None:
        raise ConversionFailure(
            Reason.DAMAGED_ARCHIVE, f"{shown}: {SAVED_MODEL_FILE} is only listed in it; pack the folder again"
        )
    return inner.parent


def _archive_kind(source: Path) -> str:
    with source.open("rb") as file:
        head = file.read(len(ZIP_MAGIC))
    return "zip" if head == ZIP_MAGIC else "tar.gz" if head.startswith(GZIP_MAGIC) else "tar"


def _suffix(source: Path, found: SourceFormat) -> str:
    """Keras tells its two formats apart by the name alone."""
    with source.open("rb") as file:
        is_hdf5 = file.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    return ".h5" if is_hdf5 else LOADERS[found].suffix


def prove(out: Path, around: Surroundings, shown: str) -> LoadedSource:
    """Check what a loader left in `out` as if anybody had sent it, and compare the graph with the references.

    Raises ConversionFailure: LoaderResultInvalid, LoaderDisagrees, RuntimeRefuses and what `load_checked` raises.
    """
    graph_file, references_file = out / MODEL_FILE, out / REFERENCES_FILE
    try:
        check_untrusted(graph_file, around.limits.file_bytes)
        check_untrusted(references_file, MAX_REFERENCE_BYTES)
    except (OSError, ValueError) as error:
        raise invalid_result(f"its files are not what a loader writes ({error})") from error
    model = load_checked(graph_file, shown=f"{shown}, converted to ONNX", limits=around.runtime)
    references = _references(references_file, model)
    run = open_session(model.serialized(), shown=f"{shown}, converted to ONNX", threads=around.threads)
    names = [spec.name for spec in model.inputs]
    actual = []
    for reference in references:
        outputs = run(dict(zip(names, reference.inputs, strict=True)))
        actual.append([outputs[spec.name] for spec in model.outputs])
    return LoadedSource(graph_file, model, refuse_disagreement(model.proto, references, actual, shown))


def _references(path: Path, model: CheckedModel) -> tuple[Reference, ...]:
    try:
        return read_references(
            path, inputs=len(model.inputs), outputs=len(model.outputs), max_bytes=MAX_REFERENCE_BYTES
        )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise invalid_result(f"its reference outputs cannot be read ({type(error).__name__})") from error
