"""FP16 graphs: what stays in FP32 and why, what the library's converter gets wrong, and the search by halves."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from unit.converter.precision import nets
from unit.converter.precision.nets import node
from visionmodel_contract.precision import Precision
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.agreement import relative_difference
from visionmodel_converter.graph.onnx_model import CheckedModel, checked
from visionmodel_converter.precision.fp16 import MAX_HALF, fp16_variant, fp16_within
from visionmodel_converter.precision.overflow import overflowing_nodes
from visionmodel_converter.precision.variant import Variant

RESIDUAL = nets.residual_net()
IMAGES = {"images": nets.images()}
X = np.random.default_rng(5).random((3, 4)).astype(np.float32)


def vector(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def agrees(net: CheckedModel, variant: Variant, x: NDArray[np.generic] = X, within: float = 2e-3) -> bool:
    return relative_difference(nets.output_of(net, {"x": x}), nets.output_of(variant.model, {"x": x})) <= within


def test_weights_halve_and_tensors_stay() -> None:
    variant = fp16_variant(RESIDUAL)
    stored = {tensor.data_type for tensor in variant.model.proto.graph.initializer}
    assert (variant.precision, variant.method, variant.kept_fp32, variant.notes) == (Precision.FP16, None, (), ())
    assert stored == {TensorProto.FLOAT16}
    assert (variant.model.inputs, variant.model.outputs) == (RESIDUAL.inputs, RESIDUAL.outputs)
    assert (variant.model.opset, variant.model.proto.ir_version) == (17, 8)
    assert len(variant.model.serialized()) < 0.6 * len(RESIDUAL.serialized())
    difference = relative_difference(nets.output_of(RESIDUAL, IMAGES), nets.output_of(variant.model, IMAGES))
    assert 0 < difference < 5e-3


def test_same_bytes_twice_and_source_untouched() -> None:
    before = RESIDUAL.serialized()
    assert fp16_variant(RESIDUAL).model.serialized() == fp16_variant(RESIDUAL).model.serialized()
    assert RESIDUAL.serialized() == before


NAMES = [made.name for made in RESIDUAL.proto.graph.node]


@settings(deadline=None, max_examples=40)
@given(st.sets(st.sampled_from(NAMES)))
def test_any_set_of_nodes_can_stay_in_fp32(kept: set[str]) -> None:
    variant = fp16_variant(RESIDUAL, kept=frozenset(kept))
    assert set(variant.kept_fp32) == kept
    expected, actual = nets.output_of(RESIDUAL, IMAGES), nets.output_of(variant.model, IMAGES)
    assert relative_difference(expected, actual) < 5e-3
    if kept == set(NAMES):
        assert np.array_equal(expected, actual)


def test_everything_kept_is_the_source_again() -> None:
    variant = fp16_variant(RESIDUAL, kept=frozenset(NAMES))
    assert variant.model.nodes == RESIDUAL.nodes  # no cast is left
    assert np.array_equal(nets.output_of(RESIDUAL, IMAGES), nets.output_of(variant.model, IMAGES))


def test_value_passes_between_kept_nodes_in_fp32() -> None:
    net = nets.vector_net(
        [
            node("Mul", ["x", "big"], "wide"),
            node("Mul", ["wide", "small"], "left"),
            node("Div", ["wide", "big"], "right"),
            node("Add", ["left", "right"], "y"),
        ],
        {"big": vector(1e6), "small": vector(1e-6)},
    )
    variant = fp16_variant(net)
    assert variant.kept_fp32 == ("make_wide", "make_left", "make_right")
    assert agrees(net, variant)


KEPT: dict[str, tuple[Callable[[], CheckedModel], str, str]] = {
    "weight-beyond-fp16": (
        lambda: nets.vector_net([node("Mul", ["x", "w"], "y")], {"w": vector(1e5)}),
        "make_y",
        "exceeds 65504",
    ),
    "epsilon": (
        lambda: nets.vector_net([node("Add", ["x", "e"], "safe"), node("Sqrt", ["safe"], "y")], {"e": vector(1e-6)}),
        "make_safe",
        "below 6.1e-05",
    ),
    "wide-integers": (
        lambda: nets.vector_net([node("Cast", ["x"], "y", to=TensorProto.FLOAT)], kind=TensorProto.INT64),
        "make_y",
        "integers",
    ),
    "coordinates": (
        lambda: nets.vector_net(
            [
                node("Slice", ["x", "from", "to", "axis"], "corners"),
                node("RoiAlign", ["picture", "corners", "row"], "found", output_height=1, output_width=1),
                node("ReduceMean", ["found"], "mean", keepdims=0),
                node("Add", ["x", "mean"], "y"),
            ],
            {
                "picture": np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8),
                "row": np.zeros(1, np.int64),
                "from": np.array([0], np.int64),
                "to": np.array([1], np.int64),
                "axis": np.array([0], np.int64),
            },
        ),
        "make_found",
        "half a pixel",
    ),
    "no-fp16-form": (
        lambda: nets.vector_net(
            [
                node("Range", ["zero", "four", "one"], "ramp"),
                node("Add", ["x", "ramp"], "y"),
            ],
            {
                "zero": np.float32(0) + np.zeros((), np.float32),
                "four": np.array(4, np.float32),
                "one": np.array(1, np.float32),
            },
        ),
        "make_ramp",
        "no FP16 form",
    ),
    "shape-arithmetic": (
        lambda: nets.vector_net(
            [
                node("Shape", ["x"], "sizes"),
                node("Cast", ["sizes"], "real_sizes", to=TensorProto.FLOAT),
                node("Mul", ["real_sizes", "twice"], "doubled"),
                node("Cast", ["doubled"], "whole", to=TensorProto.INT64),
                node("Expand", ["x", "same"], "wide"),
                node("Reshape", ["wide", "whole"], "y"),
            ],
            {"twice": vector(1, 1), "same": np.array([1, 4], np.int64)},
        ),
        "make_doubled",
        "shapes",
    ),
}


@pytest.mark.parametrize(("build", "kept", "reason"), KEPT.values(), ids=KEPT)
def test_what_fp16_cannot_hold_stays_with_a_reason(build: Callable[[], CheckedModel], kept: str, reason: str) -> None:
    net = build()
    variant = fp16_variant(net)
    assert kept in variant.kept_fp32
    assert any(reason in note and kept in note for note in variant.notes)
    x = X if net.inputs[0].dtype == "float32" else np.full((3, 4), 3001, np.int64)
    assert agrees(net, variant, x, within=1e-3)


def test_tiny_bias_is_no_reason() -> None:
    net = nets.vector_net(
        [node("Gemm", ["x", "w", "b"], "y")],
        {"w": np.eye(4, dtype=np.float32), "b": vector(1e-6, 1e-6, 1e-6, 1e-6)},
    )
    assert fp16_variant(net).kept_fp32 == ()


def test_loop_stays_whole() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"], name="same"),
            helper.make_node("Mul", ["state", "state"], ["squared"], name="square"),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", 4]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("squared", TensorProto.FLOAT, ["batch", 4]),
        ],
    )
    net = nets.vector_net(
        [node("Loop", ["turns", "true", "x"], "looped", body=body), node("Neg", ["looped"], "y")],
        {"turns": np.array(2, np.int64), "true": np.array(True)},
    )
    variant = fp16_variant(net)
    assert variant.kept_fp32 == ("make_looped",)
    assert agrees(net, variant)


def test_cast_of_bytes_gives_fp16() -> None:
    net = nets.vector_net(
        [node("Cast", ["x"], "real", to=TensorProto.FLOAT), node("Mul", ["real", "scale"], "y")],
        {"scale": vector(1 / 255)},
        kind=TensorProto.UINT8,
    )
    variant = fp16_variant(net)
    assert variant.kept_fp32 == ()
    cast = variant.model.proto.graph.node[0]
    assert (cast.name, cast.attribute[0].i) == ("make_real", TensorProto.FLOAT16)
    assert agrees(net, variant, np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)


def test_cast_that_changes_nothing_survives() -> None:
    net = nets.vector_net(
        [node("Cast", ["x"], "same", to=TensorProto.FLOAT), node("Mul", ["same", "w"], "y")], {"w": vector(1 / 3)}
    )
    assert agrees(net, fp16_variant(net))


def test_resize_runs_in_fp16_with_fp32_scales() -> None:
    net = nets.vector_net(
        [node("Resize", ["x", "", "scales"], "y", mode="linear")],
        {"scales": vector(1, 1, 2, 2)},
        dims=["batch", 1, 2, 2],
        out_dims=["batch", 1, 4, 4],
    )
    variant = fp16_variant(net)
    assert variant.kept_fp32 == ()
    assert agrees(net, variant, X.reshape(3, 1, 2, 2))


def test_initializer_shared_with_a_kept_node_exists_twice() -> None:
    net = nets.vector_net([node("Mul", ["x", "w"], "left"), node("Add", ["left", "w"], "y")], {"w": vector(1 / 3)})
    variant = fp16_variant(net, kept=frozenset(["make_left"]))
    assert {tensor.data_type for tensor in variant.model.proto.graph.initializer} == {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
    }
    assert agrees(net, variant)


def as_half(*names: str) -> CheckedModel:
    """x [FP16] through two weights of which the named are FP16."""
    proto = nets.vector_net(
        [node("Mul", ["x", "a"], "left"), node("Mul", ["left", "b"], "y")], {"a": vector(2), "b": vector(3)}
    ).proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for tensor in proto.graph.initializer:
        if tensor.name in names:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    if len(names) < 2:
        proto.graph.node[1].input[0] = "wide"
        proto.graph.node[1].output[0] = "wide_y"
        proto.graph.node.insert(1, node("Cast", ["left"], "wide", to=TensorProto.FLOAT))
        proto.graph.node.append(node("Cast", ["wide_y"], "half_y", to=TensorProto.FLOAT16))
        proto.graph.node[-1].output[0] = "y"
    return checked(proto, "the test net")


def test_half_source_is_left_alone() -> None:
    source = as_half("a", "b")
    variant = fp16_variant(source)
    assert variant.model is source
    assert "already" in variant.notes[0]


def test_mixed_source_is_refused() -> None:
    with pytest.raises(ConversionFailure, match="node by node") as caught:
        fp16_variant(as_half("a"))
    assert caught.value.reason is Reason.PRECISION_IMPOSSIBLE


def chain(length: int, culprit: int) -> CheckedModel:
    """Neg after Neg around one square root of a square that overflows FP16, and a product that is worth having."""
    nodes, last = [node("MatMul", ["x", "w"], "start")], "start"
    for index in range(length):
        if index == culprit:
            nodes += [node("Mul", [last, last], "squared"), node("Sqrt", ["squared"], "rooted")]
            last = "rooted"
        nodes.append(node("Neg", [last], f"step_{index}"))
        last = f"step_{index}"
    nodes.append(node("Identity", [last], "y"))
    return nets.vector_net(nodes, {"w": np.full((4, 4), 300, np.float32)})


CULPRITS = {"make_squared", "make_rooted"}


@pytest.mark.parametrize("culprit", [0, 3, 7])
def test_search_keeps_the_culprits_and_nothing_else(culprit: int) -> None:
    trials: list[Variant] = []

    def accepts(variant: Variant) -> bool:
        trials.append(variant)
        return set(variant.kept_fp32) >= CULPRITS

    found = fp16_within(chain(8, culprit), accepts)
    assert found is not None
    assert set(found.kept_fp32) == CULPRITS
    assert trials[0].kept_fp32 == ()  # plain FP16 first
    assert len(trials) <= 16


def test_search_stops_at_its_limit_with_what_it_has() -> None:
    trials = [0]

    def accepts(variant: Variant) -> bool:
        trials[0] += 1
        return set(variant.kept_fp32) >= CULPRITS

    found = fp16_within(chain(8, 3), accepts, max_trials=4)
    assert trials == [4]
    assert found is not None
    assert set(found.kept_fp32) > CULPRITS
    assert len(found.kept_fp32) == 3  # 12 failed, 6 failed, 6 passed, 3 passed: the longest run goes first


def test_cpu_hides_an_overflow_that_the_ranges_show() -> None:
    net = chain(4, 2)
    assert agrees(net, fp16_variant(net), within=1e-2)  # a square of 1200 is infinite in FP16
    assert overflowing_nodes(net, [{"x": X}], threads=1) == CULPRITS
    assert overflowing_nodes(net, [{"x": X / 10}], threads=1) == frozenset()


def test_search_without_success_is_none() -> None:
    assert fp16_within(RESIDUAL, lambda variant: False, max_trials=4) is None


def test_fp32_in_disguise_counts_as_none() -> None:
    weighted = {"make_stem", "make_inner", "make_branch", "make_logits"}
    assert fp16_within(RESIDUAL, lambda variant: weighted <= set(variant.kept_fp32)) is None


def test_faint_weight_beside_strong_ones_keeps_its_sign() -> None:
    net = nets.vector_net([node("Mul", ["x", "w"], "y")], {"w": vector(1, 1e-9, -1e-9, 0)})
    (stored,) = fp16_variant(net).model.proto.graph.initializer
    assert numpy_helper.to_array(stored).tolist() == [1, 2**-24, -(2**-24), 0]


def test_no_weight_is_cut_below_fp16s_own_limit() -> None:
    net = nets.vector_net([node("Mul", ["x", "w"], "y")], {"w": vector(MAX_HALF)})
    (stored,) = fp16_variant(net).model.proto.graph.initializer
    assert numpy_helper.to_array(stored).tolist() == [MAX_HALF]
