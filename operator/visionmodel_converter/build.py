"""The build Job: a prepared ONNX artifact becomes an engine on the GPU that will serve it, is proven there, published.

`build` reads top to bottom as the stages do. What the device can do arrives as a port (engines.device), so that
everything here runs without one, too. Nothing becomes visible before every gate has passed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from visionmodel_contract.artifact import PLAN_FILE
from visionmodel_contract.build import BuildRequest
from visionmodel_contract.keys import engine_key
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import (
    EngineInfo,
    GateResult,
    PrecisionShare,
    ReportSummary,
    SpeedResult,
    TensorSpec,
    byte_size,
)
from visionmodel_converter.data import Data, DataReader, DataSource
from visionmodel_converter.engines.device import Device, LoadedEngine
from visionmodel_converter.engines.engine import Engine
from visionmodel_converter.engines.inspection import engine_share
from visionmodel_converter.engines.profiles import ShapeBounds, profile_of, refuse_other_sizes, served_sizes
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.data_checks import Role, refuse_bad_data
from visionmodel_converter.gates.edge_cases import check_edge_cases, refuse_failed_edge_cases
from visionmodel_converter.gates.goals import goals_of, judge, refuse_missed_goals
from visionmodel_converter.gates.parity import measure
from visionmodel_converter.gates.proof import refuse_missing_precision
from visionmodel_converter.gates.speed import OTHER_DEVICE, Clock, measure_speed, refuse_missed_speed, speed_gates
from visionmodel_converter.gates.tasks import kind_of, pre_settings
from visionmodel_converter.graph.limits import limits_of
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import Outputs, Run, Tensors, open_session, random_inputs
from visionmodel_converter.journal import Journal
from visionmodel_converter.losses import against_source, refuse_unknown_source
from visionmodel_converter.provenance import engine_statement, package_versions
from visionmodel_converter.report import EdgeCaseResult, EngineReport, FullReport, TimingsReport
from visionmodel_converter.sources.fetch import DEFAULT_RETRY, Retry
from visionmodel_converter.stages import Stage, stages_of_build
from visionmodel_converter.storage import WORKING_COPIES, Storage
from visionmodel_converter.store.engines import find_engine, publish_engine
from visionmodel_converter.store.entries import ENGINE, PREPARED
from visionmodel_converter.store.image import sha256_of
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import Published
from visionmodel_converter.store.timings import find_timings, keep_timings

REMEDIES: Final = {
    Precision.FP32: "export the FP32 model",
    Precision.FP16: "the report of the ONNX artifact names the nodes that stayed in FP32, and why; serve them with"
    " precision fp32, or change them in the export",
    Precision.INT8: "TensorRT fuses a layer with the Q/DQ pairs around it only where both factors have one; the report"
    " of the ONNX artifact names the nodes that were left out, and why; ask for fp16, or change them in the export",
}


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One run: what is asked and what it may use."""

    request: BuildRequest
    work: Path
    environment: Environment
    store: ArtifactStore
    device: Device
    journal: Journal
    threads: int
    command: Sequence[str]
    clock: Clock = time.perf_counter
    retry: Retry = field(default=DEFAULT_RETRY)
    storage: Storage = field(default_factory=Storage)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the engine is made of and compared with.

    Attributes:
        noise_inputs: those of the model at the size that is served: the task's images; where no task says it, free axes
            at the length that the engine is fastest at. For random inputs alone: the task is read against `model`.
    """

    report: FullReport
    model: CheckedModel
    profile: dict[str, ShapeBounds]
    noise_inputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What an engine has shown on the device, and the data that it was judged on."""

    data: Data | None
    gates: tuple[GateResult, ...]
    agreement: dict[str, float]
    edge_cases: tuple[EdgeCaseResult, ...]
    speed: tuple[SpeedResult, ...]
    device_memory_bytes: int


def build(job: BuildJob) -> ReportSummary:
    """Run the stages of a request; returns the summary of an engine that is published and meets its goals."""
    request, journal, target = job.request, job.journal, job.device.target
    journal.learn(gate_key=request.gate_key)
    journal.begin(Stage.FETCH, f"reading {PREPARED.name(request.prepare_key)} in {job.store.shown}")
    prepared = _prepared(job)
    key = engine_key(prepared.report.model_digest, request.options, target)
    journal.learn(source_digest=prepared.report.source_digest)

    journal.begin(Stage.LOOKUP, f"looking for {ENGINE.name(key)}, for {target.product}, in {job.store.shown}")
    known = find_engine(job.store, key, job.work / "known")
    plan = stages_of_build(published=known is not None, gate_passed=request.gate_key in request.passed_gate_keys)
    cached = known is not None
    proof: Proof | None = None
    if known is None:
        known, proof, cached = _made(job, prepared, key)
    elif plan:
        proof = _proven(job, prepared, known.model.read_bytes())
    journal.end(f"{'found' if cached else 'published'} {known.info.image}")
    return ReportSummary(
        result="Succeeded",
        source_digest=prepared.report.source_digest,
        # who serves it reads the tensors of the ONNX artifact, and the message is short
        artifact=known.info.model_copy(update={"inputs": (), "outputs": ()}),
        gate_key=request.gate_key,
        gates=proof.gates if proof else (),
        engine=_info(request, known, proof),
        cached=cached,
    )


