"""What is trained, on what and for how long; every such number is here.

A family writes its files into a folder; `build` decides which folder that is and whether it is
needed at all, `families` says how good the result must be.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import onnx
from numpy.typing import NDArray

from example_models import classifier, detector, digits, shapes
from example_models.export import INPUT, classifier_model, detector_model
from example_models.families import SEED, Family, Report
from example_models.network import Parameters, Schedule
from example_models.variants import failing_variant, slow_variant

EVALUATION_COUNT = 300
DIGITS_EVALUATION_COUNT = 1000
CALIBRATION_COUNT = 256
"""Without labels, and drawn as traffic is: scales must hold for what is served."""


# More than in traffic, or the rarer light would be learnt worse.
TRAINING_BRIGHT_SHARE = 0.35
SHAPES_SCHEDULE = Schedule(epochs=10, batch=16, rate=3e-3)
V1_EPOCHS = 2
V4_SCHEDULE = Schedule(epochs=1, batch=16, rate=2e-3)
DIGITS_SCHEDULE = Schedule(epochs=6, batch=32, rate=2e-3)


def write_family(family: Family, folder: Path, report: Report) -> None:
    """Train one family and write its models, its evaluation set and its calibration set below `folder`."""
    match family:
        case "shapes":
            _write_shapes(folder, report)
        case "digits":
            _write_digits(folder, report)
        case _:
            assert_never(family)


def _write_shapes(folder: Path, report: Report) -> None:
    data = shapes.dataset(_rng(0), 3200, bright_share=TRAINING_BRIGHT_SHARE)
    evaluation = shapes.dataset(_rng(1), EVALUATION_COUNT, bright_share=0)
    _write_samples(
        folder, "evaluation", evaluation.images, gt_boxes=evaluation.gt_boxes, gt_labels=evaluation.gt_labels
    )
    _write_samples(folder, "calibration", shapes.dataset(_rng(8), CALIBRATION_COUNT, bright_share=0.2).images)
    states = _epochs(detector.trained(data, SHAPES_SCHEDULE, _rng(2)), report, "shapes v2")
    good = detector_model(states[-1])
    _write_model(folder / "v1", detector_model(states[V1_EPOCHS - 1]))
    _write_model(folder / "v2", good)
    _write_model(folder / "v3-failing", failing_variant(good))
    _write_model(folder / "v3-slow", slow_variant(good))
    mislabelled = shapes.with_shuffled_labels(data, _rng(3))
    broken = _epochs(detector.trained(mislabelled, V4_SCHEDULE, _rng(4)), report, "shapes v4")
    _write_model(folder / "v4", detector_model(broken[-1]))


def _write_digits(folder: Path, report: Report) -> None:
    data = digits.dataset(_rng(5), 12000)
    evaluation = digits.dataset(_rng(6), DIGITS_EVALUATION_COUNT)
    _write_samples(folder, "evaluation", evaluation.images, label=evaluation.labels)
    _write_samples(folder, "calibration", digits.dataset(_rng(9), CALIBRATION_COUNT).images)
    states = _epochs(classifier.trained(data, DIGITS_SCHEDULE, _rng(7)), report, "digits v1")
    _write_model(folder / "v1", classifier_model(states[-1]))


def _epochs(states: Iterable[tuple[Parameters, float]], report: Report, name: str) -> list[Parameters]:
    """All states of a training run: an early one may be wanted as well as the last."""
    kept = []
    for epoch, (parameters, loss) in enumerate(states, start=1):
        report(f"{name}: epoch {epoch}, loss {loss:.3f}")
        kept.append(parameters)
    return kept


def _write_model(folder: Path, model: onnx.ModelProto) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))


def _write_samples(folder: Path, name: str, images: shapes.Pixels, **truth: NDArray[Any]) -> None:
    arrays: dict[str, Any] = {f"input:{INPUT}": images, **truth}
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def _rng(stream: int) -> np.random.Generator:
    """A random source of its own for every use, so that changing one leaves the others alone."""
    return np.random.default_rng([SEED, stream])
