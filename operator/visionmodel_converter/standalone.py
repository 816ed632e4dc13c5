"""Conversion without Kubernetes: `visionmodel-convert MODEL [options]`, for a laptop or a CI pipeline.

The same stages, proofs and report as in a Job, over files of this machine or any URI that a Job can read; the
artifact goes into a folder by its content key, so that a second run finds it. Progress and the table go to stderr,
the folder of the artifact alone to stdout, for scripts.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from visionmodel_contract.conversion import (
    CalibrationOptions,
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceRequest,
)
from visionmodel_contract.precision import Backend, CalibrationMethod, Goal, Precision
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason, first_line, validation_words
from visionmodel_converter.formats.confinement import Limits
from visionmodel_converter.journal import Journal
from visionmodel_converter.prepare import Job, prepare
from visionmodel_converter.report import FullReport, row_of
from visionmodel_converter.stages import DONE
from visionmodel_converter.store.folder import FolderStore

AUTO: Final = "auto"
DEFAULT_OUT: Final = Path("artifacts")
FIRST_TASK: Final = TaskID(0)
GOAL_FORM: Final = "NAME:WORD:VALUE, such as map50:max-degradation:0.01"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `visionmodel-convert convert`."""
    add = parser.add_argument
    precisions = [*(one.value for one in Precision), AUTO]
    methods, backends = [one.value for one in CalibrationMethod], [one.value for one in Backend]
    add("source", help="model file or URI; a file that ends in .json is a whole ConversionRequest")
    add("--precision", default="fp32", choices=precisions, help="auto: several; the fastest that meets every goal")
    add("--calibration", help="samples for INT8: .npz, archive or folder of images; path or URI")
    add("--samples", type=int, default=512, help="most calibration samples to use")
    add("--method", default=CalibrationMethod.AUTO.value, choices=methods, help="how INT8 scales are chosen")
    add("--dataset", help="evaluation data, as for --calibration")
    add("--goal", action="append", default=[], metavar="GOAL", help=f"{GOAL_FORM}; may be repeated")
    add("--backend", default=Backend.ONNX_RUNTIME.value, choices=backends, help="what will execute the artifact")
    add("--no-simplify", action="store_true", help="leave the graph as it is")
    add("--format", help="format of the model, where its name leaves it open")
    add("--digest", help="sha256:...; refuse anything else")
    add("--trust-pickle", action="store_true", help="formats that can run code may be loaded")
    add("--out", type=Path, default=DEFAULT_OUT, help="folder that keeps artifacts by their key")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine gives a conversion: its environment, CPUs, the limits of loaders, and the time."""

    environment: Environment
    threads: int
    loader_limits: Limits
    now: Callable[[], datetime]


@dataclass
class ProgressJournal(Journal):
    """A journal that moves a bar instead of writing lines."""

    progress: Progress = field(default_factory=Progress)
    task: TaskID = FIRST_TASK

    def _write(self, stage: str, progress: int, message: str) -> None:
        self.progress.update(self.task, completed=progress, stage=stage, message=message)


def convert(options: argparse.Namespace, machine: Machine, command: Sequence[str]) -> Path:
    """Convert as asked and return the artifact's folder. Raises ConversionFailure."""
    request, store, console = request_of(options), FolderStore(options.out.resolve()), Console(file=sys.stderr)
    environment = replace(machine.environment, allow_files=True)
    columns = (SpinnerColumn(), TextColumn("{task.fields[stage]}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="visionmodel-convert-") as work,
        Progress(*columns, TextColumn("{task.fields[message]}"), console=console) as progress,
    ):
        task = progress.add_task("conversion", total=DONE, stage="", message="")
        journal = ProgressJournal(StringIO(), machine.now, progress=progress, task=task)
        job = Job(
            request,
            Path(work),
            environment,
            store,
            journal,
            machine.threads,
            command,
            loader_limits=machine.loader_limits,
        )
        with redirect_stderr(StringIO()):  # libraries talk while they calibrate, which would tear the bar apart
            key = prepare(job).artifact
        assert key is not None  # prepare raises where there is none
        published = store.find(key.key, Path(work) / "made")
    assert published is not None
    console.print(_table(published.report))
    return published.model.parent


def _table(report: FullReport) -> Table:
    table = Table("", "precision", "bytes", "nodes", "metrics", "p50 ms", "why")
    for row in map(row_of, report.candidates):
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in row.metrics.items())
        name = f"{row.precision} ({row.method})" if row.method else row.precision.value
        p50 = "" if row.p50_ms is None else f"{row.p50_ms:.3g}"
        table.add_row("✓" if row.chosen else "", name, str(row.size_bytes), str(row.nodes), metrics, p50, row.refused)
    return table


def request_of(options: argparse.Namespace) -> ConversionRequest:
    """Return the request that the options, or the request file, spell out. Raises BadRequest."""
    if options.source.endswith(".json"):
        return _read_request(Path(options.source))
    calibration = None
    if options.calibration:
        calibration = CalibrationOptions(
            dataset_uri=uri_of(options.calibration), samples=options.samples, method=CalibrationMethod(options.method)
        )
    goals = tuple(_goal(text) for text in options.goal)
    try:
        return ConversionRequest(
            namespace="",
            name=Path(unquote(urlsplit(options.source).path)).stem,
            revision="",
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
                calibration=calibration,
            ),
            gates=GatesRequest(
                parity=ParityRequest(dataset_uri=options.dataset and uri_of(options.dataset), metrics=goals)
            ),
            publish=PublishTarget(repository=str(options.out)),
        )
    except ValidationError as error:
        raise ConversionFailure(Reason.BAD_REQUEST, f"the options cannot be used: {validation_words(error)}") from error


def uri_of(text: str) -> str:
    """Return a URI as it is, and a path as `file://`, with a slash at its end where it is a folder."""
    if "://" in text:
        return text
    path = Path(text).absolute()
    return path.as_uri() + ("/" if path.is_dir() else "")


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