def _prepared(job: BuildJob) -> Prepared:
    found = job.store.find(job.request.prepare_key, job.work / "prepared")
    if found is None:
        raise ConversionFailure(
            Reason.ARTIFACT_MISSING,
            f"{PREPARED.name(job.request.prepare_key)} is not in {job.store.shown} any more; delete the ConfigMap"
            f" artifact-{job.request.prepare_key} and retry, and the model is prepared again",
        )
    model = load_checked(found.model, shown="the prepared model", limits=limits_of(onnxruntime.__version__))
    profile, task = profile_of(model.inputs, job.request.options), job.request.task
    sizes = served_sizes(model.inputs, profile, None if task is None else pre_settings(task, model.inputs))
    return Prepared(found.report, model, profile, sizes)


def _made(job: BuildJob, prepared: Prepared, key: str) -> tuple[Published, Proof, bool]:
    """Build, prove and publish; where another Job was first, its engine is proven in place of ours."""
    journal = job.journal
    size = prepared.report.size_bytes
    job.storage.refuse_shortage(WORKING_COPIES * size, f"an engine of {PREPARED.name(prepared.report.key)}")
    engine, timings = _engine(job, prepared)
    share = engine_share(engine.layers, prepared.report.precision, version=engine.version)
    refuse_missing_precision(share, remedies=REMEDIES)
    proof = _proven(job, prepared, engine.plan)
    report = _report(job, prepared, key, (engine.plan, share, timings), proof)

    journal.begin(Stage.PUBLISH, f"publishing in {job.store.shown}")
    path = job.work / PLAN_FILE
    path.write_bytes(engine.plan)
    statement = engine_statement(job.request, report, command=job.command, versions=package_versions())
    published, was_there = publish_engine(job.store, plan=path, report=report, provenance=statement, work=job.work)
    if published.info.model_digest != report.model_digest:
        proof = _proven(job, prepared, published.model.read_bytes())
    return published, proof, was_there


def _engine(job: BuildJob, prepared: Prepared) -> tuple[Engine, TimingsReport]:
    """Build with the timings of earlier builds, and leave its own to later ones, however the engine is judged then."""
    journal, device, work = job.journal, job.device, job.work / "timings"
    work.mkdir(exist_ok=True)
    known = find_timings(job.store, device.target, work)
    began = f"{byte_size(len(known.content))} of earlier timings" if known.content else "no earlier timings"
    journal.begin(
        Stage.BUILD, f"building for {device.target.product} with TensorRT {device.target.tensorrt} and {began}"
    )

    def progress(phase: str, done: int, steps: int) -> bool:
        journal.say(Stage.BUILD, f"{phase}: {done} of {steps}")
        return True

    engine = device.build(
        prepared.model.serialized(),
        prepared.profile,
        job.request.options,
        timing_cache=known.content,
        progress=progress,
    )
    left, refused = engine.timing_cache, b"" if engine.took_timings else known.content
    unkept = keep_timings(job.store, device.target, left, refused=refused, work=work)
    trouble = (known.trouble, "TensorRT refused the earlier timings" if refused else None, unkept)
    return engine, TimingsReport(
        taken_bytes=len(known.content) if engine.took_timings else 0,
        left_bytes=len(left),
        trouble=tuple(dict.fromkeys(words for words in trouble if words)),
    )


def _proven(job: BuildJob, prepared: Prepared, plan: bytes) -> Proof:
    """Return what the engine shows on the device. Raises ConversionFailure for the first promise it does not keep."""
    speed = job.request.gates.speed
    data = _data(job, prepared)
    with job.device.load(plan) as loaded:
        run = within_batches(loaded, job.request.options.batch.max)
        job.journal.begin(Stage.PARITY, "comparing the engine with the graph that it was built from")
        source = open_session(prepared.model.serialized(), shown="the prepared model", threads=job.threads)
        agreement, gates = _parity(job, prepared, (source, run), data)
        refuse_missed_goals(gates)
        outputs, task = prepared.model.outputs, job.request.task
        inputs = prepared.noise_inputs if task is None else prepared.model.inputs
        edge_cases = check_edge_cases(source, run, inputs=inputs, outputs=outputs, task=task)
        refuse_failed_edge_cases(edge_cases)
        job.journal.begin(Stage.SPEED, "timing the engine")
        times = _times(job, prepared, loaded)
        memory = loaded.device_memory_bytes
    job.journal.begin(Stage.GATE, f"judging {len(gates)} goal(s) and the limits of time and memory")
    limits = speed_gates(speed, times, memory)
    refuse_missed_speed(limits, cpu=job.device.target.product, advice=OTHER_DEVICE)
    return Proof(data, (*gates, *limits), agreement, edge_cases, times, memory)


