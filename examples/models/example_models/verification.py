"""What each written file really does, measured with ONNX Runtime; a shortfall is an error.

The training code could be wrong in a way that its own forward pass shares. So the files are
judged as a stranger would judge them: load, run, compare with the labels.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from example_models import shapes
from example_models.average_precision import map50
from example_models.classifier import top1
from example_models.export import INPUT
from example_models.families import BANDS, SEED, Family, NotAsPromisedError

TRAFFIC_COUNT = 400


@dataclass(frozen=True)
class FileFacts:
    """One line of models.json."""

    file: str
    sha256: str
    bytes: int
    metric: str
    value: float


def verified_files(folder: Path, family: Family) -> list[dict[str, str | int | float]]:
    """Facts about each model of a family, all promises kept; `folder` holds the version folders."""
    evaluation = np.load(folder / "evaluation.npz")
    facts = []
    for name, band in BANDS.items():
        if not name.startswith(f"{family}/"):
            continue
        path = folder / name.removeprefix(f"{family}/") / "model.onnx"
        value = metric_of(path, evaluation)
        if not band.low <= value <= band.high:
            raise NotAsPromisedError(
                f"{name}: {band.metric} is {value:.4f}, wanted {band.low} to {band.high}. "
                "Train longer or change the seed in example_models/recipe.py."
            )
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        facts.append(FileFacts(f"{name}/model.onnx", digest, len(content), band.metric, round(value, 4)))
    if family == "shapes":
        _check_variants(folder, evaluation[f"input:{INPUT}"])
    return [asdict(fact) for fact in facts]


def metric_of(path: Path, evaluation: "np.lib.npyio.NpzFile") -> float:
    """The metric its labels call for: top1 with `label`, map50 with `gt_boxes`."""
    outputs = run(session(path), evaluation[f"input:{INPUT}"])
    if "label" in evaluation:
        return top1(outputs[0], evaluation["label"])
    return map50(outputs[0], outputs[1], evaluation["gt_boxes"], evaluation["gt_labels"])


def session(path: Path) -> ort.InferenceSession:
    """A CPU session on one thread that keeps its warnings to itself."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(of: ort.InferenceSession, images: shapes.Pixels) -> list[NDArray[np.float32]]:
    """All outputs for a batch, in the model's order."""
    outputs: list[NDArray[np.float32]] = of.run(None, {INPUT: images})
    return outputs


def fails_on(of: ort.InferenceSession, image: shapes.Pixels) -> bool:
    """Whether a single request is refused by the runtime."""
    try:
        run(of, image[None])
    except ort.capi.onnxruntime_pybind11_state.InvalidArgument:
        return True
    return False


def _check_variants(folder: Path, images: shapes.Pixels) -> None:
    good = run(session(folder / "v2" / "model.onnx"), images)
    for name in ("v3-failing", "v3-slow"):
        same = run(session(folder / name / "model.onnx"), images)
        if not all(np.array_equal(a, b) for a, b in zip(good, same, strict=True)):
            raise NotAsPromisedError(f"shapes/{name} does not answer exactly as v2 does")
    traffic = shapes.traffic_images(SEED, TRAFFIC_COUNT)
    failing = session(folder / "v3-failing" / "model.onnx")
    failed = np.array([fails_on(failing, image) for image in traffic])
    if not np.array_equal(failed, shapes.is_bright(traffic)):
        raise NotAsPromisedError("shapes/v3-failing must fail on bright images and on no others")
