"""config.pbtxt, read back by Triton's own protobuf definition."""

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as triton

from unit.render.samples import ENGINE_SPEC, GPU_SPEC, PLATFORM, REVISION, artifact, spec
from visionmodel_contract.report import ArtifactInfo, TensorSpec
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.triton_config import DATA_TYPES, config_pbtxt, model_version

VERSION = 130675365


def config_of(
    of: VisionModelSpec, made: ArtifactInfo | None = None, platform: Platform = PLATFORM, name: str = "shapes"
) -> Any:
    text = config_pbtxt(name, REVISION, of, made or artifact(), platform)
    return text_format.Parse(text, triton.ModelConfig())


def tensor(dtype: str = "float32", dims: tuple[int, ...] = (-1, 3), name: str = "x") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=dims)


def test_defaults_on_cpu() -> None:
    expected = text_format.Parse(
        f"""
        name: "shapes" backend: "onnxruntime" default_model_filename: "model.onnx" max_batch_size: 8
        version_policy {{ specific {{ versions: {VERSION} }} }}
        input {{ name: "images" data_type: TYPE_FP32 dims: [3, 64, 64] }}
        output {{ name: "grid" data_type: TYPE_FP32 dims: [8, 8, 8] }}
        instance_group {{ count: 1 kind: KIND_CPU }}
        dynamic_batching {{ max_queue_delay_microseconds: 500 }}
        parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
        parameters {{ key: "inter_op_thread_count" value {{ string_value: "1" }} }}
        model_warmup {{ name: "batch-1" batch_size: 1
          inputs {{ key: "images" value {{ data_type: TYPE_FP32 dims: [3, 64, 64] zero_data: true }} }} }}
        model_warmup {{ name: "batch-8" batch_size: 8
          inputs {{ key: "images" value {{ data_type: TYPE_FP32 dims: [3, 64, 64] zero_data: true }} }} }}
        """,
        triton.ModelConfig(),
    )
    assert config_of(spec()) == expected


@pytest.mark.parametrize("simulated", [False, True], ids=["real", "simulated"])
def test_an_engine_runs_on_its_device_alone(simulated: bool) -> None:
    found = config_of(ENGINE_SPEC, platform=replace(PLATFORM, simulated_accelerators=simulated))
    assert (found.backend, found.default_model_filename) == ("tensorrt", "model.plan")
    assert [group.kind for group in found.instance_group] == [triton.ModelInstanceGroup.KIND_GPU]
    assert not found.parameters


