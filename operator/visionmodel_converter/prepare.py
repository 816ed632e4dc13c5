"""The prepare Job: fetch, look up, check, simplify, try each precision, choose, publish.

`prepare` reads top to bottom as the stages do; which of them run is decided in `stages`, and what a candidate must
prove in `candidates` and `trials`. Every effect arrives as an argument (store, environment, journal), every known
failure is a ConversionFailure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import onnxruntime

from visionmodel_contract.artifact import ONNX_FILE
from visionmodel_contract.conversion import PIPELINE_VERSION, ConversionRequest, GatesRequest
from visionmodel_contract.formats import SourceFormat
from visionmodel_contract.keys import gate_key, prepare_key
from visionmodel_contract.precision import Quantizer
from visionmodel_contract.report import ExportInfo, ReportSummary
from visionmodel_converter.candidates import BATCH, Bench
from visionmodel_converter.data import Data, DataReader, with_digests
from visionmodel_converter.environment import Environment
from visionmodel_converter.exports.export import Artifact, Workshop, exported, refuse_impossible_exports
from visionmodel_converter.formats.confinement import Limits
from visionmodel_converter.formats.detect import detect
from visionmodel_converter.formats.load import Surroundings, load_as_onnx
from visionmodel_converter.formats.source import fetch_source
from visionmodel_converter.gates.data_checks import Role, check_overlap, refuse_bad_data
from visionmodel_converter.gates.goals import refuse_impossible_goals
from visionmodel_converter.gates.images import ImageSamples
from visionmodel_converter.gates.samples import InputBatches, Samples
from visionmodel_converter.gates.served import refuse_wrong_decoder
from visionmodel_converter.gates.tasks import class_names
from visionmodel_converter.gates.visual_report import visual_report
from visionmodel_converter.graph.backends import open_compared
from visionmodel_converter.graph.limits import limits_of
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import open_session
from visionmodel_converter.graph.simplify import Simplified, simplify
from visionmodel_converter.journal import Journal
from visionmodel_converter.precision.modelopt import refuse_missing_modelopt
from visionmodel_converter.precision.sparsity import pruned_2_4, sparsity_of
from visionmodel_converter.provenance import installed_loaders, package_versions, packages_of, provenance_statement
from visionmodel_converter.report import DataFinding, FullReport, row_of
from visionmodel_converter.shown import display_uri
from visionmodel_converter.sources.fetch import DEFAULT_RETRY, Fetched, Retry
from visionmodel_converter.stages import Stage, stages_after_lookup
from visionmodel_converter.storage import EXPORT_COPIES, MODEL_COPIES, WORKING_COPIES, Storage
from visionmodel_converter.store.entries import PREPARED
from visionmodel_converter.store.image import sha256_of
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import Published
from visionmodel_converter.trials import Outcome, refuse_unprovable, try_precisions, try_published


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

    @property
    def data(self) -> DataReader:
        """Reads the request's datasets."""
        return DataReader(self.work, self.environment, self.storage, self.retry)


@dataclass(frozen=True, slots=True)
class Arrived:
    """What has been read so far: the source, and the data whose digests were open."""

    source: Fetched
    files: dict[Role, Fetched]


@dataclass(frozen=True, slots=True)
class Checked:
    """The source's graph, and the data to judge and to calibrate by, all of them fit to be used."""

    model: CheckedModel
    evaluation: Data | None
    calibration: Data | None
    findings: tuple[DataFinding, ...]

    @property
    def samples(self) -> Samples | None:
        """What candidates are judged by: the evaluation data; the calibration data where there is none."""
        data = self.evaluation or self.calibration
        return data.checked.samples if data else None


@dataclass(frozen=True, slots=True)
class Made:
    """What is to be published."""

    artifact: bytes
    report: FullReport
    pictures: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Ran:
    """What the stages after the look-up gave; `outcome` is None where nothing was left to do."""

    outcome: Outcome | None
    published: Published
    cached: bool
    exports: tuple[ExportInfo, ...] = ()


