"""Conversion without Kubernetes: `visionmodel-convert MODEL [options]`, for a laptop or a CI pipeline.

The same stages, proofs and report as in a Job, over files of this machine or any URI that a Job can read; the
artifact goes into a folder by its content key, so that a second run finds it. Progress and the table go to stderr;
the folder of the artifact alone, then those of the exports that were asked for, to stdout, for scripts.
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
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from visionmodel_converter.command_line import request_of
from visionmodel_converter.environment import Environment
from visionmodel_converter.formats.confinement import Limits
from visionmodel_converter.journal import Journal
from visionmodel_converter.prepare import Job, prepare
from visionmodel_converter.report import FullReport, row_of
from visionmodel_converter.stages import DONE
from visionmodel_converter.storage import Storage
from visionmodel_converter.store.folder import FolderStore

FIRST_TASK: Final = TaskID(0)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine gives a conversion: its environment, CPUs and their name, the limits of loaders, the time."""

    environment: Environment
    threads: int
    loader_limits: Limits
    now: Callable[[], datetime]
    cpu: str = ""


@dataclass
class ProgressJournal(Journal):
    """A journal that moves a bar instead of writing lines."""

    progress: Progress = field(default_factory=Progress)
    task: TaskID = FIRST_TASK

    def _write(self, stage: str, progress: int, message: str) -> None:
        self.progress.update(self.task, completed=progress, stage=stage, message=message)


def convert(options: argparse.Namespace, machine: Machine, command: Sequence[str]) -> tuple[Path, ...]:
    """Convert as asked; return the artifact's folder and those of its exports. Raises ConversionFailure."""
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
            cpu=machine.cpu,
            loader_limits=machine.loader_limits,
            storage=Storage((Path(work),)),
        )
        with redirect_stderr(StringIO()):  # libraries talk while they calibrate, which would tear the bar apart
            summary = prepare(job)
        assert summary.artifact is not None  # prepare raises where there is none
        published = store.find(summary.artifact.key, Path(work) / "made")
    assert published is not None
    console.print(_table(published.report))
    for export in summary.exports:
        console.print(
            f"{export.format}: {export.size_bytes} bytes, differs by {export.difference:.2g} ({export.runtime})"
        )
    places = (export.image for export in summary.exports if export.image)
    return published.model.parent, *(Path(url2pathname(urlsplit(place).path)) for place in places)


def _table(report: FullReport) -> Table:
    table = Table("", "precision", "bytes", "nodes", "metrics", "p50 ms", "why")
    for row in map(row_of, report.candidates):
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in row.metrics.items())
        name = f"{row.precision} ({row.method})" if row.method else row.precision.value
        p50 = "" if row.p50_ms is None else f"{row.p50_ms:.3g}"
        table.add_row("✓" if row.chosen else "", name, str(row.size_bytes), str(row.nodes), metrics, p50, row.refused)
    return table
