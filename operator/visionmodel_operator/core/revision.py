"""Identity: which revision a spec describes.

The revision hash decides whether an edit starts a canary, so it must see everything that changes the serving pods
and nothing else, and it must not move when the operator is upgraded. Hence the fields are listed here one by one,
and defaults are compared with a table written out below, never with the defaults of `api/spec.py`.
"""

from typing import Any, Final

from visionmodel_contract.keys import canonical_json, digest_of
from visionmodel_operator.api.spec import OnNewRevision, Rollout, TaskType, VisionModelSpec, WantedPrecision

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
    "conversion.candidates": [],
    "conversion.minImprovement": 5,
    "conversion.simplify": True,
    "conversion.exports": [],
    "conversion.calibration.quantizer": "ONNXRuntime",
    "conversion.calibration.samples": 512,
    "conversion.calibration.method": "Auto",
    "conversion.gates.parity.metrics": [],
    "conversion.gates.latency": [],
    "conversion.gates.latency[].percentile": "p99",
    "conversion.gates.latency[].batch": 1,
    "conversion.gates.throughput": [],
    "conversion.gates.throughput[].batch": 1,
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
    "task.Classification.decoder": "Softmax",
    "task.Classification.scoreThreshold": 0,
    "task.Classification.topK": 5,
    "task.Segmentation.decoder": "ClassScores",
    "task.Segmentation.scoreThreshold": 0.5,
    "conversion.dynamicShapes": [],
    "conversion.tensorrt.workspace": "2Gi",
    "conversion.tensorrt.optimizationLevel": 3,
    "conversion.tensorrt.hardwareCompatibility": "None",
    "conversion.tensorrt.versionCompatible": False,
    "conversion.tensorrt.sparseWeights": False,
    "conversion.tensorrt.refit": False,
}
"""Values that scheme 1 leaves out of the hash, by path; a map or list is compared as a whole, as the API server
defaults it as a whole. Frozen: a field that is new in the API gets a new row, an existing row never changes. A
changed row would rename every revision in every cluster and start a canary for each."""

_UNIDENTIFYING_MODEL_FIELDS = ("secretRef", "trustPickle")
_CONVERSION_FIELDS = (
    "backend",
    "precision",
    "simplify",
    "calibration",
    "pruning",
    "exports",
    "batch",
    "dynamicShapes",
    "tensorrt",
)
"""Exports change no pod; they are made in a rollout's conversion, so asking for another one begins one (ADR 0017)."""
_UNORDERED_FIELDS = ("exports", "dynamicShapes")
"""The API server keeps these as they were written, and their order changes nothing that is made."""
_SEARCHED_FIELDS = ("candidates", "minImprovement", "gates")
"""What a precision below FP32 is searched and chosen by; of FP32 goals only allow or refuse (ADR 0012)."""
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
    is_exact = spec.conversion.precision == WantedPrecision.FP32
    conversion_fields = (*_CONVERSION_FIELDS, *(() if is_exact else _SEARCHED_FIELDS))
    model = {key: value for key, value in wire["model"].items() if key not in _UNIDENTIFYING_MODEL_FIELDS}
    conversion = {key: wire["conversion"][key] for key in conversion_fields if key in wire["conversion"]}
    for unordered in conversion.keys() & _UNORDERED_FIELDS:
        conversion[unordered] = sorted(conversion[unordered], key=canonical_json)
    parity = conversion.get("gates", {}).get("parity", {})
    for named, digest, uri in (
        (model, "digest", "storageUri"),
        (conversion.get("calibration", {}), "digest", "storageUri"),
        (parity, "datasetDigest", "datasetUri"),
    ):
        if digest in named:
            del named[uri]
    document = _without_defaults(
        {
            "model": model,
            "task": _task(wire["task"]),
            "conversion": conversion,
            "accelerators": wire["accelerators"],
            "serving": {key: wire["serving"][key] for key in _SERVING_FIELDS if key in wire["serving"]},
        },
        "",
    )
    return {} if isinstance(document, _Absent) else dict(document)


REVISION_SECTIONS: Final = ("model", "task", "conversion", "accelerators", "serving")
"""Sections of a spec that a revision is made of; the others say how it is reached and how it takes over."""


def revision_sections(spec: VisionModelSpec) -> dict[str, Any]:
    """Return what must be in a spec to have this revision again, defaults written out."""
    wire = spec.to_wire()
    return {section: wire[section] for section in REVISION_SECTIONS}


def _task(task: dict[str, Any]) -> dict[str, Any]:
    """Return the task with its output under the type's name, but for Detection, which came first.

    The defaults of one type are no defaults of another, and a row of the table would leave both out.
    """
    if "output" not in task or task["type"] == TaskType.DETECTION:
        return task
    return {key: value for key, value in task.items() if key != "output"} | {task["type"]: task["output"]}


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


def plan_digest(rollout: Rollout) -> str:
    """Return a digest of what a rollout is judged by, frozen when it begins: steps and analysis.

    Defaults are left out, so that a field that a newer operator adds is no change of plan. Pausing and the times
    of draining and routing may be edited while a rollout runs; `onNewRevision` is frozen apart from it, and judges
    nothing.
    """
    return _digest_of_plan(rollout, _PLAN_FIELDS)


def is_plan_of(rollout: Rollout, digest: str | None) -> bool:
    """Return whether a recorded digest is of these steps and this analysis, whatever `onNewRevision` was then.

    Operators before this one took the policy into the digest where it was not the default.
    """
    policies = (rollout.model_copy(update={"on_new_revision": policy}) for policy in OnNewRevision)
    earlier = {_digest_of_plan(one, {*_PLAN_FIELDS, "on_new_revision"}) for one in policies}
    return digest == plan_digest(rollout) or digest in earlier


_PLAN_FIELDS = {"strategy", "steps", "blue_green", "analysis"}


def _digest_of_plan(rollout: Rollout, fields: set[str]) -> str:
    plan = rollout.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, include=fields)
    return digest_of(plan)[:PLAN_HEX_DIGITS]
