"""Archives of images through the gates and through the whole Job, with the trained detector."""

import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from example_models.build import build
from example_models.grid import image_from_pixels
from example_models.shapes import CLASS_NAMES, dataset
from unit.converter.gates.archives import coco, image_task, tar_bytes, zip_bytes
from unit.converter.tiny_models import npz
from visionmodel_contract.conversion import ImageTask, MetricGoal, ParityRequest
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.precision import CalibrationMethod, Goal, Precision
from visionmodel_converter.gates.comparison import Worst
from visionmodel_converter.gates.data_checks import Role, check_samples
from visionmodel_converter.gates.dataset import load_samples
from visionmodel_converter.gates.edge_cases import check_edge_cases
from visionmodel_converter.gates.goals import Measured, goals_of, judge
from visionmodel_converter.gates.images import ImageSamples
from visionmodel_converter.gates.parity import measure
from visionmodel_converter.gates.samples import InputBatches, Samples
from visionmodel_converter.gates.tasks import kind_of
from visionmodel_converter.gates.visual_report import visual_report
from visionmodel_converter.graph.limits import limits_of
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import open_session
from visionmodel_converter.precision.int8 import int8_variants
from visionmodel_converter.precision.layout import Layout

from .conftest import JobRunner

COUNT = 60
ENLARGED = 5
"""Pictures are larger than the network's input, so boxes in the wrong pixels would be off by this factor."""
TASK = image_task(decoder="Grid", labels=CLASS_NAMES, resize="Letterbox", max_bytes="100000000", max_pixels="50000000")
DATA = dataset(np.random.default_rng(11), COUNT, bright_share=0.0)


@pytest.fixture(scope="session")
def trained() -> Path:
    """The cached example models; trained first if this machine never did (about a minute)."""
    return build() / "shapes"


def enlarged(row: int) -> bytes:
    picture = image_from_pixels(DATA.images[row])
    size = (picture.width * ENLARGED, picture.height * ENLARGED)
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def archive_files() -> dict[str, bytes]:
    """The scenes as a COCO dataset in pixels of the enlarged pictures."""
    objects = {}
    for row in range(COUNT):
        boxes = DATA.gt_boxes[row][DATA.gt_labels[row] >= 0] * ENLARGED
        labels = DATA.gt_labels[row][DATA.gt_labels[row] >= 0]
        xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        objects[f"{row:03}.png"] = [(int(label), box.tolist()) for label, box in zip(labels, xywh, strict=True)]
    document = coco(objects, dict(enumerate(CLASS_NAMES)))
    return {"annotations.json": document} | {f"images/{row:03}.png": enlarged(row) for row in range(COUNT)}


def checked(path: Path) -> CheckedModel:
    return load_checked(path, shown=path.name, limits=limits_of(onnxruntime.__version__))


def samples(folder: Path, data: bytes, model: CheckedModel, task: ImageTask | None) -> Samples:
    path = folder / "data"
    path.write_bytes(data)
    return load_samples(path, model.inputs, task=task, shown="data", max_bytes=10**9)


def measured(trained: Path, found: Samples, task: ImageTask | None, worst: Worst | None = None) -> dict[str, Measured]:
    source, artifact = checked(trained / "v2" / "model.onnx"), checked(trained / "v1" / "model.onnx")
    return measure(
        open_session(source.serialized(), shown="v2", threads=1),
        open_session(artifact.serialized(), shown="v1", threads=1),
        found,
        (MetricGoal(name="map50", goal=Goal.THRESHOLD, value=0.5),),
        inputs=source.inputs,
        outputs=source.outputs,
        task=task,
        seed=1,
        worst=worst,
    )


def test_images_and_tensors_of_the_same_scenes_score_alike(trained: Path, tmp_path: Path) -> None:
    """The only difference is 8 bits per channel."""
    model = checked(trained / "v2" / "model.onnx")
    tensors = npz(input_images=DATA.images, gt_boxes=DATA.gt_boxes, gt_labels=DATA.gt_labels)
    of_tensors = measured(trained, samples(tmp_path, tensors, model, None), None)
    of_images = measured(trained, samples(tmp_path, zip_bytes(archive_files()), model, TASK), TASK)
    for name in ("map50", "map50_95", "mapAgreement"):
        assert of_images[name].value == pytest.approx(of_tensors[name].value, abs=0.03)
        assert of_images[name].source_value == pytest.approx(of_tensors[name].source_value, abs=0.03)
    assert of_images["map50"].source_value > of_images["map50"].value > 0.6


