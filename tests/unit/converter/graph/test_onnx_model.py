"""Structural checks on graphs that were made for one fault each; the rest of the corpus runs as a Job."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from unit.converter import tiny_models
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.limits import limits_of
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import open_session, random_inputs
from visionmodel_converter.graph.simplify import simplify

LIMITS = limits_of("1.31.1")
CLASSIFIER = tiny_models.to_bytes(tiny_models.classifier())


def load(model: ModelProto | bytes, folder: Path) -> CheckedModel:
    path = folder / "m.onnx"
    path.write_bytes(model if isinstance(model, bytes) else tiny_models.to_bytes(model))
    return load_checked(path, shown="m.onnx", limits=LIMITS)


def refusal(model: ModelProto | bytes, folder: Path) -> ConversionFailure:
    with pytest.raises(ConversionFailure) as caught:
        load(model, folder)
    return caught.value


def test_reads_real_tensors(tmp_path: Path) -> None:
    model = load(CLASSIFIER, tmp_path)
    assert model.inputs == (TensorSpec(name="x", dtype="float32", dims=(-1, 4)),)
    assert model.outputs == (TensorSpec(name="logits", dtype="float32", dims=(-1, 3)),)
    assert (model.opset, model.nodes, model.parameters) == (17, 3, 15)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(CLASSIFIER) - 1))
def test_no_prefix_of_a_model_passes(length: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert refusal(CLASSIFIER[:length], Path(folder)).exit_code in (84, 85)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_not_crashed_on(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert refusal(data, Path(folder)).exit_code in (84, 85)


def test_old_ir_is_raised_and_constants_stop_being_inputs(tmp_path: Path) -> None:
    model = tiny_models.classifier(opset=11, ir_version=3)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    checked = load(model, tmp_path)
    assert (checked.proto.ir_version, [spec.name for spec in checked.inputs]) == (8, ["x"])
    onnxruntime.InferenceSession(checked.serialized())


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    function = helper.make_function(
        "acme.local",
        "Double",
        ["a"],
        ["c"],
        [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    model = tiny_models.classifier(
        extra=[helper.make_node("Double", ["product"], ["logits"], name="d", domain="acme.local")]
    )
    model.opset_import.append(helper.make_opsetid("acme.local", 1))
    model.functions.append(function)
    checked = load(model, tmp_path)
    assert [node.op_type for node in checked.proto.graph.node] == ["Identity", "MatMul", "Add"]


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../x", ""])
def test_external_data_is_refused_wherever_it_points(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0" * 48)
    assert refusal(tiny_models.with_external_data(location), tmp_path).reason is Reason.EXTERNAL_DATA


def test_external_data_inside_a_constant_node_is_found(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones((1, 3), np.float32), "hidden")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="x"))
    extra = [
        helper.make_node("Constant", [], ["c"], name="c", value=tensor),
        helper.make_node("Add", ["product", "c"], ["logits"], name="add"),
    ]
    assert refusal(tiny_models.classifier(extra=extra), tmp_path).reason is Reason.EXTERNAL_DATA


def test_custom_operator_inside_a_branch_is_found(tmp_path: Path) -> None:
    def branch(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    extra = [
        helper.make_node("Constant", [], ["yes"], name="yes", value=numpy_helper.from_array(np.array(True))),
        helper.make_node(
            "If",
            ["yes"],
            ["logits"],
            name="choose",
            then_branch=branch("a", helper.make_node("Identity", ["product"], ["a"])),
            else_branch=branch("b", helper.make_node("Evil", ["product"], ["b"], name="deep", domain="acme")),
        ),
    ]
    failure = refusal(tiny_models.classifier(extra=extra), tmp_path)
    assert (failure.reason, "'deep'" in failure.message) == (Reason.CUSTOM_OPERATOR, True)


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.full((4, 3), np.inf, np.float32), Reason.NON_FINITE_WEIGHTS),
        (np.full((4, 3), np.nan, np.float32), Reason.NON_FINITE_WEIGHTS),
    ],
    ids=["infinite", "nan"],
)
def test_non_finite_weights(tmp_path: Path, matrix: np.ndarray, reason: Reason) -> None:
    assert refusal(tiny_models.classifier(matrix), tmp_path).reason is reason


def test_scalar_infinity_is_a_bound_not_a_weight(tmp_path: Path) -> None:
    extra = [
        helper.make_node(
            "Constant", [], ["top"], name="top", value=numpy_helper.from_array(np.array(np.inf, np.float32))
        ),
        helper.make_node("Min", ["product", "top"], ["logits"], name="bound"),
    ]
    assert load(tiny_models.classifier(extra=extra), tmp_path).nodes == 4


@pytest.mark.parametrize(
    ("version", "opset", "ir_version"), [("1.31.1", 26, 13), ("1.40.0", 26, 13), ("1.21.0", 21, 10)]
)
def test_limits(version: str, opset: int, ir_version: int) -> None:
    assert (limits_of(version).opset, limits_of(version).ir_version) == (opset, ir_version)


def test_installed_runtime_loads_the_highest_opset_of_the_table(tmp_path: Path) -> None:
    limits = limits_of(onnxruntime.__version__)
    model = tiny_models.classifier(opset=limits.opset, ir_version=limits.ir_version)
    checked = load(model, tmp_path)
    run = open_session(checked.serialized(), shown="m", threads=1)
    assert run(random_inputs(checked.inputs, batch=2, seed=1))["logits"].shape == (2, 3)


def test_simplified_graph_is_smaller_and_equal(tmp_path: Path) -> None:
    source = load(CLASSIFIER, tmp_path)
    result = simplify(source, threads=1, seed=7)
    assert result.applied, result.note
    assert result.model.nodes < source.nodes
    assert (result.model.inputs, result.model.outputs) == (source.inputs, source.outputs)


def test_simplifying_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    source = load(CLASSIFIER, tmp_path)
    first, second = (simplify(source, threads=1, seed=7).model.serialized() for _ in range(2))
    assert first == second
