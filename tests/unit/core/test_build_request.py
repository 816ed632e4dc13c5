"""What a build Job is asked, and which edit asks for another engine."""

from dataclasses import replace
from typing import Any

import pytest

from unit.core import builders
from visionmodel_contract.build import DynamicAxis, HardwareCompatibility, ShapeRange
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.build_request import DataRead, build_keys, builds_of, engine_gates, engine_options
from visionmodel_operator.core.conversion_request import conversion_options, conversion_request, gates_request
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import Platform, Runtime

PREPARED = "0" * 32


def spec(conversion: dict[str, Any] | None = None, **sections: Any) -> VisionModelSpec:
    return builders.spec(
        **{**builders.TENSORRT, **sections, "conversion": {"backend": "TensorRT", **(conversion or {})}}
    )


def keys(of: VisionModelSpec, platform: Platform = builders.PLATFORM) -> tuple[str, ...]:
    return build_keys(of, PREPARED, platform)


def test_one_build_for_each_accelerator() -> None:
    builds = builds_of(spec(), PREPARED, ref=builders.REF, revision="r", platform=builders.PLATFORM)
    assert [(build.index, build.accelerator.product) for build in builds] == [(0, "NVIDIA-L4"), (1, "NVIDIA-A10")]
    assert [build.request.key for build in builds] == list(keys(spec()))
    assert len({build.request.gate_key for build in builds}) == 2
    assert keys(builders.spec()) == ()


(L4, _) = builders.TENSORRT["accelerators"]


def test_devices_that_node_labels_tell_apart_have_keys_of_their_own() -> None:
    pools = spec(accelerators=[{"nodeSelector": {"gpu": name}} for name in ("t4", "l4")])
    assert len(set(keys(pools))) == 2


OTHER_ENGINES: dict[str, VisionModelSpec] = {
    "workspace": spec({"tensorrt": {"workspace": "1Gi"}}),
    "level": spec({"tensorrt": {"optimizationLevel": 5}}),
    "compatibility": spec({"tensorrt": {"hardwareCompatibility": "AmperePlus"}}),
    "versions": spec({"tensorrt": {"versionCompatible": True}}),
    "sparsity": spec({"tensorrt": {"sparseWeights": True}}),
    "refit": spec({"tensorrt": {"refit": True}}),
    "batch": spec({"batch": {"max": 16}}),
    "usual batch": spec({"batch": {"opt": 4, "max": 8}}),
    "served batch": spec(serving={"batching": {"maxBatchSize": 4}}),
    "shapes": spec({"dynamicShapes": [{"input": "x", "axis": 2, "min": 1, "opt": 2, "max": 3}]}),
    "products": spec(accelerators=[{"product": "NVIDIA-H100"}]),
    "node labels": spec(accelerators=[{**L4, "nodeSelector": {"pool": "new"}}]),
    "resource": spec(accelerators=[{**L4, "resourceName": "nvidia.com/mig-1g.10gb"}]),
}


@pytest.mark.parametrize("other", OTHER_ENGINES.values(), ids=OTHER_ENGINES.keys())
def test_another_engine_is_another_key_and_revision(other: VisionModelSpec) -> None:
    assert not set(keys(other)) & set(keys(spec()))
    assert revision_of(other) != revision_of(spec())


SAME_ENGINES: dict[str, VisionModelSpec] = {
    "defaults written out": spec(
        {
            "dynamicShapes": [],
            "tensorrt": {
                "workspace": "2Gi",
                "optimizationLevel": 3,
                "hardwareCompatibility": "None",
                "versionCompatible": False,
                "sparseWeights": False,
                "refit": False,
            },
        }
    ),
    "device": spec(
        accelerators=[{**one, "resourceName": "nvidia.com/gpu"} for one in builders.TENSORRT["accelerators"]]
    ),
    "queue": spec({"queueName": "gpu-builds"}),
    "gates": spec({"gates": {"latency": [{"max": "5ms"}]}}),
}