def prepare(job: Job) -> ReportSummary:
    """Run the stages of a request; returns the summary of an artifact that is published and meets its goals."""
    request, journal = job.request, job.journal
    options = request.options
    refuse_impossible_goals(
        request.gates.parity, has_calibration=options.calibration is not None, is_pruned=options.pruning is not None
    )
    refuse_unprovable(request, job.threads)
    if options.calibration is not None and options.calibration.quantizer is Quantizer.MODEL_OPT:
        refuse_missing_modelopt(job.environment.modelopt_python)
    refuse_impossible_exports(request.exports, options.precisions, job.environment.onnx2tf_python)

    journal.begin(Stage.FETCH, f"reading {display_uri(request.source.uri)}")
    source, asked = _fetch_source(job), request.source
    journal.learn(source_digest=source.digest)
    found = detect(source.path, shown=source.uri, declared=asked.format, trust_pickle=asked.trust_pickle)
    files = job.data.fetch_unpinned(request, journal)
    job = replace(job, request=with_digests(request, files))
    key = _key(job, source, asked=request.gates)

    journal.begin(Stage.LOOKUP, f"looking for {PREPARED.name(key)} in {job.store.shown}")
    known = job.store.find(key, job.work / "published")
    plan = stages_after_lookup(
        published=known is not None,
        gate_passed=journal.resolved.gate_key in request.passed_gate_keys,
        simplify=options.simplify,
        prunes=options.pruning is not None,
        is_onnx=found is SourceFormat.ONNX,
        exports=bool(request.exports),
    )
    if Stage.LOAD in plan:
        source = _load(job, source, found)
    ran = _run(job, plan, key, Arrived(source, files), known)
    journal.end(f"{'found' if ran.cached else 'published'} {ran.published.info.image}")
    results = ran.outcome.results if ran.outcome else ran.published.report.candidates
    return ReportSummary(
        result="Succeeded",
        **journal.resolved.model_dump(),
        artifact=ran.published.info,
        gates=ran.outcome.chosen.result.gates if ran.outcome else (),
        candidates=tuple(row_of(result) for result in results) if len(options.precisions) > 1 else (),
        exports=ran.exports,
        cached=ran.cached,
    )


def _key(job: Job, source: Fetched, *, asked: GatesRequest) -> str:
    """Return the artifact's key and note what it and the verdict's are taken of; `asked` may name data by URI."""
    request = job.request
    key = prepare_key(
        source.digest, request.options, inputs=request.source.inputs, task=request.task, gates=request.gates
    )
    answered, question = (
        gate_key(key, gates, task=request.task, exports=request.exports) for gates in (request.gates, asked)
    )
    job.journal.learn(
        calibration_digest=request.options.calibration.digest if request.options.calibration else None,
        dataset_digest=request.gates.parity.dataset_digest,
        gate_key=answered,
        asked_gate_key=None if question == answered else question,
    )
    return key


def _run(job: Job, plan: tuple[Stage, ...], key: str, arrived: Arrived, known: Published | None) -> Ran:
    if known is not None and not plan:
        return Ran(None, known, cached=True)
    job.journal.begin(Stage.CHECK, "checking the graph and the data")
    checked = _check(job, arrived)
    ran = _converted(job, plan, key, arrived, checked, known)
    if Stage.EXPORT in plan:
        ran = replace(ran, exports=_exports(job, checked, ran.published, key))
    return ran


def _converted(
    job: Job, plan: tuple[Stage, ...], key: str, arrived: Arrived, checked: Checked, known: Published | None
) -> Ran:
    if known is not None:
        return Ran(_judged(job, checked, known, key), known, cached=True)
    simplified = Simplified(checked.model, applied=False, note="not asked for")
    if Stage.SIMPLIFY in plan:
        job.journal.begin(Stage.SIMPLIFY, f"simplifying {checked.model.nodes} nodes")
        simplified = simplify(checked.model, threads=job.threads, seed=_seed(key))
    base = simplified.model
    if Stage.PRUNE in plan:
        job.journal.begin(Stage.PRUNE, f"pruning {base.parameters} parameters to {job.request.options.pruning}")
        base = pruned_2_4(base)
    precisions = ", ".join(job.request.options.precisions)
    source = arrived.source
    job.storage.refuse_shortage(WORKING_COPIES * source.path.stat().st_size, f"making {precisions} of {source.uri}")
    outcome = try_precisions(_bench(job, checked, base, key), job.journal)
    made = _made(job, key, source, checked, simplified, outcome, sparsity_of(base).share)
    published, cached = _publish(job, plan, made)
    if published.info.model_digest != made.report.model_digest:  # another Job was first, with other bytes
        outcome = _judged(job, checked, published, key)
    return Ran(outcome, published, cached)


def _exports(job: Job, checked: Checked, published: Published, key: str) -> tuple[ExportInfo, ...]:
    """Make the exports of what is published, which may be another Job's."""
    model = load_checked(published.model, shown="the published model", limits=limits_of(onnxruntime.__version__))
    backend, samples = job.request.options.backend, checked.samples
    artifact = Artifact(
        model=model,
        precision=published.info.precision,
        run=open_compared(backend, model.serialized(), shown="the artifact", threads=job.threads),
        samples=() if samples is None else InputBatches(samples, BATCH),
        seed=_seed(key),
    )
    workshop = Workshop(job.store, job.work, job.threads, job.environment.onnx2tf_python)
    made = []
    for wanted in job.request.exports:
        job.journal.begin(Stage.EXPORT, f"exporting {wanted} and comparing it with the artifact")
        job.storage.refuse_shortage(EXPORT_COPIES * published.info.size_bytes, f"exporting {wanted}")
        made.append(exported(wanted, artifact, workshop))
    return tuple(made)


