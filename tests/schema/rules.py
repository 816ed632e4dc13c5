"""Specs around each CEL rule; a test checks that none is missing."""

from dataclasses import dataclass

from schema.specs import BLUE_GREEN, ENGINES, Json, edited, without
from visionmodel_operator.api.traffic import GRPC_OF_ITS_OWN, ONE_PER_PROTOCOL, SHARED_HOST

_METRIC = ("rollout", "analysis", "metrics", 0)
_RANGE = ("rollout", "analysis", "metrics", 2, "thresholdRange")
_ENV = ("serving", "pod", "env", 0, "name")
_STEP = ("rollout", "steps", 0)
_HEADER = {"headerName": "x-canary", "headerValue": {"exact": "1"}}
_ROLLOUT = ("rollout",)
_BLUE_GREEN = ("rollout", "blueGreen")
_DEFAULT_STEPS = [step for weight in (5, 25, 50) for step in ({"setWeight": weight}, {"pause": {"duration": "5m"}})]
_INTERVAL = ("rollout", "analysis", "interval")
_METHOD = ("rollout", "analysis", "method")
_TASK = ("task",)
_INPUT = ("task", "input")
_DECODERS = {
    "Detection": ("Grid", "Triple", "YOLOv8"),
    "Classification": ("Softmax", "Probabilities"),
    "Segmentation": ("ClassScores", "ClassMap", "Sigmoid"),
}
_BACKEND = ("conversion", "backend")
_PARITY = ("conversion", "gates", "parity")
_CONVERSION = ("conversion",)
_DIGEST = "sha256:" + "0a" * 32
_CALIBRATION = ("conversion", "calibration")
_SAMPLES: Json = {"storageUri": "s3://data/calibration.npz"}
_BY_MODELOPT: Json = {**_SAMPLES, "quantizer": "ModelOpt", "method": "Entropy"}
_ON_OPENVINO: Json = edited(_BACKEND, "OpenVINO", edited(("accelerators",), []))
_RANGE_OF: Json = {"input": "image", "axis": 2}


@dataclass(frozen=True)
class RuleCases:
    """Specs around one CEL rule, each with a name."""

    accepted: dict[str, Json]
    refused: dict[str, Json]


_MODEL = ("model",)
_SCRIPT: Json = {
    "storageUri": "s3://models/net.pt",
    "modelFormat": {"name": "torchscript"},
    "digest": "sha256:" + "0a" * 32,
    "trustPickle": True,
    "inputs": [{"name": "image", "dims": [-1, 3, 64, 64]}],
}


def _script(*absent: str, **changed: Json) -> Json:
    return edited(_MODEL, {key: value for key, value in (_SCRIPT | changed).items() if key not in absent})


_PROGRAM: Json = {"modelFormat": {"name": "torch-export"}}

_LISTENER: Json = {"name": "vision", "sectionName": "grpc", "protocol": "GRPC"}


def _listeners(*refs: Json) -> Json:
    return edited(("traffic", "gatewayRefs"), list(refs))


