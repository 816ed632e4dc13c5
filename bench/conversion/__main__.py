"""`python -m bench.conversion`: stages, sizes and precisions of three networks, written into docs/benchmarks.md.

Every candidate and plain onnxruntime on the source are timed in alternating blocks of one run, one thread, so that the
ratios hold on a shared machine; the absolute figures are this machine's.
"""

import argparse
import json
import platform
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime

from bench.conversion.networks import write_calibration, write_resnet50
from bench.published import publish
from example_models.build import build
from visionmodel_contract.conversion import (
    CalibrationOptions,
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceRequest,
    SpeedRequest,
)
from visionmodel_contract.precision import Backend, Goal, Precision
from visionmodel_contract.report import CandidateResult
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.environment import environment_from
from visionmodel_converter.gates.speed import compare_speed
from visionmodel_converter.graph.backends import open_backend
from visionmodel_converter.graph.session import Tensors, random_inputs, run_of
from visionmodel_converter.journal import Journal
from visionmodel_converter.prepare import Job, prepare
from visionmodel_converter.report import FullReport
from visionmodel_converter.store.folder import FolderStore

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench.conversion -->", "<!-- end of bench.conversion -->"
ON_CPU = (Backend.ONNX_RUNTIME, Backend.OPENVINO)
THREADS = 1
LARGEST_BATCH = 8
MEBIBYTE = 1024 * 1024
COLUMNS = (
    *("network", "backend", "precision", "KiB", "nodes", "metric"),
    *("compute", "ms", "memory MiB", "time / plain", "refused"),
)
INTRODUCTION = """## Conversion

`python -m bench.conversion`, one thread, {machine}.
A shared machine: read ratios, not milliseconds.

Seconds by stage; `again` is the same request once more, which finds the artifact and judges it by the same goals (a Job
of the operator skips that too: it knows the verdict). Peak is that of the process so far, in MiB.
"""
EXPLANATION = """Precisions, the chosen one bold. Compute is the share of multiplications that the runtime ran in that
precision; times are medians at batch 1 / 8 in ms; "time / plain" is the chosen artifact's median time over plain
onnxruntime's on the source, in alternating blocks, at batch 1 / 8. A precision is refused before it is timed where the
runtime does not run the graph in it.
"""


@dataclass(frozen=True)
class Case:
    """One network with its data; `metric` is None where its answers mean nothing."""

    name: str
    model: Path
    calibration: Path
    evaluation: Path | None
    metric: str | None


@dataclass(frozen=True)
class Ran:
    """One conversion: seconds by stage, its report, and the process's peak memory so far in bytes."""

    seconds: dict[str, float]
    report: FullReport
    peak: int


def cases(folder: Path) -> tuple[Case, ...]:
    """Return the three networks."""
    models = build()
    trained = (("detector", "shapes", "v2", "map50"), ("classifier", "digits", "v1", "top1"))
    return (
        *(
            Case(
                name,
                models / family / which / "model.onnx",
                models / family / "calibration.npz",
                models / family / "evaluation.npz",
                metric,
            )
            for name, family, which, metric in trained
        ),
        Case(
            "ResNet-50 (random weights)",
            write_resnet50(folder / "resnet50.onnx"),
            write_calibration(folder / "calibration.npz"),
            None,
            None,
        ),
    )


def converted(case: Case, backend: Backend, store: FolderStore) -> Ran:
    """Convert with the choice between all precisions, and return what it took."""
    goals = () if case.metric is None else (MetricGoal(name=case.metric, goal=Goal.MAX_DEGRADATION, value=0.02),)
    loose = (MetricGoal(name="cosine", goal=Goal.THRESHOLD, value=0.5),)
    request = ConversionRequest(
        namespace="bench",
        name=case.name,
        revision="bench",
        source=SourceRequest(uri=case.model.as_uri()),
        options=ConversionOptions(
            backend=backend,
            precisions=tuple(Precision),
            calibration=CalibrationOptions(dataset_uri=case.calibration.as_uri(), samples=256),
        ),
        gates=GatesRequest(
            parity=ParityRequest(
                dataset_uri=case.evaluation.as_uri() if case.evaluation else None, metrics=goals or loose
            ),
            speed=SpeedRequest(threads=THREADS, max_batch=LARGEST_BATCH),
        ),
        publish=PublishTarget(repository="bench"),
    )
    lines = StringIO()
    with tempfile.TemporaryDirectory() as work:
        environment = replace(environment_from({}), allow_files=True)
        journal = Journal(lines, lambda: datetime.now(UTC))
        summary = prepare(Job(request, Path(work), environment, store, journal, THREADS, ["bench"]))
        assert summary.artifact is not None
        known = store.find(summary.artifact.key, Path(work) / "made")
    assert known is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Ran(_seconds(lines.getvalue()), known.report, peak)