def test_worst_images_are_drawn(trained: Path, tmp_path: Path) -> None:
    model = checked(trained / "v2" / "model.onnx")
    found = check_samples(
        samples(tmp_path, tar_bytes(archive_files(), "w:gz"), model, TASK), role=Role.EVALUATION, shown="data"
    )
    assert [finding for finding in found.findings if finding.severity == "refuse"] == []
    worst = Worst(4)
    measured(trained, found.samples, TASK, worst)
    assert isinstance(found.samples, ImageSamples)
    report = visual_report(worst.worst_first(), found.samples.pixels, names=CLASS_NAMES)
    assert report is not None
    assert report.page.count("<figure>") == 4
    distances = [comparison.distance for comparison in worst.worst_first()]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.3


def test_the_detector_bears_every_edge_case(trained: Path) -> None:
    model = checked(trained / "v2" / "model.onnx")
    run = open_session(model.serialized(), shown="v2", threads=1)
    results = check_edge_cases(run, run, inputs=model.inputs, outputs=model.outputs, task=TASK)
    refused = {result.name for result in results if result.outcome == "refused"}
    assert refused == {"truncated", "empty", "no-image"}
    assert {result.name for result in results if result.outcome == "failed"} == set()


@pytest.mark.parametrize(("labelled", "metric"), [(True, "map50"), (False, "mapAgreement")])
def test_int8_calibrated_with_images_meets_its_default_goal(
    trained: Path, tmp_path: Path, labelled: bool, metric: str
) -> None:
    model = checked(trained / "v2" / "model.onnx")
    files = archive_files()
    if not labelled:
        del files["annotations.json"]
    found = samples(tmp_path, zip_bytes(files), model, TASK)
    method = CalibrationMethod.MIN_MAX
    (variant,) = int8_variants(model, InputBatches(found, 16), [method], layout=Layout.CPU, threads=1)
    kind = kind_of(TASK, model.outputs, found.labelled)
    goals = goals_of(ParityRequest(), Precision.INT8, kind, has_labels=kind in found.labelled)
    result = measure(
        open_session(model.serialized(), shown="source", threads=1),
        open_session(variant.model.serialized(), shown="int8", threads=1),
        found,
        goals,
        inputs=model.inputs,
        outputs=model.outputs,
        task=TASK,
        seed=1,
        random_counts=False,
    )
    (gate,) = judge(goals, result)
    assert (gate.metric, gate.passed, gate.samples) == (metric, True, COUNT)
    assert result["maxRelativeError"].value > 1e-2  # which is why no element decides


def test_job_judges_images(job: JobRunner, trained: Path) -> None:
    claim = job.pvc_root / "models"
    claim.mkdir(parents=True)
    (claim / "model.onnx").write_bytes((trained / "v2" / "model.onnx").read_bytes())
    (claim / "set.zip").write_bytes(zip_bytes({**archive_files(), "images/999.png": b"broken"}))
    parity = {
        "datasetUri": "pvc://models/set.zip",
        "metrics": [{"name": "map50", "goal": "threshold", "value": 0.85}],
    }
    task = json.loads(TASK.to_json())
    done = job.run(job.request("pvc://models/model.onnx", parity=parity, task=task))
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert (gate.metric, gate.samples, gate.value) == ("map50", COUNT, gate.source_value)

    artifact = done.summary.artifact
    assert artifact is not None
    out = job.folder / "artifact"
    assert job.fetch_artifact(artifact.image, out) == 0
    report = json.loads((out / "report.json").read_text())
    assert [(finding["check"], finding["samples"]) for finding in report["data"]] == [
        ("unreadable", ["images/999.png"])
    ]
    assert {result["outcome"] for result in report["edgeCases"]} == {"answered", "refused"}


def test_job_refuses_a_hostile_archive(job: JobRunner, trained: Path) -> None:
    claim = job.pvc_root / "models"
    claim.mkdir(parents=True)
    (claim / "model.onnx").write_bytes((trained / "v2" / "model.onnx").read_bytes())
    (claim / "set.zip").write_bytes(zip_bytes({"../../etc/cron.d/job": b"x"}))
    request = job.request(
        "pvc://models/model.onnx",
        parity={"datasetUri": "pvc://models/set.zip"},
        task=json.loads(TASK.to_json()),
    )
    done = job.run(request)
    failure = done.summary.failure
    assert failure is not None
    assert (failure.reason, done.code) == ("DatasetInvalid", ExitCode.DATASET_INVALID)
    assert "'../../etc/cron.d/job' leads out of its folder" in failure.message
    assert job.tags() == []
