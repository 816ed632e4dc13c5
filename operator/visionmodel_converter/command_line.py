"""The options of `visionmodel-convert convert` and `collect`, and the request they spell out; imports nothing heavy.

The init container of serving pods starts the same program, so what it does not need must not be loaded for it.
"""

import argparse
import json
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from visionmodel_contract.conversion import (
    CalibrationOptions,
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    ImageTask,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceRequest,
)
from visionmodel_contract.precision import (
    Backend,
    CalibrationMethod,
    ExportFormat,
    Goal,
    Precision,
    PruningPattern,
    Quantizer,
)
from visionmodel_converter.failures import ConversionFailure, Reason, first_line, validation_words

AUTO: Final = "auto"
DEFAULT_OUT: Final = Path("artifacts")
GOAL_FORM: Final = "NAME:WORD:VALUE, such as map50:max-degradation:0.01"
MAX_IMAGE_BYTES: Final = 16 * 1024 * 1024
MAX_IMAGE_PIXELS: Final = 50_000_000
DETECTION: Final = {"score_threshold": "0.3", "iou_threshold": "0.5", "max_detections": "100"}
CLASSIFICATION: Final = {"score_threshold": "0.0", "top_k": "5"}
SEGMENTATION: Final = {"score_threshold": "0.5"}
OUTPUT: Final = {
    **dict.fromkeys(("Grid", "Triple", "YOLOv8"), DETECTION),
    **dict.fromkeys(("Softmax", "Probabilities"), CLASSIFICATION),
    **dict.fromkeys(("ClassScores", "ClassMap", "Sigmoid"), SEGMENTATION),
}
"""The defaults of `task.output` by its decoder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `visionmodel-convert convert`."""
    add = parser.add_argument
    precisions = [*(one.value for one in Precision), AUTO]
    methods = [one.value for one in CalibrationMethod]
    # an engine is built on the device that serves it, of an artifact that is there: by the operator's build Job
    backends = [one.value for one in Backend if one is not Backend.TENSORRT]
    add("source", help="model file or URI; a file that ends in .json is a whole ConversionRequest")
    add("--precision", default="fp32", choices=precisions, help="auto: several; the fastest that meets every goal")
    add("--calibration", help="samples for INT8: .npz, archive or folder of images; path or URI")
    add("--samples", type=int, default=512, help="most calibration samples to use")
    add("--method", default=CalibrationMethod.AUTO.value, choices=methods, help="how INT8 scales are chosen")
    quantizers = [one.value for one in Quantizer]
    add("--quantizer", default=Quantizer.ONNX_RUNTIME.value, choices=quantizers, help="what chooses INT8 scales")
    add("--dataset", help="evaluation data, as for --calibration")
    add("--goal", action="append", default=[], metavar="GOAL", help=f"{GOAL_FORM}; may be repeated")
    add("--backend", default=Backend.ONNX_RUNTIME.value, choices=backends, help="what will execute the artifact")
    formats, patterns = [one.value for one in ExportFormat], [one.value for one in PruningPattern]
    add("--prune", choices=patterns, help="set weights to 0 by magnitude first; needs --dataset or --goal")
    add("--export", action="append", default=[], choices=formats, help="a file for another runtime; may be repeated")
    images = parser.add_argument_group("images", "how images of --calibration and --dataset become the model's input")
    images.add_argument("--resize", default="Letterbox", choices=["Letterbox", "Stretch", "CenterCrop"])
    images.add_argument("--layout", default="NCHW", choices=["NCHW", "NHWC"])
    images.add_argument("--color-space", default="RGB", choices=["RGB", "BGR", "Gray"])
    images.add_argument("--mean", type=float, nargs=3, default=[0.0, 0.0, 0.0], help="of values from 0 to 1")
    images.add_argument("--std", type=float, nargs=3, default=[1.0, 1.0, 1.0], help="of values from 0 to 1")
    images.add_argument("--decoder", choices=list(OUTPUT), help="layout of the raw outputs, as in task.output")
    add("--no-simplify", action="store_true", help="leave the graph as it is")
    add("--format", help="format of the model, where its name leaves it open")
    add("--digest", help="sha256:...; refuse anything else")
    add("--trust-pickle", action="store_true", help="formats that can run code may be loaded")
    add("--out", type=Path, default=DEFAULT_OUT, help="folder that keeps artifacts by their key")