def _seconds(text: str) -> dict[str, float]:
    """Return how long each stage took, from the times at which the stages began."""
    lines = [json.loads(line) for line in text.splitlines()]
    times = [datetime.fromisoformat(line["time"]).timestamp() for line in lines]
    seconds: dict[str, float] = {}
    for line, begun, ended in zip(lines, times, times[1:], strict=False):
        seconds[line["stage"]] = seconds.get(line["stage"], 0.0) + ended - begun
    return seconds


def against_plain(case: Case, ran: Ran, model: Path, backend: Backend) -> dict[int, float]:
    """Return the chosen artifact's median time over plain onnxruntime's on the source, by batch size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    plain = run_of(onnxruntime.InferenceSession(str(case.model), options, providers=["CPUExecutionProvider"]), "plain")
    ours = open_backend(backend, model.read_bytes(), shown="artifact", options=RuntimeOptions(threads=THREADS))
    runs = {"plain": plain, "ours": ours}

    def inputs_of(batch: int) -> Tensors:
        return random_inputs(ran.report.inputs, batch=batch, seed=1)

    return {
        batch: compare_speed(runs, inputs_of, batch=batch, clock=time.perf_counter)["ours"].ratio
        for batch in (1, LARGEST_BATCH)
    }


def stage_rows(name: str, first: Ran, second: Ran) -> Iterator[str]:
    """Yield one row per run."""
    for words, ran in (("first", first), ("again", second)):
        parts = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in ran.seconds.items() if seconds >= 0.005)
        yield f"| {name} | {words} | {sum(ran.seconds.values()):.2f} | {parts} | {ran.peak / MEBIBYTE:.0f} |"


def precision_rows(name: str, backend: Backend, ran: Ran, case: Case, ratios: dict[int, float]) -> Iterator[str]:
    """Yield one row per candidate."""
    for candidate in ran.report.candidates:
        yield _precision_row(name, backend, candidate, case, ratios)


def _precision_row(
    name: str, backend: Backend, candidate: CandidateResult, case: Case, ratios: dict[int, float]
) -> str:
    metric = next((gate.value for gate in candidate.gates if gate.metric == case.metric), float("nan"))
    by_batch = {result.batch: result for result in candidate.speed}
    times = " / ".join(f"{by_batch[batch].p50_ms:.3g}" if batch in by_batch else "-" for batch in (1, LARGEST_BATCH))
    compared = " / ".join(f"{ratio:.2f}" for ratio in ratios.values()) if candidate.chosen else ""
    memory = "-" if candidate.peak_memory_bytes is None else f"{candidate.peak_memory_bytes / MEBIBYTE:.0f}"
    return " | ".join(
        (
            f"| {name}",
            backend.value,
            f"{'**' if candidate.chosen else ''}{candidate.precision}{'**' if candidate.chosen else ''}"
            + (f" ({candidate.method})" if candidate.method else ""),
            f"{candidate.size_bytes / 1024:,.0f}",
            str(candidate.nodes),
            "-" if np.isnan(metric) else f"{metric:.4f}",
            "-" if candidate.share is None else f"{candidate.share.compute:.0%}",
            times,
            memory,
            compared,
            f"{(candidate.refused or '').partition(';')[0]} |",
        )
    )


def document(stages: Sequence[str], precisions: Sequence[str]) -> str:
    """Return the section of docs/benchmarks.md."""
    names = ("onnxruntime", "openvino", "onnx", "onnxslim", "numpy")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    machine = f"{platform.machine()}, Python {platform.python_version()}; {packages}"
    return "\n".join(
        (
            BEGIN,
            INTRODUCTION.format(machine=machine),
            "| network | run | seconds | stages | peak MiB |",
            "|---|---|---|---|---|",
            *stages,
            "",
            EXPLANATION,
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
            *precisions,
            END,
        )
    )


def main() -> None:
    """Measure everything and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="print the section and leave the document as it is")
    only_print = parser.parse_args().print
    stages: list[str] = []
    precisions: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder)):
            for backend in ON_CPU:
                store = FolderStore(Path(folder) / "store")
                first, second = converted(case, backend, store), converted(case, backend, store)
                model = store.root / f"prepare-{first.report.key}" / "model.onnx"
                ratios = against_plain(case, first, model, backend)
                stages += stage_rows(f"{case.name}, {backend}", first, second)
                precisions += precision_rows(case.name, backend, first, case, ratios)
                print(stages[-2], *precisions[-2:], sep="\n", flush=True)
    text = document(stages, precisions)
    if only_print:
        print(text)
        return
    publish(DOCUMENT, text, (BEGIN, END))


if __name__ == "__main__":
    main()
