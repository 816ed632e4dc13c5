"""The prepare Job: fetch, look up, check, simplify, try each precision, choose, publish.

`prepare` reads top to bottom as the stages do; which of them run is decided in `stages`, and what a candidate must
prove in `candidates` and `trials`. Every effect arrives as an argument (store, environment, journal), every known
failure is a ConversionFailure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Final

import onnxruntime

from visionmodel_contract.conversion import PIPELINE_VERSION, ConversionRequest
from visionmodel_contract.formats import SourceFormat
from visionmodel_contract.keys import gate_key, prepare_key
from visionmodel_contract.report import GateResult, ReportSummary
from visionmodel_converter.candidates import Bench
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.confinement import Limits
from visionmodel_converter.formats.detect import detect
from visionmodel_converter.formats.load import Surroundings, load_as_onnx
from visionmodel_converter.formats.source import fetch_source
from visionmodel_converter.gates.data_checks import (
    CheckedSamples,
    Role,
    check_overlap,
    check_samples,
    refuse_bad_data,
)
from visionmodel_converter.gates.dataset import load_samples
from visionmodel_converter.gates.goals import refuse_impossible_goals
from visionmodel_converter.gates.served import refuse_wrong_decoder
from visionmodel_converter.gates.tasks import class_names
from visionmodel_converter.graph.limits import limits_of
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import open_session
from visionmodel_converter.graph.simplify import Simplified, simplify
from visionmodel_converter.journal import Journal
from visionmodel_converter.precision.sparsity import sparsity_of
from visionmodel_converter.provenance import installed_loaders, package_versions, packages_of, provenance_statement
from visionmodel_converter.report import DataFinding, FullReport, row_of
from visionmodel_converter.sources.fetch import DEFAULT_RETRY, Fetched, Retry, display_uri, fetch
from visionmodel_converter.sources.tree import fetch_tree
from visionmodel_converter.stages import Stage, stages_after_lookup
from visionmodel_converter.storage import DATA_COPIES, MODEL_COPIES, WORKING_COPIES, Storage
from visionmodel_converter.store.image import MODEL_FILE, sha256_of
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import Published, tag_of
from visionmodel_converter.trials import Outcome, refuse_unprovable, try_precisions, try_published

MAX_IMAGES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Job:
    """One run: what is asked and what it may use."""

    request: ConversionRequest
    work: Path
    environment: Environment
    store: ArtifactStore
    journal: Journal
    threads: int
    command: Sequence[str]
    cpu: str = ""
    retry: Retry = DEFAULT_RETRY
    loader_limits: Limits = field(default_factory=Limits)
    storage: Storage = field(default_factory=Storage)


@dataclass(frozen=True, slots=True)
class Data:
    """One dataset, fit to be used, and the file that it came in."""

    checked: CheckedSamples
    file: Fetched


@dataclass(frozen=True, slots=True)
class Checked:
    """The source's graph, and the data to judge and to calibrate by, all of them fit to be used."""

    model: CheckedModel
    evaluation: Data | None
    calibration: Data | None
    findings: tuple[DataFinding, ...]


def prepare(job: Job) -> ReportSummary:
    """Run the stages of a request; returns the summary of an artifact that is published and meets its goals."""
    request, journal = job.request, job.journal
    refuse_impossible_goals(request.gates.parity, has_calibration=request.options.calibration is not None)
    refuse_unprovable(request, job.threads)

    journal.begin(Stage.FETCH, f"reading {display_uri(request.source.uri)}")
    source = _fetch_source(job)
    asked = request.source
    key = prepare_key(source.digest, request.options, inputs=asked.inputs, task=request.task, gates=request.gates)
    goal_key = gate_key(key, request.gates, task=request.task)
    journal.source_digest, journal.gate_key = source.digest, goal_key
    found = detect(source.path, shown=source.uri, declared=asked.format, trust_pickle=asked.trust_pickle)

    journal.begin(Stage.LOOKUP, f"looking for {tag_of(key)} in {job.store.shown}")
    known = job.store.find(key, job.work / "published")
    plan = stages_after_lookup(
        published=known is not None,
        gate_passed=goal_key in request.passed_gate_keys,
        simplify=request.options.simplify,
        is_onnx=found is SourceFormat.ONNX,
    )
    if Stage.LOAD in plan:
        source = _load(job, source, found)
    outcome, published, cached = _run(job, plan, key, source, known)
    journal.end(f"{'found' if cached else 'published'} {published.info.image}")
    results = outcome.results if outcome else published.report.candidates
    return ReportSummary(
        result="Succeeded",
        source_digest=source.digest,
        artifact=published.info,
        gate_key=goal_key,
        gates=_gates(outcome),
        candidates=tuple(row_of(result) for result in results) if len(request.options.precisions) > 1 else (),
        cached=cached,
    )