def test_openvino_differs_in_backend_and_parameters() -> None:
    cpus = {"resources": {"limits": {"cpu": "4"}}}
    found, plain = config_of(spec(conversion={"backend": "OpenVINO"}, serving=cpus)), config_of(spec(serving=cpus))
    assert found.backend == "openvino"
    assert {key: value.string_value for key, value in found.parameters.items()} == {
        "INFERENCE_NUM_THREADS": "4",
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    for config in (found, plain):
        config.ClearField("backend")
        config.ClearField("parameters")
    assert found == plain


def test_accelerators_and_queue_limits() -> None:
    found = config_of(GPU_SPEC)
    assert [(group.kind, group.count) for group in found.instance_group] == [(triton.ModelInstanceGroup.KIND_GPU, 2)]
    assert found.dynamic_batching == text_format.Parse(
        """
        preferred_batch_size: [8, 16] max_queue_delay_microseconds: 500
        default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 250000 max_queue_size: 64 }
        """,
        triton.ModelDynamicBatching(),
    )


def test_simulated_accelerators_run_on_the_cpu() -> None:
    simulated = Platform(**{**PLATFORM.__dict__, "simulated_accelerators": True})
    assert config_of(GPU_SPEC, platform=simulated).instance_group[0].kind == triton.ModelInstanceGroup.KIND_CPU


@pytest.mark.parametrize(
    ("resources", "instances", "threads"),
    [
        pytest.param({"requests": {"cpu": "500m"}, "limits": {}}, 1, "1", id="less than a core is one thread"),
        pytest.param({"requests": {"cpu": "3"}, "limits": {}}, 1, "3", id="request counts without a limit"),
        pytest.param({"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}, 1, "4", id="limit wins"),
        pytest.param({"requests": {}, "limits": {"cpu": "5500m"}}, 2, "2", id="shared by instances"),
        pytest.param({"requests": {}, "limits": {}}, 1, "1", id="nothing is said"),
    ],
)
def test_threads_follow_the_cpu(resources: dict[str, Any], instances: int, threads: str) -> None:
    found = config_of(spec(serving={"resources": resources, "instances": instances}))
    assert found.parameters["intra_op_thread_count"].string_value == threads


@pytest.mark.parametrize(
    ("batching", "dims", "expected_dims", "scalar", "warmups"),
    [
        pytest.param({"maxBatchSize": 8}, (-1, 3, 4), [3, 4], False, [1, 8], id="batch axis is Triton's"),
        pytest.param({"maxBatchSize": 1}, (-1, 3, 4), [3, 4], False, [1], id="batch of one"),
        pytest.param({"maxBatchSize": 8}, (-1, 3, -1), [3, -1], False, [], id="free axis has no warm-up"),
        pytest.param({"maxBatchSize": 8}, (-1,), [1], True, [1, 8], id="nothing but the batch axis"),
        pytest.param({"maxBatchSize": 0}, (-1, 3), [-1, 3], False, [], id="no batching keeps all axes"),
        pytest.param({"maxBatchSize": 0}, (1, 3), [1, 3], False, [], id="fixed batch axis without batching"),
    ],
)
def test_dims(
    batching: dict[str, int], dims: tuple[int, ...], expected_dims: list[int], scalar: bool, warmups: list[int]
) -> None:
    made = artifact(inputs=(tensor(dims=dims),), outputs=(tensor(dims=dims, name="y"),))
    found = config_of(spec(serving={"batching": batching}), made)
    assert [list(one.dims) for one in (*found.input, *found.output)] == [expected_dims, expected_dims]
    assert [one.HasField("reshape") for one in (*found.input, *found.output)] == [scalar, scalar]
    assert [one.batch_size for one in found.model_warmup] == warmups


def test_no_warmup_when_not_wanted() -> None:
    assert not config_of(spec(serving={"warmup": False})).model_warmup


@pytest.mark.parametrize(
    ("batching", "has_batcher"),
    [
        pytest.param({"maxBatchSize": 0}, False, id="nothing to limit"),
        pytest.param({"maxBatchSize": 0, "maxQueueSize": 10}, True, id="a limit needs the batcher's queue"),
    ],
)
def test_models_without_batch_axis(batching: dict[str, int], has_batcher: bool) -> None:
    found = config_of(spec(serving={"batching": batching}))
    assert (found.max_batch_size, found.HasField("dynamic_batching")) == (0, has_batcher)
    assert found.dynamic_batching.max_queue_delay_microseconds == 0


def test_zero_max_batch_size_is_written() -> None:
    text = config_pbtxt("shapes", REVISION, spec(serving={"batching": {"maxBatchSize": 0}}), artifact(), PLATFORM)
    assert "max_batch_size: 0\n" in text


@pytest.mark.parametrize(("dtype", "data_type"), DATA_TYPES.items())
def test_data_types(dtype: str, data_type: str) -> None:
    found = config_of(spec(), artifact(inputs=(tensor(dtype),)))
    assert triton.DataType.Name(found.input[0].data_type) == data_type


@pytest.mark.parametrize(
    ("sections", "made", "words"),
    [
        pytest.param({}, artifact(inputs=(tensor("bfloat16"),)), "has type bfloat16", id="type"),
        pytest.param({}, artifact(outputs=(tensor(dims=(1, 3)),)), "no free batch axis", id="fixed batch"),
        pytest.param({}, artifact(inputs=(tensor(dims=()),)), "no free batch axis", id="no axis at all"),
        pytest.param(
            {"serving": {"batching": {"maxBatchSize": 4, "preferredBatchSizes": [8]}}},
            artifact(),
            "larger than maxBatchSize 4",
            id="preferred batch",
        ),
    ],
)
def test_what_cannot_be_served_is_the_users_to_mend(sections: dict[str, Any], made: ArtifactInfo, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        config_of(spec(**sections), made)
    assert refused.value.reason == Reason.INVALID_SPEC


@given(names=st.lists(st.text(min_size=1, max_size=40), min_size=2, max_size=4, unique=True))
def test_any_tensor_name_survives(names: list[str]) -> None:
    made = artifact(inputs=tuple(tensor(name=name) for name in names[1:]), outputs=(tensor(name=names[0]),))
    found = config_of(spec(), made)
    assert [one.name for one in found.input] == names[1:]
    assert [one.name for one in found.output] == names[:1]
    assert set(found.model_warmup[0].inputs) == set(names[1:])


@given(revision=st.text("0123456789abcdef", min_size=10, max_size=10))
def test_versions_are_positive_and_short(revision: str) -> None:
    assert 1 <= model_version(revision) <= 2**28


def test_version_is_the_revisions_own() -> None:
    assert [model_version(revision) for revision in (REVISION, "0000000000", "fffffff000")] == [VERSION, 1, 2**28]
