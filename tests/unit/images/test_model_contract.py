"""What the stand-in backend accepts; the same refusals by a real server are in tests/component/triton."""

from pathlib import Path
from typing import Any

import pytest
from images.triton.backends.shared.model_contract import (
    ModelMismatch,
    SessionSettings,
    TensorContract,
    check_providers,
    check_tensors,
    configured_tensors,
    error_text,
    model_file,
    openvino_error_text,
    openvino_properties,
    session_settings,
    shape_of,
    slices_of,
)

IMAGE = {"name": "image", "data_type": "TYPE_FP32", "dims": ["3", "-1", "-1"]}


def config(**values: Any) -> dict[str, Any]:
    return {"name": "net", "max_batch_size": 8, "input": [IMAGE], **values}


@pytest.mark.parametrize(
    ("max_batch_size", "shape"),
    [pytest.param(8, (-1, 3, -1, -1), id="batched"), pytest.param(0, (3, -1, -1), id="unbatched")],
)
def test_configured_shape_includes_the_batch(max_batch_size: int, shape: tuple[int, ...]) -> None:
    tensors = configured_tensors(config(max_batch_size=max_batch_size), "input")
    assert tensors == (TensorContract("image", "tensor(float)", shape),)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param({"data_type": "TYPE_STRING"}, "TYPE_STRING is not supported", id="string"),
        pytest.param({"data_type": "TYPE_BF16"}, "TYPE_BF16 is not supported", id="bfloat16"),
        pytest.param({"reshape": {"shape": ["1"]}}, "'reshape' is not supported", id="reshape"),
        pytest.param({"allow_ragged_batch": True}, "'allow_ragged_batch' is not supported", id="ragged"),
        pytest.param({"optional": True}, "'optional' is not supported", id="optional"),
    ],
)
def test_unsupported_tensors_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelMismatch, match=f"model 'net', tensor 'image': {text}"):
        configured_tensors(config(input=[{**IMAGE, **change}]), "input")


def tensor(name: str = "image", onnx_type: str = "tensor(float)", shape: tuple[int, ...] = (-1, 3)) -> TensorContract:
    return TensorContract(name, onnx_type, shape)


@pytest.mark.parametrize(
    ("configured", "provided"),
    [
        pytest.param([tensor()], [tensor()], id="equal"),
        pytest.param([tensor(shape=(-1, 3))], [tensor(shape=(-1, -1))], id="the model accepts any size"),
    ],
)
def test_matching_tensors_are_accepted(configured: list[TensorContract], provided: list[TensorContract]) -> None:
    check_tensors(config(), "input", configured, provided)


def test_outputs_of_the_model_may_be_left_out() -> None:
    check_tensors(config(), "output", [tensor("a")], [tensor("a"), tensor("b")])


@pytest.mark.parametrize(
    ("configured", "provided", "text"),
    [
        pytest.param([tensor("a")], [tensor("b")], r"unknown input \['a'\], the ONNX file has \['b'\]", id="unknown"),
        pytest.param([], [tensor("b")], r"input \['b'\] of the ONNX file is not configured", id="missing"),
        pytest.param(
            [tensor()],
            [tensor(onnx_type="tensor(double)")],
            r"configured as tensor\(float\), the ONNX file has tensor\(double\)",
            id="type",
        ),
        pytest.param([tensor()], [tensor(shape=(1, 3))], "needs a dynamic first dimension", id="fixed batch"),
        pytest.param([tensor(shape=(-1,))], [tensor(shape=())], "needs a dynamic first dimension", id="scalar"),
        pytest.param(
            [tensor(shape=(-1, 4))], [tensor()], r"with shape \[-1, 4\], the ONNX file has \[-1, 3\]", id="size"
        ),
        pytest.param([tensor(shape=(-1, -1))], [tensor()], "configured with shape", id="open where the model is fixed"),
        pytest.param([tensor(shape=(-1, 3, 1))], [tensor()], "configured with shape", id="rank"),
    ],
)
def test_mismatches_are_refused(configured: list[TensorContract], provided: list[TensorContract], text: str) -> None:
    with pytest.raises(ModelMismatch, match=text):
        check_tensors(config(), "input", configured, provided)