RULES: dict[str, RuleCases] = {
    GRPC_OF_ITS_OWN: RuleCases(
        {
            "a listener": _listeners(_LISTENER),
            "hostnames": _listeners({"name": "vision", "protocol": "GRPC", "hostnames": ["shapes.example"]}),
            "HTTP, told apart by its path": _listeners({"name": "vision", "protocol": "HTTP"}),
            "HTTP by default": _listeners({"name": "vision"}),
        },
        {
            "neither": _listeners({"name": "vision", "protocol": "GRPC"}),
            "no hostname": _listeners({"name": "vision", "protocol": "GRPC", "hostnames": []}),
        },
    ),
    ONE_PER_PROTOCOL: RuleCases(
        {"one of each": _listeners({"name": "vision", "sectionName": "http"}, _LISTENER)},
        {
            "HTTP twice": _listeners({"name": "a"}, {"name": "b", "protocol": "HTTP"}),
            "GRPC twice": _listeners(_LISTENER, {**_LISTENER, "name": "other"}),
        },
    ),
    SHARED_HOST: RuleCases(
        {
            "two listeners": _listeners(_LISTENER, {"name": "vision", "sectionName": "http"}),
            "two gateways": _listeners(_LISTENER, {"name": "other"}),
            "gateways of two namespaces": _listeners(_LISTENER, {"name": "vision", "namespace": "elsewhere"}),
            "two hosts of one listener": _listeners(
                {**_LISTENER, "hostnames": ["a.example"]},
                {"name": "vision", "sectionName": "grpc", "hostnames": ["b.example"]},
            ),
        },
        {
            "one listener": _listeners(_LISTENER, {"name": "vision", "sectionName": "grpc"}),
            "every listener": _listeners(_LISTENER, {"name": "vision"}),
            "a host of both": _listeners(
                {**_LISTENER, "hostnames": ["a.example", "b.example"]}, {"name": "vision", "hostnames": ["b.example"]}
            ),
            "one without a host": _listeners({**_LISTENER, "hostnames": ["a.example"]}, {"name": "vision"}),
        },
    ),
    "trustPickle trusts one content: set digest": RuleCases(
        {"script with a digest": _script(), "no trust, no digest": edited((*_MODEL, "trustPickle"), False)},
        {"no digest": _script("digest")},
    ),
    "torchscript and torch-export can run code of the file while they are loaded: set trustPickle": RuleCases(
        {
            "trusted program": _script("inputs", **_PROGRAM),
            "keras needs none": edited((*_MODEL, "modelFormat", "name"), "keras"),
            "no format": _script("modelFormat", "trustPickle"),
        },
        {
            "untrusted script": _script(trustPickle=False),
            "script without a word": _script("trustPickle"),
            "untrusted program": _script("trustPickle", **_PROGRAM),
        },
    ),
    "inputs need distinct names": RuleCases(
        {"two inputs": edited((*_MODEL, "inputs"), [{"name": name, "dims": [-1]} for name in ("a", "b")])},
        {"twice": edited((*_MODEL, "inputs"), [{"name": "a", "dims": [-1]}] * 2)},
    ),
    "torchscript does not hold the shapes of its inputs: set inputs": RuleCases(
        {"program without inputs": _script("inputs", **_PROGRAM)},
        {"no inputs": _script("inputs"), "empty inputs": _script(inputs=[])},
    ),
    "labels, input and output belong to tasks with images: leave them out or choose another type": RuleCases(
        {
            "tensors alone": edited(_TASK, {"type": "Tensor"}),
            "empty labels": edited(_TASK, {"type": "Tensor", "labels": []}),
            "detection without labels": edited(_TASK, {"type": "Detection", "output": {"decoder": "Grid"}}),
            "classification alone": edited(_TASK, {"type": "Classification"}),
            "segmentation alone": edited(_TASK, {"type": "Segmentation"}),
        },
        {
            "labels": edited(_TASK, {"type": "Tensor", "labels": ["a"]}),
            "input": edited(_TASK, {"type": "Tensor", "input": {}}),
            "output": edited(_TASK, {"type": "Tensor", "output": {"decoder": "Grid"}}),
            "empty output": edited(_TASK, {"type": "Tensor", "output": {}}),
        },
    ),
    "task type Detection needs output.decoder": RuleCases(
        {"the decoder alone": edited(_TASK, {"type": "Detection", "output": {"decoder": "Triple"}})},
        {
            "no output": edited(_TASK, {"type": "Detection", "input": {}, "labels": ["a"]}),
            "no decoder": edited(_TASK, {"type": "Detection", "output": {"maxDetections": 3}}),
        },
    ),
    "output.decoder belongs to another task type: Detection has Grid, Triple, YOLOv8;"
    " Classification has Softmax, Probabilities; Segmentation has ClassScores, ClassMap, Sigmoid": RuleCases(
        {
            f"{decoder} of {kind}": edited(_TASK, {"type": kind, "output": {"decoder": decoder}})
            for kind, decoders in _DECODERS.items()
            for decoder in decoders
        }
        | {f"none of {kind}": edited(_TASK, {"type": kind, "output": {}}) for kind in _DECODERS if kind != "Detection"},
        {
            f"{decoder} for {kind}": edited(_TASK, {"type": kind, "output": {"decoder": decoder}})
            for kind in _DECODERS
            for other, decoders in _DECODERS.items()
            for decoder in decoders
            if other != kind
        },
    ),
    "output.iouThreshold and output.maxDetections belong to task type Detection": RuleCases(
        {
            "of a detector": edited(
                _TASK, {"type": "Detection", "output": {"decoder": "Grid", "iouThreshold": 0, "maxDetections": 1}}
            )
        },
        {
            f"{name} for {kind}": edited(_TASK, {"type": kind, "output": {name: 1}})
            for kind in ("Classification", "Segmentation")
            for name in ("iouThreshold", "maxDetections")
        },
    ),
    "output.topK belongs to task type Classification": RuleCases(
        {"alone": edited(_TASK, {"type": "Classification", "output": {"topK": 1}})},
        {
            "of a detector": edited(_TASK, {"type": "Detection", "output": {"decoder": "Grid", "topK": 5}}),
            "of a segmenter": edited(_TASK, {"type": "Segmentation", "output": {"topK": 5}}),
        },
    ),
    "in task type Segmentation output.scoreThreshold belongs to decoder Sigmoid": RuleCases(
        {
            "Sigmoid": edited(_TASK, {"type": "Segmentation", "output": {"decoder": "Sigmoid", "scoreThreshold": 0}}),
            "elsewhere": edited(_TASK, {"type": "Classification", "output": {"scoreThreshold": 0.5}}),
        },
        {
            "the default decoder": edited(_TASK, {"type": "Segmentation", "output": {"scoreThreshold": 0.5}}),
            "ClassMap": edited(_TASK, {"type": "Segmentation", "output": {"decoder": "ClassMap", "scoreThreshold": 0}}),
        },
    ),
    "colorSpace Gray has one channel: the values of mean must be equal, and those of std": RuleCases(
        {
            "defaults": edited(_TASK, {"type": "Classification", "input": {"colorSpace": "Gray"}}),
            "equal": edited(_INPUT, {"colorSpace": "Gray", "mean": [0.5, 0.5, 0.5], "std": [2, 2.0, 2]}),
            "three of colors": edited(_INPUT, {"colorSpace": "RGB", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}),
        },
        {
            "means": edited(_INPUT, {"colorSpace": "Gray", "mean": [0.5, 0.5, 0.4]}),
            "stds": edited(_INPUT, {"colorSpace": "Gray", "std": [1, 2, 1]}),
        },
    ),
    "top1, top5, map50, map50_95, maskIou need labelled data: set datasetUri": RuleCases(
        {
            "agreement without data": edited(
                _PARITY, {"metrics": [{"name": "top1Agreement", "goal": "threshold", "value": 0.99}]}
            ),
            "cosine without data": edited(
                _PARITY, {"metrics": [{"name": "cosine", "goal": "threshold", "value": 0.99}]}
            ),
            "no metrics": without((*_CONVERSION, "pruning"), edited(_PARITY, {})),
            "map50 with data": edited((*_PARITY, "metrics", 0, "name"), "map50"),
        },
        {
            "top1 without data": without((*_PARITY, "datasetUri"), without((*_PARITY, "datasetDigest"))),
            "maskIou without data": edited(
                _PARITY, {"metrics": [{"name": "maskIou", "goal": "threshold", "value": 0.5}]}
            ),
            "map50 as the second": edited(
                _PARITY,
                {
                    "metrics": [
                        {"name": "cosine", "goal": "threshold", "value": 0.99},
                        {"name": "map50", "goal": "threshold", "value": 0.5},
                    ]
                },
            ),
        },
    ),
    "datasetDigest is the digest of what datasetUri names: set both": RuleCases(
        {
            "both": edited(_PARITY, {"datasetUri": "s3://a/b", "datasetDigest": _DIGEST}),
            "the URI alone": edited(_PARITY, {"datasetUri": "s3://a/b"}),
        },
        {"the digest alone": edited(_PARITY, {"datasetDigest": _DIGEST})},
    ),
    "candidates belong to precision Auto": RuleCases(
        {
            "some": edited(_CONVERSION, {"precision": "Auto", "candidates": ["fp32", "int8"]}),
            "none": edited(_CONVERSION, {"precision": "Auto"}),
            "empty elsewhere": edited(_CONVERSION, {"precision": "int8", "candidates": []}),
        },
        {
            "a fixed precision": edited(_CONVERSION, {"precision": "fp32", "candidates": ["fp32"]}),
            "the default precision": edited(_CONVERSION, {"candidates": ["int8"]}),
        },
    ),
    "ModelOpt has no method Percentile": RuleCases(
        {
            "ModelOpt by entropy": edited(_CALIBRATION, _BY_MODELOPT, _ON_OPENVINO),
            "another's percentile": edited(_CALIBRATION, {**_SAMPLES, "method": "Percentile"}),
        },
        {"ModelOpt by percentile": edited(_CALIBRATION, {**_BY_MODELOPT, "method": "Percentile"}, _ON_OPENVINO)},
    ),
    "ONNX Runtime runs what ModelOpt quantises in FP32 on CPUs: set backend OpenVINO or TensorRT": RuleCases(
        {"OpenVINO": edited(_CALIBRATION, _BY_MODELOPT, _ON_OPENVINO)},
        {
            "ONNX Runtime": edited(_CALIBRATION, _BY_MODELOPT),
            "the default backend": edited(_CALIBRATION, _BY_MODELOPT, without(_BACKEND)),
        },
    ),
    "a pruned network differs from its source: set gates.parity.datasetUri or gates.parity.metrics": RuleCases(
        {
            "data alone": edited(_PARITY, {"datasetUri": "s3://data/holdout.npz"}),
            "a goal alone": edited(_PARITY, {"metrics": [{"name": "cosine", "goal": "threshold", "value": 0.9}]}),
            "nothing is pruned": without((*_CONVERSION, "pruning"), edited(_PARITY, {})),
        },
        {
            "neither": edited(_PARITY, {}),
            "no goals": edited(_PARITY, {"metrics": []}),
            "no gates": without((*_CONVERSION, "gates")),
        },
    ),
    "backend TensorRT runs on NVIDIA devices: name them in accelerators": RuleCases(
        {"one of any product": edited(("accelerators",), [{}], ENGINES)},
        {"none": without(("accelerators",), ENGINES), "an empty list": edited(("accelerators",), [], ENGINES)},
    ),
    "batch, dynamicShapes and tensorrt belong to backend TensorRT": RuleCases(
        {
            "no ranges elsewhere": edited((*_CONVERSION, "dynamicShapes"), []),
            "none of them with TensorRT": edited(_CONVERSION, {"backend": "TensorRT"}, ENGINES),
        },
        {
            "batch": edited((*_CONVERSION, "batch"), {"max": 32}),
            "ranges": edited((*_CONVERSION, "dynamicShapes"), ENGINES["conversion"]["dynamicShapes"]),
            "empty options": edited((*_CONVERSION, "tensorrt"), {}),
            "without a backend": edited(_CONVERSION, {"tensorrt": {}}),
            "OpenVINO": edited(_BACKEND, "OpenVINO", without(("accelerators",), ENGINES)),
        },
    ),
    "backend TensorRT makes one precision: choose fp32, fp16 or int8": RuleCases(
        {
            "fp16": edited((*_CONVERSION, "precision"), "fp16", ENGINES),
            "the default": without((*_CONVERSION, "precision"), ENGINES),
        },
        {"Auto": edited((*_CONVERSION, "precision"), "Auto", ENGINES)},
    ),
    "opt must not exceed max": RuleCases(
        {
            "equal": edited((*_CONVERSION, "batch"), {"opt": 32, "max": 32}, ENGINES),
            "max alone": edited((*_CONVERSION, "batch"), {"max": 16}, ENGINES),
        },
        {"larger": edited((*_CONVERSION, "batch"), {"opt": 33, "max": 32}, ENGINES)},
    ),
    "min, opt and max must be in this order": RuleCases(
        {"equal": edited((*_CONVERSION, "dynamicShapes", 0), {**_RANGE_OF, "min": 8, "opt": 8, "max": 8}, ENGINES)},
        {
            "opt below min": edited(
                (*_CONVERSION, "dynamicShapes", 0), {**_RANGE_OF, "min": 8, "opt": 7, "max": 9}, ENGINES
            ),
            "max below opt": edited(
                (*_CONVERSION, "dynamicShapes", 0), {**_RANGE_OF, "min": 8, "opt": 9, "max": 8}, ENGINES
            ),
        },
    ),
    "conversion.batch.max must be at least serving.batching.maxBatchSize": RuleCases(
        {
            "equal": edited((*_CONVERSION, "batch"), {"max": 16}, ENGINES),
            "no batch axis": edited(
                ("serving", "batching", "maxBatchSize"), 0, edited((*_CONVERSION, "batch"), {"max": 1}, ENGINES)
            ),
            "the default batch size": without(("serving",), edited((*_CONVERSION, "batch"), {"max": 8}, ENGINES)),
        },
        {
            "smaller": edited((*_CONVERSION, "batch"), {"max": 15}, ENGINES),
            "smaller than the default": without(("serving",), edited((*_CONVERSION, "batch"), {"max": 7}, ENGINES)),
        },
    ),
    "backend OpenVINO runs on CPUs: leave accelerators empty": RuleCases(
        {
            "OpenVINO without accelerators": edited(_BACKEND, "OpenVINO", edited(("accelerators",), [])),
            "ONNX Runtime with accelerators": edited(_BACKEND, "ONNXRuntime", edited(("accelerators",), [{}])),
        },
        {"OpenVINO with an accelerator": edited(_BACKEND, "OpenVINO", edited(("accelerators",), [{}]))},
    ),
    "NVIDIA_*, CUDA_VISIBLE_DEVICES, LD_PRELOAD and LD_LIBRARY_PATH are the platform's to set": RuleCases(
        {"prefix elsewhere": edited(_ENV, "MY_NVIDIA_"), "lower case": edited(_ENV, "ld_preload")},
        {
            "any NVIDIA_": edited(_ENV, "NVIDIA_VISIBLE_DEVICES"),
            "bare prefix": edited(_ENV, "NVIDIA_"),
            "CUDA_VISIBLE_DEVICES": edited(_ENV, "CUDA_VISIBLE_DEVICES"),
            "LD_PRELOAD": edited(_ENV, "LD_PRELOAD"),
            "LD_LIBRARY_PATH": edited(_ENV, "LD_LIBRARY_PATH"),
        },
    ),
    "blueGreen belongs to strategy BlueGreen": RuleCases(
        {"none with Canary": edited(_ROLLOUT, {}), "none with BlueGreen": edited(_ROLLOUT, {"strategy": "BlueGreen"})},
        {
            "with Canary": edited(_ROLLOUT, {"strategy": "Canary", "blueGreen": {}}),
            "with the default": edited(_ROLLOUT, {"blueGreen": {"autoPromotion": False}}),
        },
    ),
    "steps belong to strategy Canary: leave them out": RuleCases(
        {
            "no strategy": edited(_ROLLOUT, {"steps": [{"setWeight": 5}]}),
            "those that are filled in": edited((*_ROLLOUT, "steps"), _DEFAULT_STEPS, BLUE_GREEN),
        },
        {
            "others": edited((*_ROLLOUT, "steps"), [{"setWeight": 5}], BLUE_GREEN),
            "an empty list": edited((*_ROLLOUT, "steps"), [], BLUE_GREEN),
            "another order": edited((*_ROLLOUT, "steps"), sorted(_DEFAULT_STEPS, key=str), BLUE_GREEN),
            "another time": edited(
                (*_ROLLOUT, "steps", 5, "pause"), {}, edited((*_ROLLOUT, "steps"), _DEFAULT_STEPS, BLUE_GREEN)
            ),
            "one more": edited(
                (*_ROLLOUT, "steps"), [*_DEFAULT_STEPS, {"setCanaryScale": {"replicas": 2}}], BLUE_GREEN
            ),
            "a header for a weight": edited(
                (*_ROLLOUT, "steps"), [*_DEFAULT_STEPS[:4], {"setHeaderRoute": {}}, _DEFAULT_STEPS[5]], BLUE_GREEN
            ),
        },
    ),
    "autoPromotionDelay goes with autoPromotion: true": RuleCases(
        {
            "by itself": edited(_BLUE_GREEN, {"autoPromotionDelay": "1m"}, BLUE_GREEN),
            "by hand": edited(_BLUE_GREEN, {"autoPromotion": False}, BLUE_GREEN),
        },
        {"both": edited(_BLUE_GREEN, {"autoPromotion": False, "autoPromotionDelay": "0s"}, BLUE_GREEN)},
    ),
    "a step has exactly one of setWeight, pause, setHeaderRoute and setCanaryScale": RuleCases(
        {
            "weight 0": edited(_STEP, {"setWeight": 0}),
            "less than a percent": edited(_STEP, {"setWeight": 0.0001}),
            "endless pause": edited(_STEP, {"pause": {}}),
            "header": edited(_STEP, {"setHeaderRoute": {"match": [_HEADER]}}),
            "no header any more": edited(_STEP, {"setHeaderRoute": {}}),
            "scale": edited(_STEP, {"setCanaryScale": {"replicas": 2}}),
        },
        {
            "none": edited(_STEP, {}),
            "weight and pause": edited(_STEP, {"setWeight": 5, "pause": {}}),
            "header and scale": edited(_STEP, {"setHeaderRoute": {}, "setCanaryScale": {"replicas": 2}}),
        },
    ),
    "setCanaryScale has exactly one of replicas, weight and matchTrafficWeight: true": RuleCases(
        {
            "replicas": edited(_STEP, {"setCanaryScale": {"replicas": 1}}),
            "weight": edited(_STEP, {"setCanaryScale": {"weight": 0.5}}),
            "traffic": edited(_STEP, {"setCanaryScale": {"matchTrafficWeight": True}}),
        },
        {
            "none": edited(_STEP, {"setCanaryScale": {}}),
            "two": edited(_STEP, {"setCanaryScale": {"replicas": 1, "weight": 5}}),
            "not by traffic": edited(_STEP, {"setCanaryScale": {"matchTrafficWeight": False}}),
            "replicas and not by traffic": edited(
                _STEP, {"setCanaryScale": {"replicas": 1, "matchTrafficWeight": False}}
            ),
        },
    ),
    "a Threshold metric needs query and thresholdRange": RuleCases(
        {
            "both there": edited(
                _METRIC, {"name": "m", "type": "Threshold", "query": "up", "thresholdRange": {"min": 1}}
            )
        },
        {
            "no range": edited(_METRIC, {"name": "m", "type": "Threshold", "query": "up"}),
            "no query": edited(_METRIC, {"name": "m", "type": "Threshold", "thresholdRange": {"min": 1}}),
        },
    ),
    "methods Auto and Paired compare equal numbers of requests: a tolerateRatio needs Counts or Tempered": RuleCases(
        {
            "paired, a ratio of 1": edited(_METHOD, "Paired"),
            "tempered, a ratio above 1": edited((*_METRIC, "tolerateRatio"), 1.5),
            "paired, another metric's ratio": edited(
                _METHOD, "Paired", edited(_METRIC, {"name": "m", "type": "LatencyTail", "tolerateRatio": 1.1})
            ),
        },
        {name: edited(_METHOD, name, edited((*_METRIC, "tolerateRatio"), 1.5)) for name in ("Auto", "Paired")},
    ),
    "query belongs to Threshold metrics only": RuleCases(
        {"without": edited(_METRIC, {"name": "m", "type": "LatencyRatio"})},
        {
            "ErrorRate": edited(_METRIC, {"name": "m", "type": "ErrorRate", "query": "up"}),
            "LatencyRatio": edited(_METRIC, {"name": "m", "type": "LatencyRatio", "query": "up"}),
        },
    ),
    "a range needs min, max or both": RuleCases(
        {"min": edited(_RANGE, {"min": 1}), "max": edited(_RANGE, {"max": 1.5})}, {"neither": edited(_RANGE, {})}
    ),
    "min must not exceed max": RuleCases(
        {"equal": edited(_RANGE, {"min": 1, "max": 1.0}), "negative": edited(_RANGE, {"min": -2.5, "max": -1})},
        {"swapped": edited(_RANGE, {"min": 2, "max": 1.5})},
    ),
    "must be 1s or more": RuleCases(
        {"1s": edited(_INTERVAL, "1s"), "1000ms": edited(_INTERVAL, "1000ms"), "sum": edited(_INTERVAL, "0s1001ms")},
        {"0s": edited(_INTERVAL, "0s"), "999ms": edited(_INTERVAL, "999ms"), "us": edited(_INTERVAL, "999999us")},
    ),
}
"""By the rule's message."""
