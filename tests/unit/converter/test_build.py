"""The build Job with a device that is none: what is published, what is proven first, and how each way out is told."""

import base64
import io
import itertools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fakes.device import TARGET, FakeDevice
from unit.converter import tiny_models
from unit.converter.gates.archives import image_task
from visionmodel_contract.build import BuildRequest, DynamicAxis, EngineOptions, ShapeRange
from visionmodel_contract.conversion import (
    CalibrationOptions,
    GatesRequest,
    LatencyGoal,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SpeedRequest,
    ThroughputGoal,
)
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.keys import engine_key
from visionmodel_contract.precision import Goal, Precision, PruningPattern
from visionmodel_contract.report import GateResult, ReportSummary
from visionmodel_converter.__main__ import main
from visionmodel_converter.build import BuildJob, build, within_batches
from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import checked
from visionmodel_converter.graph.session import Outputs, Tensors
from visionmodel_converter.journal import Journal
from visionmodel_converter.report import DataFinding, FullReport, TimingsReport, termination_message
from visionmodel_converter.store.engines import find_engine
from visionmodel_converter.store.folder import FolderStore
from visionmodel_converter.store.image import sha256_of, sha256_of_file
from visionmodel_converter.store.published import MAX_CACHE_BYTES, StoredFiles

PREPARE_KEY = "0123456789abcdef0123456789abcdef"
OPTIONS = EngineOptions(batch=ShapeRange(min=1, opt=2, max=4))
SOURCE_DIGEST = "sha256:" + "a" * 64


def stepping_clock(seconds: float = 0.01) -> Callable[[], float]:
    times = itertools.count()
    return lambda: next(times) * seconds


@dataclass
class Bench:
    """A store with one prepared artifact, a device, and what a Job wrote."""

    folder: Path
    device: FakeDevice = field(default_factory=FakeDevice)
    model: bytes = tiny_models.to_bytes(tiny_models.classifier())
    out: io.StringIO = field(default_factory=io.StringIO)
    runs: Any = field(default_factory=itertools.count)

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "store")

    def prepare(self, **changes: Any) -> FullReport:
        graph = checked(onnx.load_from_string(self.model), "the model")
        values: dict[str, Any] = {
            "key": PREPARE_KEY,
            "pipeline_version": 3,
            "source_uri": "s3://models/net.onnx",
            "source_digest": SOURCE_DIGEST,
            "precision": Precision.FP32,
            "model_digest": sha256_of(self.model),
            "size_bytes": len(self.model),
            "opset": graph.opset,
            "parameters": graph.parameters,
            "nodes_before": 3,
            "nodes_after": 2,
            "inputs": graph.inputs,
            "outputs": graph.outputs,
            "simplification": "3 nodes became 2",
            "gates": (),
            "agreement": {},
        }
        report = FullReport(**{**values, **changes})
        file = self.folder / "prepared.onnx"
        file.write_bytes(self.model)
        self.store.publish(model=file, report=report, provenance={}, work=self.folder / "preparing")
        return report

    def run(self, **changes: Any) -> ReportSummary:
        work = self.folder / f"work-{next(self.runs)}"
        work.mkdir()
        self.out = io.StringIO()
        journal = Journal(self.out, lambda: datetime(2026, 1, 1, tzinfo=UTC))
        environment = replace(environment_from({}), allow_files=True)
        command = ("visionmodel-convert", "build")
        asked = request(**changes)
        return build(BuildJob(asked, work, environment, self.store, self.device, journal, 1, command, stepping_clock()))

    @property
    def stages(self) -> list[str]:
        lines = (json.loads(line)["stage"] for line in self.out.getvalue().splitlines())
        return [stage for stage, _ in itertools.groupby(lines)]

    @property
    def published(self) -> list[str]:
        return sorted(path.name for path in self.store.root.iterdir() if path not in self.timings)

    @property
    def timings(self) -> list[Path]:
        return sorted(self.store.root.glob("timing-*"))

    def timings_report(self, options: EngineOptions = OPTIONS) -> TimingsReport:
        key = engine_key(sha256_of(self.model), options, self.device.target)
        found = find_engine(self.store, key, self.folder / "found")
        assert found is not None
        assert found.report.engine is not None
        assert found.report.engine.timings is not None
        return found.report.engine.timings


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.prepare()
    return made


