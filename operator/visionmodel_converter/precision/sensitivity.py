"""Which nodes INT8 hurts, measured one by one, and the repair that leaves the worst of them unquantised.

The loss of a node is measured on the network's outputs when that node alone is quantised, so the list does not
depend on the order of anything. It is a diagnosis for the report and an order of trials; whether a variant may
serve is said by `accepts`, which looks at the task.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.graph.session import Run, Tensors, open_session
from visionmodel_converter.precision.int8 import Calibrated, quantised, quantised_graph
from visionmodel_converter.precision.topology import weight_array
from visionmodel_converter.precision.variant import Variant

MAX_NODES: Final = 64
"""Nodes measured at most: each costs one quantisation and one run. Beyond it those with the most weights count."""
MAX_SAMPLES: Final = 32
MAX_TRIALS: Final = 12


@dataclass(frozen=True, slots=True)
class NodeLoss:
    """What quantising one node alone does to the network's outputs.

    Attributes:
        node: its name; `op_type` its operator.
        loss: squared error of the outputs over their squared size, the worst output; 0 is none, NaN ranks worst.
    """

    node: str
    op_type: str
    loss: float


def sensitivity(ready: Calibrated, samples: Sequence[Tensors], *, max_nodes: int = MAX_NODES) -> tuple[NodeLoss, ...]:
    """Return the loss of every planned node (of `max_nodes` at most), the most sensitive first."""
    inputs = _first_rows(samples, MAX_SAMPLES)
    expected = open_session(ready.source.serialized(), shown="the source graph", threads=ready.threads)(inputs)
    types = {node.name: node.op_type for node in ready.model.graph.node}
    losses = [
        NodeLoss(name, types[name], _loss(expected, _run_of_one(ready, name), inputs))
        for name in _largest(ready, max_nodes)
    ]
    return tuple(sorted(losses, key=lambda found: (-_rank(found.loss), found.node)))


def int8_within(
    ready: Calibrated,
    losses: Sequence[NodeLoss],
    accepts: Callable[[Variant], bool],
    *,
    fp16: bool = False,
    max_trials: int = MAX_TRIALS,
) -> Variant | None:
    """Return an INT8 variant that `accepts` takes, with few nodes left unquantised; None without one.

    Tries none, then the 1, 2, 4, ... most sensitive nodes, then narrows down between the last count that failed
    and the first that passed. At least one node stays INT8, or nothing would be gained.
    """
    order = [found.node for found in losses]
    most = len(order) if len(order) < len(ready.plan.weighted) else len(order) - 1
    best: Variant | None = None
    failed, passed, count = -1, most + 1, 0
    for _ in range(max_trials):
        variant = _attempt(ready, frozenset(order[:count]), accepts, fp16=fp16)
        if variant is None:
            failed = count
        else:
            best, passed = variant, count
        if passed - failed <= 1:
            break
        count = (failed + passed) // 2 if best is not None else min(max(1, 2 * count), most)
    return best


def _attempt(
    ready: Calibrated, kept: frozenset[str], accepts: Callable[[Variant], bool], *, fp16: bool
) -> Variant | None:
    try:
        variant = quantised(ready, kept=kept, fp16=fp16)
    except ConversionFailure:
        return None
    return variant if accepts(variant) else None


def _run_of_one(ready: Calibrated, name: str) -> Run:
    graph = quantised_graph(ready, only=[name])
    return open_session(graph.SerializeToString(), shown=f"the graph with {name} quantised", threads=ready.threads)


def _loss(expected: dict[str, NDArray[Any]], run: Run, inputs: Tensors) -> float:
    actual = run(inputs)
    return max((_relative_error(expected[name], actual[name]) for name in expected), key=_rank)


def _relative_error(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    if expected.dtype.kind != "f":
        return float(np.mean(expected != actual))
    wide = expected.astype(np.float64)
    size = float(np.sum(wide**2))
    error = float(np.sum((wide - actual) ** 2))
    return error / size if size else error


def _rank(loss: float) -> float:
    return float("inf") if np.isnan(loss) else loss


def _largest(ready: Calibrated, limit: int) -> list[str]:
    sizes = {node.name: _parameters(ready, node.name) for node in ready.model.graph.node}
    chosen = sorted(ready.plan.weighted, key=lambda name: -sizes[name])[:limit]
    return [name for name in ready.plan.weighted if name in chosen]


def _parameters(ready: Calibrated, name: str) -> int:
    node = next(node for node in ready.model.graph.node if node.name == name)
    weight = weight_array(ready.model.graph, node) if name in ready.plan.weighted else None
    return 0 if weight is None else weight.size


def _first_rows(samples: Sequence[Tensors], limit: int) -> Tensors:
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in samples[0]}
    left = limit
    for batch in samples:
        for name, array in batch.items():
            rows[name].append(array[:left])
        left -= len(rows[next(iter(batch))][-1])
        if left <= 0:
            break
    return {name: np.concatenate(parts) for name, parts in rows.items()}
