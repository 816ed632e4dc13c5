"""The smallest and the largest VisionModel spec, and ways to vary them."""

import copy
from typing import Any

from visionmodel_operator.api.crd import object_schema

Json = Any
Path = tuple[str | int, ...]

MINIMAL: Json = {"model": {"storageUri": "s3://models/shapes/7/model.onnx"}, "task": {"type": "Tensor"}}

FULL: Json = {
    "model": {
        "storageUri": "s3://models/shapes/7/model.onnx",
        "modelFormat": {"name": "onnx"},
        "digest": "sha256:" + "0a" * 32,
        "secretRef": {"name": "models-s3"},
        "trustPickle": False,
        "inputs": [{"name": "image", "dtype": "uint8", "dims": [-1, 3, 64, 96]}],
    },
    "task": {
        "type": "Detection",
        "labels": ["circle", "square"],
        "input": {
            "height": 64,
            "width": 96,
            "layout": "NHWC",
            "dtype": "float32",
            "resize": "Stretch",
            "colorSpace": "BGR",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "maxBytes": "1Mi",
            "maxPixels": 1000000,
        },
        "output": {"decoder": "YOLOv8", "scoreThreshold": 0.25, "iouThreshold": 0.45, "maxDetections": 20},
    },
    "conversion": {
        "backend": "ONNXRuntime",
        "precision": "Auto",
        "candidates": ["int8", "fp32"],
        "minImprovement": 12.5,
        "simplify": False,
        "calibration": {
            "storageUri": "s3://data/calibration.npz",
            "digest": "sha256:" + "0c" * 32,
            "samples": 256,
            "method": "Entropy",
            "quantizer": "ONNXRuntime",
        },
        "pruning": {"pattern": "2:4"},
        "gates": {
            "parity": {
                "datasetUri": "s3://data/holdout.npz",
                "datasetDigest": "sha256:" + "0d" * 32,
                "metrics": [{"name": "top1", "goal": "max-degradation", "value": 0.01}],
            },
            "latency": [{"percentile": "p95", "batch": 4, "max": "15ms"}],
            "throughput": [{"batch": 8, "min": 100}],
            "memory": {"max": "4Gi"},
        },
        "exports": ["TFLite", "OpenVINO"],
        "queueName": "gpu-builds",
        "deadline": "30m",
        "autoApply": True,
    },
    "accelerators": [
        {
            "resourceName": "nvidia.com/gpu",
            "count": 2,
            "product": "NVIDIA-L4",
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
        }
    ],
    "serving": {
        "runtimeVersion": "26.07",
        "replicas": 2,
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
        "batching": {
            "maxBatchSize": 16,
            "preferredBatchSizes": [4, 8],
            "maxQueueDelay": "1ms",
            "maxQueueSize": 64,
            "queueTimeout": "1s",
        },
        "instances": 2,
        "warmup": False,
        "pod": {
            "labels": {"team": "vision"},
            "annotations": {"note": "hello"},
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "imagePullSecrets": [{"name": "pull"}],
            "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        },
    },
    "traffic": {
        "gatewayRefs": [
            {
                "name": "vision",
                "namespace": "gateways",
                "sectionName": "http",
                "protocol": "HTTP",
                "hostnames": ["models.example"],
            }
        ],
        "requestTimeout": "5s",
    },
    "rollout": {
        "strategy": "Canary",
        "steps": [
            {"setCanaryScale": {"replicas": 2}},
            {"setHeaderRoute": {"match": [{"headerName": "x-canary", "headerValue": {"exact": "1"}}]}},
            {"setWeight": 12.5},
            {"pause": {"duration": "1m"}},
        ],
        "onNewRevision": "Queue",
        "whenFull": "ShrinkByOne",
        "paused": True,
        "drain": "10s",
        "drainMax": "1m",
        "routeTimeout": "20s",
        "analysis": {
            "interval": "5s",
            "falseRollbackRate": 0.05,
            "method": "Tempered",
            "gate": "Certificate",
            "falsePromotionRate": 0.1,
            "minSamples": 50,
            "warmup": "10s",
            "metricsGrace": "1m",
            "metricsDeadline": "10m",
            "maxStepDuration": "20m",
            "onInconclusive": "Abort",
            "onMissingMetrics": "Abort",
            "maxRestarts": 1,
            "metrics": [
                {
                    "name": "errors",
                    "type": "ErrorRate",
                    "gating": True,
                    "tolerateRatio": 1,
                    "sloMax": 0.02,
                    "failureLimit": 2,
                },
                {"name": "latency", "type": "LatencyRatio", "quantile": 0.95, "maxRatio": 2.5, "floor": "5ms"},
                {
                    "name": "brightness",
                    "type": "Threshold",
                    "query": "avg(brightness)",
                    "thresholdRange": {"min": 0, "max": 255.5},
                },
            ],
        },
    },
    "suspend": False,
    "revisionHistoryLimit": 3,
    "rollbackWindow": {"revisions": 2, "duration": "1h"},
    "progressDeadlineSeconds": 300,
}
"""Every field that a user may set, at least once; but for those that a rule keeps apart."""

CLASSIFIER: Json = {
    **FULL,
    "task": {
        "type": "Classification",
        "labels": ["cat", "dog"],
        "input": {"colorSpace": "Gray", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        "output": {"decoder": "Probabilities", "topK": 3, "scoreThreshold": 0.25},
    },
    "rollout": {**FULL["rollout"], "steps": [{"setCanaryScale": {"weight": 50}}]},
}
"""FULL for the fields that no detector has, and another scale of the canary."""

ENGINES: Json = {
    **FULL,
    "conversion": {
        **FULL["conversion"],
        "backend": "TensorRT",
        "precision": "int8",
        "candidates": [],
        "batch": {"opt": 16, "max": 32},
        "dynamicShapes": [{"input": "image", "axis": 2, "min": 32, "opt": 64, "max": 128}],
        "tensorrt": {
            "workspace": "1Gi",
            "optimizationLevel": 4,
            "hardwareCompatibility": "AmperePlus",
            "versionCompatible": True,
            "sparseWeights": True,
            "refit": True,
        },
    },
    "rollout": {**FULL["rollout"], "steps": [{"setCanaryScale": {"matchTrafficWeight": True}}]},
}
"""The same with backend TensorRT, which makes one precision."""


BLUE_GREEN: Json = {
    **FULL,
    "rollout": {
        **{name: value for name, value in FULL["rollout"].items() if name != "steps"},
        "strategy": "BlueGreen",
        "blueGreen": {
            "previewHeaders": [{"headerName": "x-preview", "headerValue": {"exact": "yes"}}],
            "previewReplicas": 1,
            "autoPromotion": True,
            "autoPromotionDelay": "10m",
            "baselineWeight": 2.5,
            "scaleDownDelay": "15m",
        },
    },
}
"""FULL with the other strategy."""


def edited(path: Path, value: Json, base: Json = FULL) -> Json:
    """Return a copy of `base` with `value` at `path`."""
    document = copy.deepcopy(base)
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return document


def without(path: Path, base: Json = FULL) -> Json:
    """Return a copy of `base` without the field at `path`."""
    document = copy.deepcopy(base)
    target = document
    for step in path[:-1]:
        target = target[step]
    del target[path[-1]]
    return document


def value_at(path: Path, base: Json = FULL) -> Json:
    """Return what stands at `path`."""
    for step in path:
        base = base[step]
    return base


def spec_schema() -> Json:
    """Return the schema of the spec."""
    return object_schema()["properties"]["spec"]
