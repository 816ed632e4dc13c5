"""Identity: which revision a spec describes, which artifact it needs, and which verdict makes that usable.

The revision hash decides whether an edit starts a canary, so it must see everything that changes the serving pods
and nothing else, and it must not move when the operator is upgraded. Hence the fields are listed here one by one,
and defaults are compared with a table written out below, never with the defaults of `api/spec.py`.
"""

from typing import Any, Final

from visionmodel_contract.conversion import (
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceInput,
    SourceRequest,
)
from visionmodel_contract.formats import SourceFormat, format_of_name
from visionmodel_contract.keys import digest_of, gate_key, prepare_key
from visionmodel_operator.api.spec import Rollout, VisionModelSpec
from visionmodel_operator.core.snapshot import Platform

SCHEME_VERSION: Final = 1
REVISION_HEX_DIGITS: Final = 10
PLAN_HEX_DIGITS: Final = 16

DEFAULTS_V1: Final[dict[str, Any]] = {
    "model.modelFormat.name": "onnx",
    "task.labels": [],
    "task.input.layout": "NCHW",
    "task.input.dtype": "float32",
    "task.input.resize": "Letterbox",
    "task.input.colorSpace": "RGB",
    "task.input.mean": [0, 0, 0],
    "task.input.std": [1, 1, 1],
    "task.input.maxBytes": "16Mi",
    "task.input.maxPixels": 50_000_000,
    "task.output.scoreThreshold": 0.3,
    "task.output.iouThreshold": 0.5,
    "task.output.maxDetections": 100,
    "conversion.backend": "ONNXRuntime",
    "conversion.precision": "fp32",
    "conversion.simplify": True,
    "accelerators": [],
    "accelerators[].resourceName": "nvidia.com/gpu",
    "accelerators[].count": 1,
    "accelerators[].nodeSelector": {},
    "accelerators[].tolerations": [],
    "serving.resources.requests": {"cpu": "500m", "memory": "512Mi"},
    "serving.resources.limits": {"memory": "2Gi"},
    "serving.batching.maxBatchSize": 8,
    "serving.batching.preferredBatchSizes": [],
    "serving.batching.maxQueueDelay": "500us",
    "serving.batching.maxQueueSize": 0,
    "serving.batching.queueTimeout": "0s",
    "serving.instances": 1,
    "serving.warmup": True,
    "serving.pod.labels": {},
    "serving.pod.annotations": {},
    "serving.pod.imagePullSecrets": [],
    "serving.pod.env": [],
    "serving.pod.env[].value": "",
    "model.inputs": [],
    "model.inputs[].dtype": "float32",
    "model.inputs[].dims": [],
}
"""Values that scheme 1 leaves out of the hash, by path; a map or list is compared as a whole, as the API server
defaults it as a whole. Frozen: a field that is new in the API gets a new row, an existing row never changes. A
changed row would rename every revision in every cluster and start a canary for each."""

_UNIDENTIFYING_MODEL_FIELDS = ("secretRef", "trustPickle")
_CONVERSION_FIELDS = ("backend", "precision", "simplify")
_SERVING_FIELDS = ("runtimeVersion", "resources", "batching", "instances", "warmup", "pod")


class _Absent:
    """Marks a value that the hash leaves out; None is a JSON value and cannot."""


_ABSENT = _Absent()


def revision_of(spec: VisionModelSpec) -> str:
    """Return the revision that a spec describes, as 10 hex digits of scheme `SCHEME_VERSION`."""
    return digest_of(revision_document(spec))[:REVISION_HEX_DIGITS]


def revision_document(spec: VisionModelSpec) -> dict[str, Any]:
    """Return what the revision hash is taken of: the identifying fields that differ from the frozen defaults."""
    wire = spec.to_wire()
    model = {key: value for key, value in wire["model"].items() if key not in _UNIDENTIFYING_MODEL_FIELDS}
    if "digest" in model:
        del model["storageUri"]
    document = _without_defaults(
        {
            "model": model,
            "task": wire["task"],
            "conversion": {key: wire["conversion"][key] for key in _CONVERSION_FIELDS},
            "accelerators": wire["accelerators"],
            "serving": {key: wire["serving"][key] for key in _SERVING_FIELDS if key in wire["serving"]},
        },
        "",
    )
    return {} if isinstance(document, _Absent) else dict(document)


def _without_defaults(value: Any, path: str) -> Any:
    if path in DEFAULTS_V1 and value == DEFAULTS_V1[path]:
        return _ABSENT
    if isinstance(value, list):
        items = (_without_defaults(item, f"{path}[]") for item in value)
        return [{} if item is _ABSENT else item for item in items]
    if not isinstance(value, dict) or path in DEFAULTS_V1:
        return value
    kept = {key: _without_defaults(item, f"{path}.{key}".lstrip(".")) for key, item in value.items()}
    kept = {key: item for key, item in kept.items() if item is not _ABSENT}
    return kept or _ABSENT


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
        gates=gates_request(spec),
        publish=PublishTarget(repository=platform.artifact_repository, insecure=platform.artifact_repository_insecure),
        passed_gate_keys=passed_gate_keys,
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
    return ConversionOptions(backend=wanted.backend, precisions=(wanted.precision,), simplify=wanted.simplify)


def gates_request(spec: VisionModelSpec) -> GatesRequest:
    """Return the goals that the artifact must meet before it may serve."""
    parity = spec.conversion.gates.parity
    goals = tuple(MetricGoal(name=m.name, goal=m.goal, value=m.value) for m in parity.metrics)
    return GatesRequest(parity=ParityRequest(dataset_uri=parity.dataset_uri, metrics=goals))


def artifact_key(spec: VisionModelSpec, resolved_digest: str | None = None) -> str | None:
    """Return the key of the artifact that a spec needs, or None while the source's digest is unknown.

    Args:
        spec: the spec; its own `model.digest` wins.
        resolved_digest: digest that an earlier stage found for the unpinned source.
    """
    digest = spec.model.digest or resolved_digest
    return None if digest is None else prepare_key(digest, conversion_options(spec), inputs=source_inputs(spec))


def gate_key_of(spec: VisionModelSpec, key: str) -> str:
    """Return the key of the verdict that this spec's gates give over the artifact `key`."""
    return gate_key(key, gates_request(spec))


def plan_digest(rollout: Rollout) -> str:
    """Return a digest of the steps and the analysis, which a rollout freezes when it begins.

    Defaults are left out, so that a field that a newer operator adds is no change of plan. Pausing and the times
    of draining and routing may be edited while a rollout runs.
    """
    plan = rollout.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, include={"strategy", "steps", "analysis"}
    )
    return digest_of(plan)[:PLAN_HEX_DIGITS]