def request(**changes: Any) -> BuildRequest:
    values: dict[str, Any] = {
        "namespace": "vision",
        "name": "shapes",
        "revision": "r",
        "key": "b" * 32,
        "gate_key": "c" * 32,
        "prepare_key": PREPARE_KEY,
        "options": OPTIONS,
        "publish": PublishTarget(repository="registry.example/artifacts"),
    }
    return BuildRequest(**{**values, **changes})


def limits(**speed: Any) -> GatesRequest:
    return GatesRequest(speed=SpeedRequest(**speed), accelerated=True)


KEY = engine_key(sha256_of(tiny_models.to_bytes(tiny_models.classifier())), OPTIONS, TARGET)
BUILT = ["Fetch", "Lookup", "Build", "Parity", "Speed", "Gate", "Publish", "Done"]


def test_an_engine_is_built_proven_and_published(bench: Bench) -> None:
    summary = bench.run()
    assert bench.stages == BUILT
    assert bench.published == [f"engine-{KEY}", f"prepare-{PREPARE_KEY}"]
    assert (summary.result, summary.gate_key, summary.source_digest) == ("Succeeded", "c" * 32, SOURCE_DIGEST)
    assert summary.artifact is not None
    assert summary.artifact.key == KEY
    assert [gate.metric for gate in summary.gates] == ["maxRelativeError"]
    engine = summary.engine
    assert engine is not None
    assert (engine.build_key, engine.target, engine.share.compute) == ("b" * 32, TARGET, 1.0)
    assert engine.device_memory_bytes == bench.device.device_memory_bytes
    assert (engine.p50_ms, engine.p99_ms) == pytest.approx((10, 10))
    assert engine.per_second == pytest.approx(400), "four samples each 10 ms"


def test_the_report_is_the_artifacts_with_the_engine_in_it(bench: Bench) -> None:
    bench.run()
    found = find_engine(bench.store, KEY, bench.folder / "found")
    assert found is not None
    report = found.report
    assert report.engine is not None
    assert (report.source_digest, report.nodes_before) == (SOURCE_DIGEST, 3)
    assert report.model_digest == sha256_of_file(found.model)
    assert (report.engine.prepare_key, report.engine.options) == (PREPARE_KEY, OPTIONS)
    assert [result.batch for result in report.engine.speed] == [1, 2, 4]
    statement = json.loads((found.model.parent / "provenance.json").read_text())
    assert statement["predicate"]["buildDefinition"]["externalParameters"]["options"]["refittable"] is False
    assert statement["subject"][0]["name"] == "model.plan"
    assert statement["predicate"]["buildDefinition"]["internalParameters"]["engineKey"] == KEY


def test_the_same_key_is_not_built_again(bench: Bench) -> None:
    first = bench.run()
    again = bench.run(passed_gate_keys=("c" * 32,))
    assert bench.stages == ["Fetch", "Lookup", "Done"]
    assert bench.device.builds == 1
    assert (again.cached, again.artifact, again.engine, again.gates) == (True, first.artifact, first.engine, ())


def test_other_gates_are_judged_on_the_engine_that_is_there(bench: Bench) -> None:
    bench.run()
    again = bench.run(gate_key="d" * 32, gates=limits(latency=(LatencyGoal(max_ms=11),)))
    assert bench.stages == ["Fetch", "Lookup", "Parity", "Speed", "Gate", "Done"]
    assert bench.device.builds == 1
    assert [gate.metric for gate in again.gates] == ["maxRelativeError", "p99Ms[batch=1]"]