def within_batches(loaded: LoadedEngine, largest: int) -> Run:
    """Return a run that takes batches of any size, in pieces that the engine's profile allows."""

    def run(inputs: Tensors) -> Outputs:
        count = len(next(iter(inputs.values())))
        if count <= largest:
            return loaded.run(inputs)
        pieces = [
            loaded.run({name: array[start : start + largest] for name, array in inputs.items()})
            for start in range(0, count, largest)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    return run


def _data(job: BuildJob, prepared: Prepared) -> Data | None:
    """Return what the engine is judged on: the dataset, or the calibration samples as in the prepare Job."""
    parity, samples = job.request.gates.parity, job.request.samples
    if parity.dataset_uri is not None:
        role, source = Role.EVALUATION, DataSource(parity.dataset_uri, parity.dataset_digest)
    elif samples is not None:
        role, source = Role.CALIBRATION, DataSource(samples.dataset_uri, samples.digest, samples.samples)
    else:
        return None
    reader = DataReader(job.work, job.environment, job.storage, job.retry)
    data = reader.read(role, source, prepared.model.inputs, task=job.request.task)
    refuse_bad_data(data.checked.findings)
    # the samples of one dataset are of one size
    first = next(data.checked.samples.batches(1))
    refuse_other_sizes(first.tensors, prepared.profile, shown=data.checked.shown)
    return data


def _parity(
    job: BuildJob, prepared: Prepared, runs: tuple[Run, Run], data: Data | None
) -> tuple[dict[str, float], tuple[GateResult, ...]]:
    precision, task, outputs = prepared.report.precision, job.request.task, prepared.model.outputs
    samples = data.checked.samples if data else None
    labelled = samples.labelled if samples else frozenset()
    kind = kind_of(task, outputs, labelled)
    goals = goals_of(job.request.gates.parity, precision, kind, has_labels=kind in labelled)
    refuse_unknown_source(goals, prepared.report, data)
    measured = measure(
        *runs,
        samples,
        goals,
        inputs=prepared.model.inputs,
        noise_inputs=prepared.noise_inputs,
        outputs=outputs,
        task=task,
        seed=int(prepared.report.key[:8], 16),
        random_counts=precision is not Precision.INT8,
    )
    measured = against_source(measured, prepared.report, data)
    agreement = {name: one.value for name, one in sorted(measured.items()) if isfinite(one.value)}
    return agreement, judge(goals, measured)


def _times(job: BuildJob, prepared: Prepared, loaded: LoadedEngine) -> tuple[SpeedResult, ...]:
    """Time one sample, the usual and the largest batch, and every batch of a goal that the engine takes."""
    speed, batch = job.request.gates.speed, job.request.options.batch
    asked = {goal.batch for goal in speed.latency} | {goal.batch for goal in speed.throughput}
    sizes = sorted({1, batch.opt, batch.max} | {size for size in asked if size <= batch.max})

    def inputs_of(size: int) -> Tensors:
        return random_inputs(prepared.noise_inputs, batch=size, seed=size)

    return tuple(measure_speed(loaded.run, inputs_of, batch=size, clock=job.clock) for size in sizes)


def _report(
    job: BuildJob, prepared: Prepared, key: str, built: tuple[bytes, PrecisionShare, TimingsReport], proof: Proof
) -> FullReport:
    plan, share, timings = built
    judged_by = proof.data.file if proof.data and job.request.gates.parity.dataset_uri is not None else None
    return prepared.report.model_copy(
        update={
            "dataset_uri": judged_by.uri if judged_by else None,
            "dataset_digest": judged_by.digest if judged_by else None,
            "data": proof.data.checked.findings if proof.data else (),
            "key": key,
            "model_digest": sha256_of(plan),
            "size_bytes": len(plan),
            "gates": proof.gates,
            "agreement": proof.agreement,
            "edge_cases": proof.edge_cases,
            "candidates": (),
            "pictures": {},
            "engine": EngineReport(
                prepare_key=prepared.report.key,
                model_digest=prepared.report.model_digest,
                options=job.request.options,
                target=job.device.target,
                driver=job.device.driver,
                share=share,
                speed=proof.speed,
                device_memory_bytes=proof.device_memory_bytes,
                timings=timings,
            ),
        }
    )


def _info(request: BuildRequest, published: Published, proof: Proof | None) -> EngineInfo:
    """Return what was measured now; where nothing had to be, what its report says."""
    made = published.report.engine
    assert made is not None, "what is published under an engine's key is an engine"
    speed = proof.speed if proof else made.speed
    single, largest = speed[0], speed[-1]
    return EngineInfo(
        build_key=request.key,
        target=made.target,
        driver=made.driver,
        share=made.share,
        p50_ms=single.p50_ms,
        p99_ms=single.p99_ms,
        per_second=largest.per_second,
        device_memory_bytes=proof.device_memory_bytes if proof else made.device_memory_bytes,
    )