def test_symbolic_dimensions_are_wildcards() -> None:
    assert shape_of(["batch", 3, None]) == (-1, 3, -1)


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        pytest.param({}, SessionSettings(0, 0, False, "ORT_ENABLE_ALL"), id="defaults"),
        pytest.param(
            {
                "parameters": {
                    "intra_op_thread_count": {"string_value": "2"},
                    "inter_op_thread_count": {"string_value": "3"},
                    "execution_mode": {"string_value": "1"},
                },
                "optimization": {"graph": {"level": 1}},
            },
            SessionSettings(2, 3, True, "ORT_ENABLE_EXTENDED"),
            id="all set",
        ),
        pytest.param(
            {"optimization": {"graph": {"level": -1}}}, SessionSettings(0, 0, False, "ORT_ENABLE_BASIC"), id="basic"
        ),
        pytest.param(
            {"optimization": {"graph": {"level": 2}}}, SessionSettings(0, 0, False, "ORT_DISABLE_ALL"), id="off"
        ),
        pytest.param(
            {"parameters": {"intra_op_thread_count": {"string_value": "-1"}}},
            SessionSettings(0, 0, False, "ORT_ENABLE_ALL"),
            id="a negative count is onnxruntime's choice",
        ),
    ],
)
def test_session_settings(values: dict[str, Any], settings: SessionSettings) -> None:
    assert session_settings(config(**values)) == settings


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("intra_op_thread_count", "many", "parameter intra_op_thread_count is 'many', not an integer"),
        ("execution_mode", "2", "execution_mode is 2, not 0 or 1"),
    ],
)
def test_senseless_parameters_are_refused(key: str, value: str, text: str) -> None:
    with pytest.raises(ModelMismatch, match=text):
        session_settings(config(parameters={key: {"string_value": value}}))


@pytest.mark.parametrize(
    ("values", "place"),
    [
        pytest.param({}, "model.onnx", id="default"),
        pytest.param({"default_model_filename": ""}, "model.onnx", id="empty as Triton fills it in"),
        pytest.param({"default_model_filename": "net.onnx"}, "net.onnx", id="named"),
        pytest.param({"default_model_filename": "net"}, "net/model.onnx", id="folder with external data"),
    ],
)
def test_model_file(tmp_path: Path, values: dict[str, Any], place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"onnx")
    assert model_file(config(**values), tmp_path) == path


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match=f"model 'net': there is no file {tmp_path}/model.onnx"):
        model_file(config(), tmp_path)


@pytest.mark.parametrize(
    ("sizes", "slices"),
    [
        pytest.param([], (), id="none"),
        pytest.param([1], (slice(0, 1),), id="one"),
        pytest.param([2, 1, 3], (slice(0, 2), slice(2, 3), slice(3, 6)), id="several"),
    ],
)
def test_each_request_gets_its_own_rows(sizes: list[int], slices: tuple[slice, ...]) -> None:
    assert slices_of(sizes) == slices


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param(
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Gather : bad index",
            "onnx runtime error 2: Gather : bad index",
            id="of the binding",
        ),
        pytest.param("bad allocation", "onnx runtime error: bad allocation", id="of anything else"),
    ],
)
def test_error_text(message: str, text: str) -> None:
    assert error_text(message) == text


def parameters(**values: str) -> dict[str, Any]:
    return {"parameters": {key: {"string_value": value} for key, value in values.items()}}


@pytest.mark.parametrize(
    ("values", "properties"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param(
            {
                "INFERENCE_NUM_THREADS": "2",
                "NUM_STREAMS": "auto",
                "PERFORMANCE_HINT": "latency",
                "INFERENCE_PRECISION_HINT": "f32",
                "intra_op_thread_count": "9",
            },
            {
                "INFERENCE_NUM_THREADS": "2",
                "NUM_STREAMS": "AUTO",
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",
            },
            id="as the vendor's reads them",
        ),
    ],
)
def test_openvino_properties(values: dict[str, str], properties: dict[str, str]) -> None:
    assert openvino_properties(config(**parameters(**values))) == properties


@pytest.mark.parametrize(
    ("key", "value"),
    [("INFERENCE_NUM_THREADS", "many"), ("INFERENCE_NUM_THREADS", "-1"), ("NUM_STREAMS", "some")],
)
def test_senseless_openvino_parameters_are_refused(key: str, value: str) -> None:
    with pytest.raises(ModelMismatch, match=f"model 'net': parameter {key} is '{value}', not a number"):
        openvino_properties(config(**parameters(**{key: value})))


@pytest.mark.parametrize("active", [["CPU", "GPU"], ["GPU"], []], ids=["both", "another", "none"])
def test_a_session_on_another_provider_is_refused(active: list[str]) -> None:
    check_providers(config(), "CPU", ["CPU"])
    with pytest.raises(ModelMismatch, match="model 'net': asked for CPU, the session runs on"):
        check_providers(config(), "CPU", active)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param(
            "Exception from src/a.cpp:7:\nCheck 'x' failed at src/b.cpp:9:\nbad index\n\n",
            "openvino error: bad index",
            id="with places",
        ),
        pytest.param("out of memory", "openvino error: out of memory", id="plain"),
        pytest.param("", "openvino error: unknown", id="none"),
    ],
)
def test_openvino_error_text(message: str, text: str) -> None:
    assert openvino_error_text(message) == text