@pytest.mark.parametrize(
    "changed",
    [
        {"multiprocessors": 40},
        {"tensorrt": "11.3.0.1"},
        {"cuda": "13.1"},
        {"product": "NVIDIA L4 MIG 1g.6gb"},
        {"compute_capability": "9.0"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_an_engine_is_bound_to_is_in_its_key(bench: Bench, changed: dict[str, Any]) -> None:
    bench.run()
    bench.device.target = TARGET.model_copy(update=changed)
    bench.run(passed_gate_keys=("c" * 32,))
    assert bench.device.builds == 2
    assert len(bench.published) == 3


OTHER_OPTIONS = OPTIONS.model_copy(update={"workspace_bytes": 1024})


def test_an_engine_begins_with_the_timings_of_the_one_before(bench: Bench) -> None:
    bench.run()
    first = bench.timings_report()
    assert (first.taken_bytes, first.left_bytes > 0, first.trouble) == (0, True, ())
    bench.run(options=OTHER_OPTIONS)
    second = bench.timings_report(OTHER_OPTIONS)
    assert (second.taken_bytes, second.left_bytes, second.trouble) == (first.left_bytes, first.left_bytes, ())
    assert bench.device.timed == [bench.device.timed[0], 0]
    assert len(bench.timings) == 1
    assert f"and {first.left_bytes} B of earlier timings" in bench.out.getvalue()


def test_another_target_has_timings_of_its_own(bench: Bench) -> None:
    bench.run()
    bench.device.target = TARGET.model_copy(update={"cuda": "13.1"})
    bench.run()
    assert bench.device.timed[0] == bench.device.timed[1] > 0
    assert len(bench.timings) == 2


def test_an_engine_that_fails_its_proof_leaves_its_timings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeDevice(distorts=worse))
    bench.prepare()
    with pytest.raises(ConversionFailure):
        bench.run()
    bench.device.distorts = lambda outputs: outputs
    bench.run()
    assert bench.device.timed[1] == 0


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def foreign(path: Path) -> None:
    """Longer than what the build leaves, and of another device."""
    other = TARGET.model_copy(update={"cuda": "12.9"}).model_dump()
    content = json.dumps({"of": other, "kernels": [str(number) for number in range(999)]}).encode()
    path.write_bytes(f"{sha256_of(content)}\n".encode() + content)


def too_large(path: Path) -> None:
    os.truncate(path, MAX_CACHE_BYTES + 1)


@pytest.mark.parametrize(
    ("harm", "words"),
    [(damaged, "not what was written"), (foreign, "TensorRT refused"), (too_large, "ArtifactCorrupt")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_timings_that_cannot_be_used_cost_time_alone(bench: Bench, harm: Callable[[Path], None], words: str) -> None:
    bench.run()
    (path,) = bench.timings
    harm(path)
    bench.run(options=OTHER_OPTIONS)
    told = bench.timings_report(OTHER_OPTIONS)
    assert (told.taken_bytes, len(told.trouble)) == (0, 1)
    assert words in told.trouble[0]
    assert bench.device.timed[1] == bench.device.timed[0]
    bench.run(options=OPTIONS.model_copy(update={"workspace_bytes": 2048}))
    assert bench.device.timed[2] == 0, "they were replaced"


@dataclass(frozen=True)
class RacingStore(FolderStore):
    """A store in which another Job publishes the same key just before us, with other bytes."""

    rivals_model: bytes = b""

    def publish_files(self, name: str, files: Mapping[str, Path], work: Path) -> StoredFiles:
        rival = self.root.parent / "rival"
        if not rival.exists():
            rival.mkdir()
            document = json.loads(files["model.plan"].read_bytes())
            plan = rival / "model.plan"
            plan.write_text(json.dumps({**document, "model": base64.b64encode(self.rivals_model).decode()}))
            report = FullReport.model_validate_json(files["report.json"].read_bytes())
            theirs = rival / "report.json"
            theirs.write_text(report.model_copy(update={"model_digest": sha256_of_file(plan)}).to_json())
            super().publish_files(name, {**files, "model.plan": plan, "report.json": theirs}, rival)
        return super().publish_files(name, files, work)


def race(bench: Bench, rivals: onnx.ModelProto) -> ReportSummary:
    journal = Journal(io.StringIO(), lambda: datetime(2026, 1, 1, tzinfo=UTC))
    work = bench.folder / "racing"
    work.mkdir()
    store = RacingStore(bench.folder / "store", rivals_model=tiny_models.to_bytes(rivals))
    return build(BuildJob(request(), work, environment_from({}), store, bench.device, journal, 1, (), stepping_clock()))


def test_another_jobs_engine_is_taken_where_it_was_first(bench: Bench) -> None:
    summary = race(bench, tiny_models.classifier(opset=18))
    assert summary.cached
    assert summary.artifact is not None
    assert summary.artifact.model_digest == sha256_of_file(bench.folder / "rival" / "model.plan")
    assert [gate.passed for gate in summary.gates] == [True]


def test_another_jobs_engine_is_judged_too(bench: Bench) -> None:
    with pytest.raises(ConversionFailure) as refusal:
        race(bench, tiny_models.classifier(tiny_models.weights(seed=2)))
    assert refusal.value.reason == Reason.PARITY_FAILED


def worse(outputs: Outputs) -> Outputs:
    return {name: array + np.float32(0.5) for name, array in outputs.items()}


def broken(outputs: Outputs) -> Outputs:
    return {name: np.full_like(array, np.nan) for name, array in outputs.items()}


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], Reason, str]] = {
    "silent FP32": (
        {"shows": Precision.FP32},
        {},
        Reason.PRECISION_NOT_REACHED,
        "fp16 was promised, but tensorrt 11.2.1.2 ran only 0%",
    ),
    "other results": ({"distorts": worse}, {}, Reason.PARITY_FAILED, "maxRelativeError"),
    "NaN": ({"distorts": broken}, {}, Reason.PARITY_FAILED, "holds NaN or infinity"),
    "too slow": ({}, {"gates": limits(latency=(LatencyGoal(max_ms=9),))}, Reason.SPEED_GATE_FAILED, "p99Ms[batch=1]"),
    "too few per second": (
        {},
        {"gates": limits(throughput=(ThroughputGoal(batch=4, min_per_second=401),))},
        Reason.SPEED_GATE_FAILED,
        "perSecond[batch=4]",
    ),
    "a batch that it does not take": (
        {},
        {"gates": limits(latency=(LatencyGoal(batch=8, max_ms=1000),))},
        Reason.SPEED_GATE_FAILED,
        "p99Ms[batch=8] was not measured",
    ),
    "too large": (
        {},
        {"gates": limits(max_memory_bytes=1024)},
        Reason.SPEED_GATE_FAILED,
        "measured on NVIDIA L4; nothing was published: name a faster product in accelerators",
    ),
    "no such artifact": ({}, {"prepare_key": "f" * 32}, Reason.ARTIFACT_MISSING, "artifact-" + "f" * 32),
}


@pytest.mark.parametrize(("device", "asked", "reason", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_is_not_proven_is_not_published(
    tmp_path: Path, device: dict[str, Any], asked: dict[str, Any], reason: Reason, words: str
) -> None:
    bench = Bench(tmp_path, FakeDevice(**{"shows": Precision.FP16, **device}))
    bench.prepare(precision=Precision.FP16)
    with pytest.raises(ConversionFailure) as refusal:
        bench.run(**asked)
    assert refusal.value.reason == reason
    assert words in refusal.value.message
    assert bench.published == [f"prepare-{PREPARE_KEY}"]


def test_a_free_axis_needs_a_range(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"], name="relu")
    shapes: dict[str, list[int | str]] = {"x": ["batch", "length"]}
    model = tiny_models.model_of([node], {}, inputs=shapes, outputs={"y": shapes["x"]})
    bench = Bench(tmp_path, model=tiny_models.to_bytes(model))
    bench.prepare()
    with pytest.raises(ConversionFailure) as refusal:
        bench.run()
    assert refusal.value.reason == Reason.BAD_REQUEST
    assert "conversion.dynamicShapes" in refusal.value.message


def free_length(folder: Path, length: int) -> tuple[Bench, dict[str, Any]]:
    """A network that takes any length, and a request for an engine of 2 to 8 with samples of this length."""
    node = onnx.helper.make_node("Relu", ["x"], ["y"], name="relu")
    shapes: dict[str, list[int | str]] = {"x": ["batch", "length"]}
    model = tiny_models.model_of([node], {}, inputs=shapes, outputs={"y": shapes["x"]})
    bench = Bench(folder, model=tiny_models.to_bytes(model))
    bench.prepare()
    path = folder / "eval.npz"
    arrays: dict[str, Any] = {"input:x": np.ones((3, length), np.float32)}
    np.savez(path, **arrays)
    axis = DynamicAxis(input="x", axis=1, range=ShapeRange(min=2, opt=4, max=8))
    options = OPTIONS.model_copy(update={"dynamic_shapes": (axis,)})
    return bench, {"options": options, "gates": GatesRequest(parity=ParityRequest(dataset_uri=path.as_uri()))}


def test_samples_of_the_longest_length_are_judged(tmp_path: Path) -> None:
    bench, asked = free_length(tmp_path, 8)
    assert bench.run(**asked).gates[0].samples >= 3


def test_samples_outside_of_the_ranges_are_no_refusal_of_the_engine(tmp_path: Path) -> None:
    bench, asked = free_length(tmp_path, 9)
    with pytest.raises(ConversionFailure, match=r"samples of shape \[9\] for input 'x'.* widen") as refusal:
        bench.run(**asked)
    assert refusal.value.reason == Reason.BAD_REQUEST


def test_the_tasks_images_need_not_be_the_most_usual_ones(tmp_path: Path) -> None:
    """The engine is fastest at 16 x 16 and takes 8 to 32; the task serves 24 x 24."""
    bench = Bench(tmp_path, model=tiny_models.to_bytes(tiny_models.of_pictures("side")))
    bench.prepare()
    sides = ShapeRange(min=8, opt=16, max=32)
    axes = tuple(DynamicAxis(input="images", axis=axis, range=sides) for axis in (2, 3))
    task = image_task(decoder="Softmax", height="24", width="24")
    summary = bench.run(options=OPTIONS.model_copy(update={"dynamic_shapes": axes}), task=task)
    assert [gate.passed for gate in summary.gates] == [True]
    assert bench.stages == BUILT


def dataset(folder: Path, labels: list[int]) -> str:
    path = folder / "eval.npz"
    x = np.random.default_rng(5).random((len(labels), tiny_models.FEATURES), dtype=np.float32)
    arrays: dict[str, Any] = {"input:x": x, "label": np.array(labels, np.int64)}
    np.savez(path, **arrays)
    return path.as_uri()


@pytest.mark.parametrize(("source_value", "passes"), [(1.0, False), (None, True)], ids=["known", "not known"])
def test_a_loss_counts_from_the_model_as_it_came(tmp_path: Path, source_value: float | None, passes: bool) -> None:
    """The artifact answers as the engine does, so beside it nothing is lost; the source had every label right."""
    uri = dataset(tmp_path, [0, 1, 2, 0, 1, 2, 0, 1])
    bench = Bench(tmp_path)
    gates: tuple[GateResult, ...] = ()
    if source_value is not None:
        gates = (
            GateResult(
                metric="top1",
                goal=Goal.MAX_DEGRADATION,
                limit=0.01,
                value=0.9,
                source_value=1.0,
                passed=True,
                samples=8,
            ),
        )
    bench.prepare(gates=gates, dataset_digest=sha256_of_file(tmp_path / "eval.npz"))
    goal = MetricGoal(name="top1", goal=Goal.MAX_DEGRADATION, value=0.01)
    asked = GatesRequest(parity=ParityRequest(dataset_uri=uri, metrics=(goal,)), accelerated=True)
    if passes:
        (gate,) = bench.run(gates=asked).gates
        assert gate.value == gate.source_value
        return
    with pytest.raises(ConversionFailure) as refusal:
        bench.run(gates=asked)
    assert refusal.value.reason == Reason.GATE_FAILED
    assert refusal.value.gates[0].source_value == 1.0


@pytest.mark.parametrize(
    ("goal", "same_data", "refused"),
    [(Goal.MAX_DEGRADATION, False, True), (Goal.MAX_DEGRADATION, True, False), (Goal.THRESHOLD, False, False)],
    ids=["other data", "same data", "threshold"],
)
def test_what_pruning_cost_is_not_allowed_twice(tmp_path: Path, goal: Goal, same_data: bool, refused: bool) -> None:
    uri = dataset(tmp_path, [0, 1, 2, 0, 1, 2, 0, 1])
    digest = sha256_of_file(tmp_path / "eval.npz") if same_data else "sha256:" + "d" * 64
    known = GateResult(metric="top1", goal=goal, limit=0.01, value=0.0, source_value=0.0, passed=True, samples=8)
    bench = Bench(tmp_path)
    bench.prepare(
        pruning=PruningPattern.TWO_OF_FOUR, gates=(known,), dataset_uri="s3://data/first", dataset_digest=digest
    )
    asked = MetricGoal(name="top1", goal=goal, value=0.0)
    gates = GatesRequest(parity=ParityRequest(dataset_uri=uri, metrics=(asked,)), accelerated=True)
    if not refused:
        (gate,) = bench.run(gates=gates).gates
        assert gate.passed
        return
    with pytest.raises(ConversionFailure, match="give the goal as a threshold") as refusal:
        bench.run(gates=gates)
    assert refusal.value.reason == Reason.METRIC_NOT_APPLICABLE
    assert f"was judged on s3://data/first ({digest})" in refusal.value.message
    assert bench.published == [f"prepare-{PREPARE_KEY}"]


def test_the_report_names_the_data_that_judged_the_engine(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    of_artifact = DataFinding(
        check="imbalance", dataset="s3://data/first", severity="warn", message="of the artifact's"
    )
    bench.prepare(dataset_uri="s3://data/first", dataset_digest="sha256:" + "d" * 64, data=(of_artifact,))
    uri = dataset(tmp_path, [0, 1, 2, 0, 1, 2, 0, 1])
    bench.run(gates=GatesRequest(parity=ParityRequest(dataset_uri=uri), accelerated=True))
    found = find_engine(bench.store, KEY, bench.folder / "found")
    assert found is not None
    report = found.report
    assert (report.dataset_uri, report.dataset_digest) == (uri, sha256_of_file(tmp_path / "eval.npz"))
    assert of_artifact not in report.data


def test_without_a_dataset_the_report_names_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.prepare(dataset_uri="s3://data/first", dataset_digest="sha256:" + "d" * 64)
    bench.run(samples=CalibrationOptions(dataset_uri=dataset(bench.folder, [0, 1, 2]), samples=3))
    found = find_engine(bench.store, KEY, bench.folder / "found")
    assert found is not None
    assert (found.report.dataset_uri, found.report.dataset_digest) == (None, None)


def test_without_a_dataset_the_calibration_samples_judge(bench: Bench) -> None:
    uri = dataset(bench.folder, [0, 1, 2, 0, 1, 2, 0, 1])
    goal = MetricGoal(name="top1Agreement", goal=Goal.THRESHOLD, value=0.99)
    asked = GatesRequest(parity=ParityRequest(metrics=(goal,)), accelerated=True)
    (gate,) = bench.run(gates=asked, samples=CalibrationOptions(dataset_uri=uri, samples=6)).gates
    assert (gate.metric, gate.value, gate.samples) == ("top1Agreement", 1.0, 6)


def test_the_largest_summary_fits_into_the_message(bench: Bench) -> None:
    """Tensors of 1536 bytes are the most that an artifact may have."""
    summary = bench.run()
    assert summary.artifact is not None
    assert (summary.artifact.inputs, summary.artifact.outputs) == ((), ())
    (gate,) = summary.gates
    many = summary.model_copy(update={"gates": (gate,) * 32})
    assert ReportSummary.model_validate_json(termination_message(many)).engine == summary.engine


@pytest.mark.parametrize(("count", "pieces"), [(1, [1]), (4, [4]), (5, [4, 1]), (9, [4, 4, 1])])
def test_large_batches_run_in_pieces(count: int, pieces: list[int]) -> None:
    seen: list[int] = []

    class Loaded:
        device_memory_bytes = 0

        def run(self, inputs: Tensors) -> Outputs:
            seen.append(len(inputs["x"]))
            return {"y": inputs["x"] * 2}

    x = np.arange(count, dtype=np.float32)
    np.testing.assert_array_equal(within_batches(Loaded(), 4)({"x": x})["y"], x * 2)
    assert seen == pieces


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="this machine has what is missing here")
def test_without_tensorrt_the_job_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(request().to_json())
    left = tmp_path / "message"
    arguments = ["--request", str(tmp_path / "request.json"), "--work", str(tmp_path / "work")]
    code = main(["build", *arguments, "--termination-message", str(left)])
    summary = ReportSummary.model_validate_json(left.read_text())
    assert code == ExitCode.RUNTIME_MISSING
    assert summary.failure is not None
    assert (summary.failure.reason, summary.gate_key) == (Reason.TENSORRT_MISSING, "c" * 32)
    assert "TensorRT converter image" in summary.failure.message
