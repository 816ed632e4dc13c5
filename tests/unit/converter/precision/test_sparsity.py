"""2:4 patterns found and made, along input channels and nowhere else."""

import numpy as np
import pytest
from onnx import numpy_helper

from unit.converter.precision import nets
from unit.converter.precision.nets import node
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.precision.sparsity import pruned_2_4, sparsity_of

HALF = np.array([1, 0, 0, 2], np.float32)


def product(matrix: np.ndarray[tuple[int, ...], np.dtype[np.float32]], *, transposed: bool = False) -> CheckedModel:
    rows, columns = matrix.shape[::-1] if transposed else matrix.shape
    return nets.vector_net(
        [node("Gemm", ["x", "w"], "y", transB=int(transposed))],
        {"w": matrix},
        dims=["batch", rows],
        out_dims=["batch", columns],
    )


@pytest.mark.parametrize(
    ("net", "share"),
    [
        (product(np.tile(HALF[:, None], (2, 3))), 1.0),
        (product(np.tile(HALF[:, None], (2, 3)).T, transposed=True), 1.0),
        (product(np.tile(HALF, (8, 1))), 0.0),
        (product(np.ones((4, 2), np.float32)), 0.0),
        (product(np.zeros((6, 2), np.float32)), 0.0),
    ],
    ids=["along-k", "along-k-transposed", "along-n", "dense", "channels-not-in-fours"],
)
def test_pattern_counts_along_input_channels(net: CheckedModel, share: float) -> None:
    assert sparsity_of(net).share == share


def weight(net: CheckedModel, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return next(numpy_helper.to_array(tensor) for tensor in net.proto.graph.initializer if tensor.name == name)


def test_pruning_keeps_the_two_largest_of_four() -> None:
    column = np.array([0.1, -4, 3, 0.2, -1, 1, 0, 5], np.float32)
    pruned = pruned_2_4(product(column[:, None]))
    assert weight(pruned, "w")[:, 0].tolist() == [0, -4, 3, 0, -1, 0, 0, 5]


def test_pruned_network_is_sparse_and_runs() -> None:
    source = nets.residual_net()
    pruned = pruned_2_4(source)
    report = sparsity_of(pruned)
    assert report.share == 1.0
    assert [found.node for found in report.weights] == ["make_stem", "make_inner", "make_branch", "make_logits"]
    assert all(found.is_2_4 and found.zero_share == 0.5 for found in report.weights)
    assert sparsity_of(source).share == 0.0
    assert np.isfinite(nets.output_of(pruned, {"images": nets.images()})).all()
    groups = weight(pruned, "w1").reshape(16, 4, 4, 3, 3)
    assert (np.count_nonzero(groups, axis=2) == 2).all()


def test_pruning_twice_is_pruning_once_and_leaves_the_source() -> None:
    source = nets.residual_net()
    before = source.serialized()
    once = pruned_2_4(source)
    assert pruned_2_4(once).serialized() == once.serialized()
    assert source.serialized() == before


def test_network_without_channels_in_fours_is_refused() -> None:
    with pytest.raises(ConversionFailure, match="2:4") as caught:
        pruned_2_4(product(np.ones((6, 2), np.float32)))
    assert caught.value.reason is Reason.PRECISION_IMPOSSIBLE