def _judged(job: Job, checked: Checked, published: Published, key: str) -> Outcome:
    """Judge what is published already, and keep the rest of the table that it was chosen from."""
    made = load_checked(published.model, shown="the published model", limits=limits_of(onnxruntime.__version__))
    outcome = try_published(_bench(job, checked, made, key), published.info.precision, job.journal)
    (fresh,) = outcome.results
    rows = published.report.candidates
    merged = (fresh.model_copy(update={"method": row.method}) if row.chosen else row for row in rows)
    return replace(outcome, results=tuple(merged) or outcome.results)


def _made(
    job: Job,
    key: str,
    source: Fetched,
    checked: Checked,
    simplified: Simplified,
    outcome: Outcome,
    sparse_share: float,
) -> Made:
    artifact, report = _report(key, source, checked, simplified, outcome, sparse_share)
    pictures = _pictures(job, checked, outcome)
    digests = {name: sha256_of(data) for name, data in sorted(pictures.items())}
    changes = {"pictures": digests, "pruning": job.request.options.pruning}
    return Made(artifact, report.model_copy(update=changes), pictures)


def _pictures(job: Job, checked: Checked, outcome: Outcome) -> dict[str, bytes]:
    """Return the files that show the chosen artifact's worst samples; none where they are no images."""
    if not isinstance(checked.samples, ImageSamples):
        return {}
    drawn = visual_report(outcome.chosen.worst, checked.samples.pixels, names=class_names(job.request.task))
    return {} if drawn is None else drawn.files()


def _publish(job: Job, plan: tuple[Stage, ...], made: Made) -> tuple[Published, bool]:
    job.journal.begin(Stage.PUBLISH, f"publishing in {job.store.shown}")
    model_file = job.work / ONNX_FILE
    model_file.write_bytes(made.artifact)
    loaders = installed_loaders() if Stage.LOAD in plan else ()
    versions = package_versions((*packages_of(job.request.options.backend), *loaders))
    statement = provenance_statement(job.request, made.report, command=job.command, versions=versions)
    return job.store.publish(
        model=model_file, report=made.report, provenance=statement, work=job.work, pictures=made.pictures
    )


def _load(job: Job, source: Fetched, found: SourceFormat) -> Fetched:
    """Put the ONNX graph in the place of the source; the digest stays that of what was fetched."""
    job.journal.begin(Stage.LOAD, f"converting {found.value} to ONNX")
    environment = job.environment
    around = Surroundings(
        work=job.work,
        limits=job.loader_limits,
        threads=job.threads,
        runtime=limits_of(onnxruntime.__version__),
        hidden=(
            environment.source_credentials,
            environment.registry_credentials,
            environment.artifact_credentials,
            environment.pvc_root,
            environment.artifact_root,
        ),
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


def _check(job: Job, arrived: Arrived) -> Checked:
    source = arrived.source
    model = load_checked(source.path, shown=source.uri, limits=limits_of(onnxruntime.__version__))
    data = job.data.open(job.request, model.inputs, arrived.files)
    evaluation, calibration = data.get(Role.EVALUATION), data.get(Role.CALIBRATION)
    findings = tuple(finding for one in data.values() for finding in one.checked.findings)
    if evaluation is not None and calibration is not None:
        findings += check_overlap(calibration.checked, evaluation.checked)
    refuse_bad_data(findings)
    return Checked(model, evaluation, calibration, findings)


def _bench(job: Job, checked: Checked, base: CheckedModel, key: str) -> Bench:
    calibration = checked.calibration.checked.samples if checked.calibration else None
    source, task = checked.model, job.request.task
    run_source = open_session(source.serialized(), shown="the source model", threads=job.threads)
    refuse_wrong_decoder(run_source, inputs=source.inputs, outputs=source.outputs, task=task, seed=_seed(key))
    return Bench(
        request=job.request,
        base=base,
        run_source=run_source,
        samples=checked.samples,
        calibration=calibration,
        threads=job.threads,
        seed=_seed(key),
        cpu=job.cpu,
        modelopt_python=job.environment.modelopt_python,
        storage=job.storage,
    )


def _report(
    key: str, source: Fetched, checked: Checked, simplified: Simplified, outcome: Outcome, sparse_share: float
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
        sparse_share=sparse_share,
    )


def _seed(key: str) -> int:
    return int(key[:8], 16)