def _gates(outcome: Outcome | None) -> tuple[GateResult, ...]:
    return outcome.chosen.result.gates if outcome else ()


def _run(
    job: Job, plan: tuple[Stage, ...], key: str, source: Fetched, known: Published | None
) -> tuple[Outcome | None, Published, bool]:
    if known is not None and not plan:
        return None, known, True
    job.journal.begin(Stage.CHECK, "checking the graph and the data")
    checked = _check(job, source)
    if known is not None:
        return _judged(job, checked, known, key), known, True

    simplified = Simplified(checked.model, applied=False, note="not asked for")
    if Stage.SIMPLIFY in plan:
        job.journal.begin(Stage.SIMPLIFY, f"simplifying {checked.model.nodes} nodes")
        simplified = simplify(checked.model, threads=job.threads, seed=_seed(key))
    precisions = ", ".join(job.request.options.precisions)
    job.storage.refuse_shortage(WORKING_COPIES * source.path.stat().st_size, f"making {precisions} of {source.uri}")
    outcome = try_precisions(_bench(job, checked, simplified.model, key), job.journal)
    made = _report(key, source, checked, simplified, outcome)
    published, cached = _publish(job, plan, made)
    if published.info.model_digest != made[1].model_digest:  # another Job was first, with other bytes
        outcome = _judged(job, checked, published, key)
    return outcome, published, cached


def _judged(job: Job, checked: Checked, published: Published, key: str) -> Outcome:
    """Judge what is published already, and keep the rest of the table that it was chosen from."""
    made = load_checked(published.model, shown="the published model", limits=limits_of(onnxruntime.__version__))
    outcome = try_published(_bench(job, checked, made, key), published.info.precision, job.journal)
    (fresh,) = outcome.results
    rows = published.report.candidates
    merged = (fresh.model_copy(update={"method": row.method}) if row.chosen else row for row in rows)
    return replace(outcome, results=tuple(merged) or outcome.results)


def _publish(job: Job, plan: tuple[Stage, ...], made: tuple[bytes, FullReport]) -> tuple[Published, bool]:
    job.journal.begin(Stage.PUBLISH, f"publishing in {job.store.shown}")
    artifact, report = made
    model_file = job.work / MODEL_FILE
    model_file.write_bytes(artifact)
    loaders = installed_loaders() if Stage.LOAD in plan else ()
    versions = package_versions((*packages_of(job.request.options.backend), *loaders))
    statement = provenance_statement(job.request, report, command=job.command, versions=versions)
    return job.store.publish(model=model_file, report=report, provenance=statement, work=job.work)


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
    job.storage.refuse_shortage(WORKING_COPIES * source.size_bytes, f"converting {source.uri} to ONNX")
    loaded = load_as_onnx(source.path, found, job.request.source, around, shown=source.uri)
    return replace(source, path=loaded.path)


def _fetch_source(job: Job) -> Fetched:
    with job.storage.limiting(
        job.environment.max_model_bytes, copies=MODEL_COPIES, what=display_uri(job.request.source.uri)
    ) as max_bytes:
        return fetch_source(
            job.request.source.uri,
            job.request.source.format,
            job.work,
            environment=job.environment,
            max_bytes=max_bytes,
            expected_digest=job.request.source.digest,
            retry=job.retry,
        )