@pytest.mark.parametrize("same", SAME_ENGINES.values(), ids=SAME_ENGINES.keys())
def test_the_same_engine_has_the_same_key_and_revision(same: VisionModelSpec) -> None:
    assert keys(same) == keys(spec())
    assert revision_of(same) == revision_of(spec())


def test_the_order_of_the_shapes_is_no_other_engine() -> None:
    shapes = [{"input": "x", "axis": axis, "min": 1, "opt": 2, "max": 3} for axis in (2, 3)]
    assert keys(spec({"dynamicShapes": shapes})) == keys(spec({"dynamicShapes": shapes[::-1]}))


def test_another_image_asks_again() -> None:
    newer = {"26.07": Runtime("26.07", "t:2", "2.71.0", tensorrt_converter_image="registry.example/tensorrt:2")}
    assert not set(keys(spec(), replace(builders.PLATFORM, runtimes=newer))) & set(keys(spec()))


def test_the_samples_of_the_calibration_are_handed_on() -> None:
    asked = spec({"precision": "int8", "calibration": {"storageUri": "s3://data/samples.npz", "samples": 64}})
    (build, _) = builds_of(asked, PREPARED, ref=builders.REF, revision="r", platform=builders.PLATFORM)
    assert build.request.samples == conversion_options(asked).calibration
    assert build.request.samples is not None
    assert build.request.samples.samples == 64


def test_an_engine_is_judged_by_the_data_that_its_artifact_was_judged_by() -> None:
    parity = {"gates": {"parity": {"datasetUri": "s3://data/eval.npz"}}}
    asked = spec({**parity, "precision": "int8", "calibration": {"storageUri": "s3://data/samples.npz"}})
    read = DataRead("sha256:" + "e" * 64, "sha256:" + "c" * 64)
    (build, _) = builds_of(asked, PREPARED, read=read, ref=builders.REF, revision="r", platform=builders.PLATFORM)
    assert build.request.gates.parity.dataset_digest == read.dataset_digest
    assert build.request.samples is not None
    assert build.request.samples.digest == read.calibration_digest
    (other, _) = builds_of(asked, PREPARED, ref=builders.REF, revision="r", platform=builders.PLATFORM)
    assert (other.request.key, other.request.gate_key != build.request.gate_key) == (build.request.key, True)


def test_the_cpus_of_a_serving_pod_judge_no_engine() -> None:
    limits = {"gates": {"latency": [{"max": "5ms"}]}}
    few, many = (spec(limits, serving={"resources": {"limits": {"cpu": cpus}}}) for cpus in ("1", "8"))
    assert engine_gates(few) == engine_gates(many)


def test_options() -> None:
    options = engine_options(
        spec(
            {
                "batch": {"max": 32},
                "dynamicShapes": [{"input": "x", "axis": 2, "min": 64, "opt": 128, "max": 256}],
                "tensorrt": {"workspace": "512Mi", "hardwareCompatibility": "SameComputeCapability", "refit": True},
            }
        )
    )
    assert options.batch == ShapeRange(min=1, opt=32, max=32)
    assert options.dynamic_shapes == (DynamicAxis(input="x", axis=2, range=ShapeRange(min=64, opt=128, max=256)),)
    assert options.workspace_bytes == 512 * 1024**2
    assert options.hardware_compatibility is HardwareCompatibility.SAME_COMPUTE_CAPABILITY
    assert options.refittable
    unset = engine_options(spec(serving={"batching": {"maxBatchSize": 0}}))
    assert unset.batch == ShapeRange(min=1, opt=1, max=1)


def test_time_and_memory_are_the_engines_to_prove() -> None:
    limits = {"gates": {"latency": [{"max": "5ms"}], "memory": {"max": "1Gi"}}}
    asked = spec(limits)
    (build, _) = builds_of(asked, PREPARED, ref=builders.REF, revision="r", platform=builders.PLATFORM)
    assert build.request.gates.speed.latency[0].max_ms == 5
    assert build.request.gates.speed.max_memory_bytes == 1024**3
    assert gates_request(asked) == gates_request(spec())
    request = conversion_request(asked, namespace="v", name="n", revision="r", platform=builders.PLATFORM)
    assert request.gates.accelerated
