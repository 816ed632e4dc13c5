"""The worst node is found, and the repair leaves out as few as the trials allow."""

import numpy as np
import pytest

from unit.converter.precision import nets
from unit.converter.precision.nets import node
from visionmodel_contract.precision import CalibrationMethod
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.precision.int8 import Calibrated, calibrated
from visionmodel_converter.precision.layout import Layout
from visionmodel_converter.precision.sensitivity import NodeLoss, int8_within, sensitivity
from visionmodel_converter.precision.variant import Variant

SAMPLES = [{"x": np.random.default_rng(2).normal(size=(40, 16)).astype(np.float32)}]
LAYERS = 6


def stack(outlier: int) -> CheckedModel:
    """Six products; before one of them a single channel is blown up, and undone after it: 8 bits lose the others."""
    rng = np.random.default_rng(4)
    blow = np.ones(16, np.float32)
    blow[0] = 3000
    nodes, last, stored = [], "x", {"blow": blow}
    for index in range(LAYERS):
        weight = (rng.normal(size=(16, 16)) / 4).astype(np.float32)
        if index == outlier:
            nodes.append(node("Mul", [last, "blow"], "blown"))
            last, weight = "blown", weight / blow[:, None]
        stored[f"w{index}"] = weight
        output = "y" if index == LAYERS - 1 else f"h{index}"
        nodes.append(node("MatMul", [last, f"w{index}"], output))
        last = output
    return nets.vector_net(nodes, stored, dims=["batch", 16], out_dims=["batch", 16])


def ready(outlier: int = 3) -> Calibrated:
    return calibrated(stack(outlier), SAMPLES, CalibrationMethod.MIN_MAX, layout=Layout.TENSORRT, threads=1)


@pytest.mark.parametrize(("outlier", "name"), [(1, "make_h1"), (3, "make_h3")])
def test_worst_node_comes_first(outlier: int, name: str) -> None:
    losses = sensitivity(ready(outlier), SAMPLES)
    assert losses[0].node == name
    assert losses[0].op_type == "MatMul"
    assert losses[0].loss > 10 * losses[1].loss
    assert len(losses) == LAYERS
    assert all(found.loss > 0 for found in losses)


def test_cost_is_bounded() -> None:
    assert len(sensitivity(ready(), SAMPLES, max_nodes=2)) == 2


def test_same_list_twice() -> None:
    assert sensitivity(ready(), SAMPLES) == sensitivity(ready(), SAMPLES)


ORDER = [NodeLoss(f"make_h{index}", "MatMul", 1.0 / (index + 1)) for index in range(LAYERS - 1)]
ORDER.append(NodeLoss("make_y", "MatMul", 0.01))


@pytest.mark.parametrize("needed", range(LAYERS))
def test_repair_keeps_the_fewest(needed: int) -> None:
    tried: list[int] = []

    def accepts(variant: Variant) -> bool:
        tried.append(len(variant.kept_fp32))
        return len(variant.kept_fp32) >= needed

    found = int8_within(ready(), ORDER, accepts)
    assert found is not None
    assert found.kept_fp32 == tuple(f"make_h{index}" for index in range(needed))
    assert tried[0] == 0
    assert len(tried) <= 6


def test_repair_that_would_leave_no_int8_is_none() -> None:
    assert int8_within(ready(), ORDER, lambda variant: len(variant.kept_fp32) == LAYERS) is None


def test_repair_stops_at_its_limit() -> None:
    tried = [0]

    def accepts(variant: Variant) -> bool:
        tried[0] += 1
        return len(variant.kept_fp32) >= 3

    found = int8_within(ready(), ORDER, accepts, max_trials=4)  # 0, 1, 2 fail, 4 passes
    assert tried == [4]
    assert found is not None
    assert len(found.kept_fp32) == 4
