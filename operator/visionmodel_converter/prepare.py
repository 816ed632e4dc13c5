"""The prepare Job: fetch, look up, check, simplify, compare, judge, publish.

`prepare` reads top to bottom as the stages do; which of them run is decided in `stages`. Every effect arrives as
an argument (registry, environment, journal), every known failure is a ConversionFailure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnxruntime

from visionmodel_contract.conversion import PIPELINE_VERSION, ConversionRequest
from visionmodel_contract.formats import SourceFormat
from visionmodel_contract.keys import gate_key, prepare_key
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import GateResult, ReportSummary
from visionmodel_converter.environment import Environment
from visionmodel_converter.formats.confinement import Limits
from visionmodel_converter.formats.detect import detect
from visionmodel_converter.formats.load import Surroundings, load_as_onnx
from visionmodel_converter.formats.source import fetch_source
from visionmodel_converter.gates.data_checks import CheckedSamples, Role, check_samples, refuse_bad_data
from visionmodel_converter.gates.dataset import load_samples
from visionmodel_converter.gates.edge_cases import check_edge_cases, refuse_failed_edge_cases
from visionmodel_converter.gates.goals import Measured, goals_of, judge, refuse_impossible_goals, refuse_missed_goals
from visionmodel_converter.gates.parity import measure
from visionmodel_converter.gates.tasks import class_names, kind_of
from visionmodel_converter.graph.backends import open_compared
from visionmodel_converter.graph.limits import limits_of
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import open_session
from visionmodel_converter.graph.simplify import Simplified, simplify
from visionmodel_converter.journal import Journal
from visionmodel_converter.provenance import installed_loaders, package_versions, packages_of, provenance_statement
from visionmodel_converter.report import EdgeCaseResult, FullReport
from visionmodel_converter.sources.fetch import DEFAULT_RETRY, Fetched, Retry, display_uri, fetch
from visionmodel_converter.stages import Stage, stages_after_lookup
from visionmodel_converter.store.image import MODEL_FILE, sha256_of
from visionmodel_converter.store.publish import Published, find, publish
from visionmodel_converter.store.registry import Registry


@dataclass(frozen=True, slots=True)
class Job:
    """One run: what is asked and what it may use."""

    request: ConversionRequest
    work: Path
    environment: Environment
    registry: Registry
    journal: Journal
    threads: int
    command: Sequence[str]
    retry: Retry = DEFAULT_RETRY
    loader_limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Checked:
    """The source's graph and, if goals need one, the dataset, both fit to run."""

    model: CheckedModel
    dataset: CheckedSamples | None
    dataset_file: Fetched | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Measured agreement, the goals' results and the edge cases'; all of them were met."""

    measured: dict[str, Measured]
    gates: tuple[GateResult, ...]
    edge_cases: tuple[EdgeCaseResult, ...]


def prepare(job: Job) -> ReportSummary:
    """Run the stages of a request; returns the summary of an artifact that is published and meets its goals."""
    request, journal = job.request, job.journal
    refuse_impossible_goals(request.gates.parity)

    journal.begin(Stage.FETCH, f"reading {display_uri(request.source.uri)}")
    source = _fetch_source(job)
    asked = request.source
    key = prepare_key(source.digest, request.options, inputs=asked.inputs, task=request.task, gates=request.gates)
    goal_key = gate_key(key, request.gates, task=request.task)
    journal.source_digest, journal.gate_key = source.digest, goal_key
    found = detect(source.path, shown=source.uri, declared=asked.format, trust_pickle=asked.trust_pickle)

    journal.begin(Stage.LOOKUP, f"looking for prepare-{key} in {request.publish.repository}")
    known = find(job.registry, key, job.work / "published")
    plan = stages_after_lookup(
        published=known is not None,
        gate_passed=goal_key in request.passed_gate_keys,
        simplify=request.options.simplify,
        is_onnx=found is SourceFormat.ONNX,
    )
    if Stage.LOAD in plan:
        source = _load(job, source, found)
    verdict, published, cached = _run(job, plan, key, source, known)
    journal.end(f"{'found' if cached else 'published'} {published.info.image}")
    return ReportSummary(
        result="Succeeded",
        source_digest=source.digest,
        artifact=published.info,
        gate_key=goal_key,
        gates=verdict.gates if verdict else (),
        cached=cached,
    )


def _run(
    job: Job, plan: tuple[Stage, ...], key: str, source: Fetched, known: Published | None
) -> tuple[Verdict | None, Published, bool]:
    if known is not None and not plan:
        return None, known, True
    job.journal.begin(Stage.CHECK, "checking the graph and the dataset")
    checked = _check(job, source)
    if known is not None:
        return _verdict(job, checked, known.model.read_bytes(), checked.model, key), known, True

    made = Simplified(checked.model, applied=False, note="not asked for")
    if Stage.SIMPLIFY in plan:
        job.journal.begin(Stage.SIMPLIFY, f"simplifying {checked.model.nodes} nodes")
        made = simplify(checked.model, threads=job.threads, seed=_seed(key))
    artifact = made.model.serialized()
    verdict = _verdict(job, checked, artifact, made.model, key)

    job.journal.begin(Stage.PUBLISH, f"pushing to {job.request.publish.repository}")
    model_file = job.work / MODEL_FILE
    model_file.write_bytes(artifact)
    report = _report(job, key, source, checked, made, artifact, verdict)
    loaders = installed_loaders() if Stage.LOAD in plan else ()
    versions = package_versions((*packages_of(job.request.options.backend), *loaders))
    statement = provenance_statement(job.request, report, command=job.command, versions=versions)
    published, cached = publish(job.registry, model=model_file, report=report, provenance=statement, work=job.work)
    return verdict, published, cached


def _load(job: Job, source: Fetched, found: SourceFormat) -> Fetched:
    """Put the ONNX graph in the place of the source; the digest stays that of what was fetched."""
    job.journal.begin(Stage.LOAD, f"converting {found.value} to ONNX")
    environment = job.environment
    around = Surroundings(
        work=job.work,
        limits=job.loader_limits,
        threads=job.threads,
        runtime=limits_of(onnxruntime.__version__),
        hidden=(environment.source_credentials, environment.registry_credentials, environment.pvc_root),
    )
    loaded = load_as_onnx(source.path, found, job.request.source, around, shown=source.uri)
    return replace(source, path=loaded.path)


def _fetch_source(job: Job) -> Fetched:
    return fetch_source(
        job.request.source.uri,
        job.request.source.format,
        job.work,
        environment=job.environment,
        max_bytes=job.environment.max_model_bytes,
        expected_digest=job.request.source.digest,
        retry=job.retry,
    )


def _check(job: Job, source: Fetched) -> Checked:
    limits = limits_of(onnxruntime.__version__)
    model = load_checked(source.path, shown=source.uri, limits=limits)
    dataset_uri = job.request.gates.parity.dataset_uri
    if dataset_uri is None:
        return Checked(model, None, None)
    file = fetch(
        dataset_uri,
        job.work / "dataset",
        environment=job.environment,
        max_bytes=job.environment.max_dataset_bytes,
        retry=job.retry,
    )
    task = job.request.task
    samples = load_samples(
        file.path, model.inputs, task=task, shown=file.uri, max_bytes=job.environment.max_dataset_bytes
    )
    dataset = check_samples(samples, role=Role.EVALUATION, shown=file.uri, names=class_names(task))
    refuse_bad_data(dataset.findings)
    return Checked(model, dataset, file)


def _verdict(job: Job, checked: Checked, artifact: bytes, artifact_model: CheckedModel, key: str) -> Verdict:
    job.journal.begin(Stage.PARITY, "comparing the artifact with its source")
    task, inputs, outputs = job.request.task, artifact_model.inputs, artifact_model.outputs
    samples = checked.dataset.samples if checked.dataset else None
    labelled = samples.labelled if samples else frozenset()
    kind = kind_of(task, outputs, labelled)
    precision = job.request.options.precisions[0]
    goals = goals_of(job.request.gates.parity, precision, kind, has_labels=kind in labelled)
    run_source = open_session(checked.model.serialized(), shown="the source model", threads=job.threads)
    run_artifact = open_compared(job.request.options.backend, artifact, shown="the artifact", threads=job.threads)
    measured = measure(
        run_source,
        run_artifact,
        samples,
        goals,
        inputs=inputs,
        outputs=outputs,
        task=task,
        seed=_seed(key),
        random_counts=precision is not Precision.INT8,
    )
    edge_cases = check_edge_cases(run_source, run_artifact, inputs=inputs, outputs=outputs, task=task)
    job.journal.begin(Stage.GATE, f"judging {len(goals)} goal(s)")
    gates = judge(goals, measured)
    refuse_missed_goals(gates)
    refuse_failed_edge_cases(edge_cases)
    return Verdict(measured, gates, edge_cases)


def _report(
    job: Job,
    key: str,
    source: Fetched,
    checked: Checked,
    made: Simplified,
    artifact: bytes,
    verdict: Verdict,
) -> FullReport:
    dataset = checked.dataset_file
    return FullReport(
        key=key,
        pipeline_version=PIPELINE_VERSION,
        source_uri=source.uri,
        source_digest=source.digest,
        dataset_uri=dataset.uri if dataset else None,
        dataset_digest=dataset.digest if dataset else None,
        precision=job.request.options.precisions[0],
        model_digest=sha256_of(artifact),
        size_bytes=len(artifact),
        opset=made.model.opset,
        parameters=made.model.parameters,
        nodes_before=checked.model.nodes,
        nodes_after=made.model.nodes,
        inputs=made.model.inputs,
        outputs=made.model.outputs,
        simplification=made.note,
        gates=verdict.gates,
        agreement={name: measured.value for name, measured in sorted(verdict.measured.items())},
        data=checked.dataset.findings if checked.dataset else (),
        edge_cases=verdict.edge_cases,
    )


def _seed(key: str) -> int:
    return int(key[:8], 16)
