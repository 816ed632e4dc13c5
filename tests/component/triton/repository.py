"""Writes model repositories: a tiny ONNX lookup and its config.pbtxt in the form that production uses."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

TABLE = np.arange(12, dtype=np.float32).reshape(3, 4)


def lookup_model(*, batch: int | str = "batch") -> onnx.ModelProto:
    """Build `y = x + TABLE[index]`: an index outside -3..2 makes the run fail, which no shape check can foresee."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4]),
        helper.make_tensor_value_info("index", TensorProto.INT64, [batch, 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4]),
        helper.make_tensor_value_info("row", TensorProto.FLOAT, [batch, 4]),
    ]
    nodes = [
        helper.make_node("Squeeze", ["index", "axes"], ["flat"]),
        helper.make_node("Gather", ["table", "flat"], ["row"]),
        helper.make_node("Add", ["x", "row"], ["y"]),
    ]
    constants = [
        helper.make_tensor("table", TensorProto.FLOAT, TABLE.shape, TABLE.flatten()),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    graph = helper.make_graph(nodes, "lookup", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {max_batch_size}
{extra}
input [
  {{ name: "x" data_type: {x_type} dims: [ {x_dims} ] }},
  {{ name: "index" data_type: TYPE_INT64 dims: [ {index_dims} ] }}
]
output [
  {{ name: "y" data_type: TYPE_FP32 dims: [ {x_dims} ] }},
  {{ name: "{second}" data_type: TYPE_FP32 dims: [ {x_dims} ] }}
]
instance_group [ {{ kind: KIND_CPU count: {instances} }} ]
parameters {{ key: "intra_op_thread_count" value {{ string_value: "{threads}" }} }}
"""
DEFAULTS: Mapping[str, str] = {
    "max_batch_size": "8",
    "extra": "",
    "x_type": "TYPE_FP32",
    "x_dims": "4",
    "index_dims": "1",
    "second": "row",
    "instances": "1",
    "threads": "1",
}


def write_model(
    repository: Path, name: str, *, filename: str = "model.onnx", batch: int | str = "batch", **values: str
) -> None:
    """Write one model with version 1; `values` replace the defaults of the configuration."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / filename).write_bytes(lookup_model(batch=batch).SerializeToString())
    text = CONFIG.format(name=name, **{**DEFAULTS, **values})
    (repository / name / "config.pbtxt").write_text(text, encoding="utf-8")
    for path in (repository, *repository.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