def _check(job: Job, source: Fetched) -> Checked:
    model = load_checked(source.path, shown=source.uri, limits=limits_of(onnxruntime.__version__))
    wanted, uri = job.request.options.calibration, job.request.gates.parity.dataset_uri
    evaluation = None if uri is None else _data(job, uri, "dataset", Role.EVALUATION, model)
    calibration = None
    if wanted is not None:
        calibration = _data(job, wanted.dataset_uri, "calibration", Role.CALIBRATION, model, wanted.samples)
    findings = tuple(finding for data in (evaluation, calibration) if data for finding in data.checked.findings)
    if evaluation is not None and calibration is not None:
        findings += check_overlap(calibration.checked, evaluation.checked)
    refuse_bad_data(findings)
    return Checked(model, evaluation, calibration, findings)


def _data(job: Job, uri: str, name: str, role: Role, model: CheckedModel, limit: int | None = None) -> Data:
    task, most = job.request.task, job.environment.max_dataset_bytes
    with job.storage.limiting(most, copies=DATA_COPIES, what=display_uri(uri)) as max_bytes:
        file = _fetch_data(job, uri, job.work / name, max_bytes)
        samples = load_samples(file.path, model.inputs, task=task, shown=file.uri, max_bytes=max_bytes, limit=limit)
    return Data(check_samples(samples, role=role, shown=file.uri, names=class_names(task)), file)


def _fetch_data(job: Job, uri: str, target: Path, limit_bytes: int) -> Fetched:
    """Fetch a file, or below a URI that ends in a slash a folder of images.

    Data that is too large says nothing against the model, so its failure must not be one of the model's.
    """
    try:
        if not display_uri(uri).endswith("/"):
            return fetch(uri, target, environment=job.environment, max_bytes=limit_bytes, retry=job.retry)
        tree = fetch_tree(
            uri, target, environment=job.environment, max_bytes=limit_bytes, max_files=MAX_IMAGES, retry=job.retry
        )
    except ConversionFailure as failure:
        if failure.reason is not Reason.SOURCE_TOO_LARGE:
            raise
        raise ConversionFailure(Reason.DATASET_INVALID, f"{failure.message}; or use fewer samples") from failure
    return Fetched(tree.path, tree.digest, tree.size_bytes, tree.uri)


def _bench(job: Job, checked: Checked, base: CheckedModel, key: str) -> Bench:
    evaluation = checked.evaluation.checked.samples if checked.evaluation else None
    calibration = checked.calibration.checked.samples if checked.calibration else None
    source, task = checked.model, job.request.task
    run_source = open_session(source.serialized(), shown="the source model", threads=job.threads)
    refuse_wrong_decoder(run_source, inputs=source.inputs, outputs=source.outputs, task=task, seed=_seed(key))
    return Bench(
        request=job.request,
        base=base,
        run_source=run_source,
        samples=calibration if evaluation is None else evaluation,
        calibration=calibration,
        threads=job.threads,
        seed=_seed(key),
        cpu=job.cpu,
    )


def _report(
    key: str, source: Fetched, checked: Checked, simplified: Simplified, outcome: Outcome
) -> tuple[bytes, FullReport]:
    chosen, dataset = outcome.chosen, checked.evaluation.file if checked.evaluation else None
    samples = checked.calibration.file if checked.calibration else None
    model = chosen.variant.model
    artifact = model.serialized()
    return artifact, FullReport(
        key=key,
        pipeline_version=PIPELINE_VERSION,
        source_uri=source.uri,
        source_digest=source.digest,
        dataset_uri=dataset.uri if dataset else None,
        dataset_digest=dataset.digest if dataset else None,
        calibration_uri=samples.uri if samples else None,
        calibration_digest=samples.digest if samples else None,
        precision=chosen.variant.precision,
        model_digest=sha256_of(artifact),
        size_bytes=len(artifact),
        opset=model.opset,
        parameters=model.parameters,
        nodes_before=checked.model.nodes,
        nodes_after=model.nodes,
        inputs=model.inputs,
        outputs=model.outputs,
        simplification=simplified.note,
        gates=chosen.result.gates,
        agreement={
            name: measured.value for name, measured in sorted(chosen.measured.items()) if isfinite(measured.value)
        },
        data=checked.findings,
        edge_cases=chosen.edge_cases,
        candidates=outcome.results,
        kept_fp32=chosen.variant.kept_fp32,
        notes=chosen.variant.notes,
        sensitivity=chosen.sensitivity,
        sparse_share=sparsity_of(simplified.model).share,
    )


def _seed(key: str) -> int:
    return int(key[:8], 16)
