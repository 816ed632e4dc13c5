"""The example classifier and detector as FP16 and INT8 engines: from the source to a proven engine, in both Jobs.

On a GPU (`make test-gpu`) the engines are TensorRT's: their precision and results are proven, and their figures go as
JSON lines into the file that VISIONMODEL_GPU_FIGURES names, for docs/benchmarks.md. With the fake device the same
walk shows on every machine that the graphs which the prepare Job makes for TensorRT are such that it can succeed.
"""

import io
import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from example_models.build import build as build_models
from fakes.device import FakeDevice
from visionmodel_contract.build import BuildRequest, EngineOptions, ShapeRange
from visionmodel_contract.conversion import (
    CalibrationOptions,
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceRequest,
)
from visionmodel_contract.precision import Backend, CalibrationMethod, Goal, Precision
from visionmodel_contract.report import ReportSummary
from visionmodel_converter.build import BuildJob, build
from visionmodel_converter.engines.device import Device
from visionmodel_converter.engines.gpu import first_gpu
from visionmodel_converter.environment import Environment, environment_from
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.gates.proof import DEFAULT_MINIMUM
from visionmodel_converter.journal import Journal
from visionmodel_converter.prepare import Job, prepare
from visionmodel_converter.store.folder import FolderStore

pytestmark = pytest.mark.timeout(1800)

FIGURES = os.environ.get("VISIONMODEL_GPU_FIGURES", "gpu-figures.jsonl")
LARGEST_BATCH = 32
LOSS = 0.01
NETWORKS = {"classifier": ("digits", "digits/v1", "top1"), "detector": ("shapes", "shapes/v2", "map50")}
PRECISIONS = (Precision.FP16, Precision.INT8)
TYPES = {Precision.FP16: (True, set()), Precision.INT8: (True, {TensorProto.INT8})}
"""What TensorRT has kernels for: signed and symmetric INT8, with FP16 for the rest."""


@pytest.fixture(
    scope="module",
    params=[pytest.param("fake", marks=pytest.mark.component), pytest.param("real", marks=pytest.mark.gpu)],
)
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "fake":
        return FakeDevice()
    try:
        return first_gpu()
    except ConversionFailure as failure:
        pytest.skip(f"{failure.reason}: {failure.message}")


@pytest.fixture(scope="module")
def trained() -> Path:
    return build_models()


def gates_of(folder: Path, family: str, metric: str) -> GatesRequest:
    goal = MetricGoal(name=metric, goal=Goal.MAX_DEGRADATION, value=LOSS)
    uri = (folder / family / "evaluation.npz").as_uri()
    return GatesRequest(parity=ParityRequest(dataset_uri=uri, metrics=(goal,)), accelerated=True)


def environment() -> Environment:
    return replace(environment_from({}), allow_files=True)


def journal() -> Journal:
    return Journal(io.StringIO(), lambda: datetime.now(UTC))


def prepared(trained: Path, network: str, precision: Precision, folder: Path) -> ReportSummary:
    family, model, metric = NETWORKS[network]
    calibration = CalibrationOptions(
        dataset_uri=(trained / family / "calibration.npz").as_uri(), method=CalibrationMethod.MIN_MAX
    )
    request = ConversionRequest(
        namespace="vision",
        name=family,
        revision="r",
        source=SourceRequest(uri=(trained / model / "model.onnx").as_uri()),
        options=ConversionOptions(
            backend=Backend.TENSORRT,
            precisions=(precision,),
            calibration=calibration if precision is Precision.INT8 else None,
        ),
        gates=gates_of(trained, family, metric),
        publish=PublishTarget(repository="unused"),
    )
    work = folder / "preparing"
    work.mkdir()
    return prepare(Job(request, work, environment(), FolderStore(folder / "store"), journal(), 2, ("prepare",)))


def built(trained: Path, network: str, artifact: str, device: Device, folder: Path) -> ReportSummary:
    family, _, metric = NETWORKS[network]
    request = BuildRequest(
        namespace="vision",
        name=family,
        revision="r",
        key="b" * 32,
        gate_key="c" * 32,
        prepare_key=artifact,
        options=EngineOptions(batch=ShapeRange(min=1, opt=8, max=LARGEST_BATCH)),
        gates=gates_of(trained, family, metric),
        publish=PublishTarget(repository="unused"),
    )
    work = folder / "building"
    work.mkdir()
    store = FolderStore(folder / "store")
    return build(BuildJob(request, work, environment(), store, device, journal(), 2, ("build",)))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_engine(network: str, precision: Precision, device: Device, trained: Path, tmp_path: Path) -> None:
    graph = prepared(trained, network, precision, tmp_path)
    assert graph.artifact is not None
    began = time.perf_counter()
    summary = built(trained, network, graph.artifact.key, device, tmp_path)
    seconds = time.perf_counter() - began
    engine, artifact = summary.engine, summary.artifact
    assert engine is not None
    assert artifact is not None
    assert artifact.precision is precision
    assert types_of(tmp_path / "store" / f"prepare-{graph.artifact.key}" / "model.onnx") == TYPES[precision]
    assert engine.target == device.target
    assert engine.share.compute >= DEFAULT_MINIMUM[precision]
    (gate,) = summary.gates
    assert gate.source_value == graph.gates[0].source_value, "the loss counts from the model as it came"
    assert gate.source_value is not None
    assert gate.source_value - gate.value <= LOSS + 1e-9
    if isinstance(device, FakeDevice):
        return
    note(
        network=network,
        precision=precision.value,
        device=device.target.model_dump(by_alias=True),
        driver=device.driver,
        metric={gate.metric: gate.value, "source": gate.source_value},
        share=engine.share.compute,
        planBytes=artifact.size_bytes,
        onnxBytes=graph.artifact.size_bytes,
        deviceMemoryBytes=engine.device_memory_bytes,
        p50Ms=engine.p50_ms,
        p99Ms=engine.p99_ms,
        perSecond=engine.per_second,
        batch=LARGEST_BATCH,
        jobSeconds=round(seconds, 1),
    )


def types_of(path: Path) -> tuple[bool, set[int]]:
    """Return whether there are FP16 weights, and the types of the zero points."""
    graph = onnx.load(path).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    points = {types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}
    return TensorProto.FLOAT16 in types.values(), points


def note(**figures: Any) -> None:
    line = json.dumps(figures, sort_keys=True)
    print(line)
    with Path(FIGURES).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
