"""A device without a GPU: an engine is the ONNX file and its profile, run by onnxruntime.

Held to the same contract as the real one (tests/contracts/test_device.py). What a real device might do wrong is a
field: it shows other layers than were asked for, computes something else, or takes more memory.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TensorProto

from visionmodel_contract.build import EngineOptions, EngineTarget
from visionmodel_contract.precision import Precision
from visionmodel_converter.engines.device import LoadedEngine
from visionmodel_converter.engines.engine import Engine, Progress
from visionmodel_converter.engines.profiles import ShapeBounds
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.session import Outputs, Run, Tensors, open_session

TARGET = EngineTarget(
    tensorrt="11.2.1.2", cuda="13.0", product="NVIDIA L4", compute_capability="8.9", multiprocessors=58
)
WORDS = {Precision.FP32: "Float", Precision.FP16: "Half", Precision.INT8: "Int8"}
MULTIPLYING = ("Conv", "MatMul", "Gemm")


@dataclass
class FakeDevice:
    """As `Device`.

    Attributes:
        shows: precision of every layer that the inspector tells of; None: what the graph says.
        distorts: what becomes of the outputs of every run.
        builds: how many engines were built here.
        timed: kernels that each build timed, in place of reading their times.
    """

    target: EngineTarget = TARGET
    driver: str = "13.0"
    shows: Precision | None = None
    distorts: Callable[[Outputs], Outputs] = lambda outputs: outputs
    device_memory_bytes: int = 32 * 1024**2
    builds: int = field(default=0)
    timed: list[int] = field(default_factory=list)

    def build(
        self,
        model: bytes,
        profile: Mapping[str, ShapeBounds],
        options: EngineOptions,
        *,
        timing_cache: bytes = b"",
        progress: Progress,
    ) -> Engine:
        try:
            graph = onnx.load_from_string(model).graph
        except Exception as error:
            raise refused(f"parse the graph: {error}") from error
        if not graph.node:
            raise refused("parse the graph: it is empty")
        self.builds += 1
        for step in (1, 2):
            progress("Building Engine", step, 2)
        known = self._timings_in(timing_cache)
        kernels = {f"{node.op_type} {hashlib.sha256(node.SerializeToString()).hexdigest()}" for node in graph.node}
        self.timed.append(len(kernels - (known or set())))
        bounds = {name: [shape.min, shape.max] for name, shape in profile.items()}
        plan = {"model": base64.b64encode(model).decode(), "bounds": bounds}
        return Engine(
            plan=json.dumps(plan).encode(),
            timing_cache=self._cache_of(kernels | (known or set())),
            took_timings=known is not None,
            layers=json.dumps({"Layers": list(self._layers(graph))}),
            device_memory_bytes=self.device_memory_bytes,
            version=self.target.tensorrt,
        )

    @contextmanager
    def load(self, plan: bytes) -> Iterator[LoadedEngine]:
        try:
            document = json.loads(plan)
            model = base64.b64decode(document["model"])
        except (ValueError, KeyError) as error:
            raise refused(f"load the engine: {error}") from error
        run = open_session(model, shown="the engine", threads=1)
        yield FakeEngine(run, document["bounds"], self.distorts, self.device_memory_bytes)

    def _cache_of(self, kernels: set[str]) -> bytes:
        return json.dumps({"of": self.target.model_dump(), "kernels": sorted(kernels)}).encode()

    def _timings_in(self, cache: bytes) -> set[str] | None:
        """The kernels of a cache; None for one that is refused: of another target, or none at all."""
        try:
            document = json.loads(cache)
        except ValueError:
            return None
        return set(document["kernels"]) if document["of"] == self.target.model_dump() else None

    def _layers(self, graph: Any) -> Iterator[dict[str, Any]]:
        makers = {output: node.op_type for node in graph.node for output in node.output}
        half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
        for node in graph.node:
            if node.op_type not in MULTIPLYING:
                continue
            found = Precision.FP16 if half else Precision.FP32
            if makers.get(node.input[0]) == "DequantizeLinear":
                found = Precision.INT8
            word = WORDS[self.shows or found]
            yield {
                "Name": node.name,
                "LayerType": "gemm",
                "ParameterType": "MatrixMultiply",
                "Inputs": [{"Name": node.input[0], "Dimensions": [1, 4], "DataType": word}],
                "Outputs": [{"Name": node.output[0], "Dimensions": [1, 3], "DataType": word}],
            }


@dataclass(frozen=True)
class FakeEngine:
    """As `LoadedEngine`."""

    session: Run
    bounds: Mapping[str, list[list[int]]]
    distorts: Callable[[Outputs], Outputs]
    device_memory_bytes: int

    def run(self, inputs: Tensors) -> Outputs:
        for name, array in inputs.items():
            least, most = self.bounds[name]
            if not all(low <= length <= high for low, length, high in zip(least, array.shape, most, strict=True)):
                raise refused(f"run: {name} has shape {list(array.shape)}, outside of its profile")
        return self.distorts(self.session(inputs))


def refused(what: str) -> ConversionFailure:
    return ConversionFailure(Reason.ENGINE_REFUSED, f"the device could not {what}")