def add_collect_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `visionmodel-convert collect`."""
    add = parser.add_argument
    add("--store", required=True, help="host[:port]/name, s3://, gs://, abfs:// or pvc:// URI, or a folder's path")
    add("--kept", type=Path, required=True, help="what is needed, as `visionmodel-operator list-kept` writes it")
    add("--minimum-age", default="7d", help="since the last publication or lookup; longer than any conversion runs")
    add("--dry-run", action="store_true", help="say what would be deleted and delete nothing")
    add("--insecure", action="store_true", help="the store speaks plain HTTP")


def store_of(text: str, *, insecure: bool) -> PublishTarget:
    """Return the store that an option names: a URI, a path that is absolute or begins with a dot, or a repository."""
    if "://" in text:
        return PublishTarget(uri=text, insecure=insecure)
    if text.startswith(("/", ".")):
        return PublishTarget(uri=Path(text).absolute().as_uri(), insecure=insecure)
    return PublishTarget(repository=text, insecure=insecure)


def request_of(options: argparse.Namespace) -> ConversionRequest:
    """Return the request that the options, or the request file, spell out. Raises BadRequest."""
    if options.source.endswith(".json"):
        return _read_request(Path(options.source))
    calibration = None
    if options.calibration:
        calibration = CalibrationOptions(
            dataset_uri=uri_of(options.calibration),
            samples=options.samples,
            method=CalibrationMethod(options.method),
            quantizer=Quantizer(options.quantizer),
        )
    goals = tuple(_goal(text) for text in options.goal)
    try:
        return ConversionRequest(
            namespace="",
            name=Path(unquote(urlsplit(options.source).path)).stem,
            revision="",
            task=_task(options),
            source=SourceRequest(
                uri=uri_of(options.source),
                format=options.format,
                digest=options.digest,
                trust_pickle=options.trust_pickle,
            ),
            options=ConversionOptions(
                backend=Backend(options.backend),
                precisions=_precisions(options.precision, calibrates=calibration is not None),
                simplify=not options.no_simplify,
                pruning=options.prune and PruningPattern(options.prune),
                calibration=calibration,
            ),
            gates=GatesRequest(
                parity=ParityRequest(dataset_uri=options.dataset and uri_of(options.dataset), metrics=goals)
            ),
            exports=tuple(ExportFormat(name) for name in dict.fromkeys(options.export)),
            publish=PublishTarget(uri=options.out.absolute().as_uri()),
        )
    except ValidationError as error:
        raise ConversionFailure(Reason.BAD_REQUEST, f"the options cannot be used: {validation_words(error)}") from error


def uri_of(text: str) -> str:
    """Return a URI as it is, and a path as `file://`, with a slash at its end where it is a folder."""
    if "://" in text:
        return text
    path = Path(text).absolute()
    return path.as_uri() + ("/" if path.is_dir() else "")


def _task(options: argparse.Namespace) -> ImageTask | None:
    """Return how images become the input, where any data is images; tensors of an .npz are taken as they are."""
    data = [text for text in (options.calibration, options.dataset) if text]
    if all(text.endswith(".npz") for text in data):
        return None
    return ImageTask(
        preprocess={
            "layout": options.layout,
            "resize": options.resize,
            "color_space": options.color_space,
            "mean": json.dumps(options.mean),
            "std": json.dumps(options.std),
            "max_bytes": str(MAX_IMAGE_BYTES),
            "max_pixels": str(MAX_IMAGE_PIXELS),
        },
        postprocess={"decoder": options.decoder, "labels": "[]", **OUTPUT[options.decoder]} if options.decoder else {},
    )


def _precisions(asked: str, *, calibrates: bool) -> tuple[Precision, ...]:
    if asked != AUTO:
        return (Precision(asked),)
    return tuple(one for one in Precision if calibrates or one is not Precision.INT8)


def _goal(text: str) -> MetricGoal:
    name, _, rest = text.partition(":")
    word, _, number = rest.partition(":")
    try:
        return MetricGoal(name=name, goal=Goal(word), value=float(number))
    except ValueError as error:
        words = ", ".join(goal.value for goal in Goal)
        raise ConversionFailure(
            Reason.BAD_REQUEST, f"--goal {text}: write {GOAL_FORM}; the words are {words}"
        ) from error


def _read_request(path: Path) -> ConversionRequest:
    try:
        return ConversionRequest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{path} cannot be read: {first_line(error)}") from error
    except ValidationError as error:
        raise ConversionFailure(
            Reason.BAD_REQUEST, f"{path} is no ConversionRequest: {validation_words(error)}; see docs/conversion.md"
        ) from error
