"""From a spec to what the prepare Job is asked, and to the keys under which its answer is remembered."""

from math import ceil

from visionmodel_contract.conversion import (
    CalibrationOptions,
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    LatencyGoal,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceInput,
    SourceRequest,
    SpeedRequest,
    ThroughputGoal,
)
from visionmodel_contract.formats import SourceFormat, format_of_name
from visionmodel_contract.keys import gate_key, is_judged_by_digest, is_keyed, prepare_key
from visionmodel_contract.precision import Backend, Precision
from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import Conversion, VisionModelSpec, WantedPrecision
from visionmodel_operator.core.image_task import image_task
from visionmodel_operator.core.quantity import amount
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.core.threads import instance_options


def conversion_request(
    spec: VisionModelSpec,
    *,
    namespace: str,
    name: str,
    revision: str,
    platform: Platform,
    passed_gate_keys: tuple[str, ...] = (),
) -> ConversionRequest:
    """Return what the prepare Job of a revision is asked to do."""
    return ConversionRequest(
        namespace=namespace,
        name=name,
        revision=revision,
        source=SourceRequest(
            uri=spec.model.storage_uri,
            format=source_format(spec),
            digest=spec.model.digest,
            inputs=source_inputs(spec),
            trust_pickle=spec.model.trust_pickle,
        ),
        options=conversion_options(spec),
        task=image_task(spec.task),
        gates=gates_request(spec),
        exports=tuple(spec.conversion.exports),
        publish=publish_target(platform),
        passed_gate_keys=passed_gate_keys,
    )


def publish_target(platform: Platform) -> PublishTarget:
    """Return the store that Jobs publish in."""
    return PublishTarget(
        repository=platform.artifact_repository,
        uri=platform.artifact_uri,
        insecure=platform.artifact_repository_insecure,
    )


def source_format(spec: VisionModelSpec) -> SourceFormat | None:
    """Return the format that the source must have: as asked, or as its name promises, or None: as it turns out."""
    asked = spec.model.model_format
    return format_of_name(spec.model.storage_uri) if asked is None else asked.name


def source_inputs(spec: VisionModelSpec) -> tuple[SourceInput, ...]:
    """Return the shapes that the user has declared for the source."""
    return tuple(SourceInput(name=one.name, dtype=one.dtype, dims=tuple(one.dims)) for one in spec.model.inputs)


def conversion_options(spec: VisionModelSpec) -> ConversionOptions:
    """Return the options that change the artifact's bytes."""
    wanted = spec.conversion
    return ConversionOptions(
        backend=wanted.backend,
        precisions=precisions_of(wanted),
        min_improvement_percent=wanted.min_improvement,
        simplify=wanted.simplify,
        pruning=None if wanted.pruning is None else wanted.pruning.pattern,
        calibration=calibration_options(spec),
    )


def calibration_options(spec: VisionModelSpec) -> CalibrationOptions | None:
    """Return the samples for INT8, None where there are none."""
    wanted = spec.conversion.calibration
    if wanted is None:
        return None
    return CalibrationOptions(
        dataset_uri=wanted.storage_uri,
        digest=wanted.digest,
        samples=wanted.samples,
        method=wanted.method,
        quantizer=wanted.quantizer,
    )


def precisions_of(conversion: Conversion) -> tuple[Precision, ...]:
    """Return the precisions to make, the highest first and each once."""
    if conversion.precision != WantedPrecision.AUTO:
        return (Precision(conversion.precision.value),)
    possible = [one for one in Precision if one != Precision.INT8 or conversion.calibration is not None]
    wanted = conversion.candidates or possible
    return tuple(one for one in Precision if one in wanted)


def gates_request(spec: VisionModelSpec) -> GatesRequest:
    """Return the goals that the artifact must meet before it may serve.

    Time and memory of a network that becomes an engine are the engine's to prove.
    """
    is_built = spec.conversion.backend is Backend.TENSORRT
    return GatesRequest(
        parity=parity_request(spec),
        speed=SpeedRequest() if is_built else speed_request(spec),
        accelerated=bool(spec.accelerators),
    )


def parity_request(spec: VisionModelSpec) -> ParityRequest:
    """Return the dataset and the goals on it."""
    parity = spec.conversion.gates.parity
    goals = tuple(MetricGoal(name=m.name, goal=m.goal, value=m.value) for m in parity.metrics)
    return ParityRequest(dataset_uri=parity.dataset_uri, dataset_digest=parity.dataset_digest, metrics=goals)


def speed_request(spec: VisionModelSpec) -> SpeedRequest:
    """Return the limits; how serving will run the network only where something is measured by it.

    Otherwise an edit of the pod's CPUs would ask for a new verdict that nothing depends on.
    """
    gates = spec.conversion.gates
    is_measured = gates.latency or gates.throughput or gates.memory or len(precisions_of(spec.conversion)) > 1
    if not is_measured:
        return SpeedRequest()
    return SpeedRequest(
        latency=tuple(
            LatencyGoal(percentile=goal.percentile, batch=goal.batch, max_ms=1000 * duration_seconds(goal.max))
            for goal in gates.latency
        ),
        throughput=tuple(ThroughputGoal(batch=goal.batch, min_per_second=goal.min) for goal in gates.throughput),
        max_memory_bytes=None if gates.memory is None else ceil(amount(gates.memory.max)),
        threads=instance_options(spec).threads,
        max_batch=max(1, spec.serving.batching.max_batch_size),
    )


def artifact_key(spec: VisionModelSpec, resolved_digest: str | None = None) -> str | None:
    """Return the key of the artifact that a spec needs, or None while a digest that it is taken of is unknown.

    Args:
        spec: the spec; its own `model.digest` wins.
        resolved_digest: digest that an earlier stage found for the unpinned source.
    """
    digest = spec.model.digest or resolved_digest
    options, gates = conversion_options(spec), gates_request(spec)
    if digest is None or not is_keyed(options, gates):
        return None
    return prepare_key(digest, options, inputs=source_inputs(spec), task=image_task(spec.task), gates=gates)


def gate_key_of(spec: VisionModelSpec, key: str) -> str:
    """Return the key of what this spec asks of the artifact `key`; of a verdict only where the data have a digest."""
    return gate_key(key, gates_request(spec), task=image_task(spec.task), exports=spec.conversion.exports)


def names_verdict(spec: VisionModelSpec) -> bool:
    """Return whether `gate_key_of` is the key of a verdict: what is judged by has a digest in the spec."""
    return is_judged_by_digest(gates_request(spec))
