"""Every decoder of serving gives the same objects here, in pixels of the source image."""

import numpy as np
import pytest
from numpy.typing import NDArray

from visionmodel_converter.gates.predictions import detections_of, served
from visionmodel_converter.gates.tasks import DetectionPlan
from visionmodel_pipeline.geometry import geometry_of
from visionmodel_pipeline.settings import DetectionSettings

Arrays = dict[str, NDArray[np.float32]]
LETTERBOX = geometry_of("Letterbox", (100, 50), (20, 20))
"""Five times smaller, bars of 5 above and below."""
BOXES = [[0, 5, 10, 15], [10, 5, 20, 15]]
IN_SOURCE = [[0, 0, 50, 50], [50, 0, 100, 50]]


def f32(values: object) -> NDArray[np.float32]:
    return np.array([values], np.float32)


CASES: dict[str, Arrays] = {
    "Grid": {"boxes": f32(BOXES), "scores": f32([[0, 0.9], [0.8, 0.01]])},
    "Triple": {"boxes": f32(BOXES), "scores": f32([0.9, 0.8]), "labels": f32([1, 0])},
    "YOLOv8": {"predictions": f32([[5, 15], [10, 10], [10, 10], [10, 10], [0, 0.8], [0.9, 0.01]])},
}


@pytest.mark.parametrize("decoder", CASES)
def test_decoders(decoder: str) -> None:
    plan = DetectionPlan({name: name for name in CASES[decoder]}, DetectionSettings(decoder, labels=("a", "b")))
    (found,) = detections_of(CASES[decoder], [LETTERBOX], plan)
    assert found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.8])
    np.testing.assert_allclose(found.boxes, IN_SOURCE)


def test_names_of_the_model_need_not_be_the_decoders() -> None:
    plan = DetectionPlan({"predictions": "output0"}, DetectionSettings("YOLOv8"))
    (found,) = detections_of({"output0": CASES["YOLOv8"]["predictions"]}, [LETTERBOX], plan)
    assert len(found) == 2


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.85, 0.95])
@pytest.mark.parametrize("most", [1, 3, 20])
def test_what_serving_answers_does_not_depend_on_how_deep_is_looked(threshold: float, most: int) -> None:
    """Decoded down to the evaluation's threshold and cut, or decoded at serving's own: the same detections."""
    generator = np.random.default_rng(3)
    corner = generator.uniform(0, 14, (40, 2))
    raw = {
        "boxes": f32(np.concatenate([corner, corner + 5], axis=1)),
        "scores": f32(generator.random((40, 2))),
    }
    plan = DetectionPlan(
        {"boxes": "boxes", "scores": "scores"},
        DetectionSettings("Grid", score_threshold=threshold, max_detections=most),
    )
    (deep,) = detections_of(raw, [LETTERBOX], plan)
    answer = served(deep, plan)
    expected = [score for score in deep.scores.tolist() if score >= threshold][:most]
    assert answer.scores.tolist() == expected
    assert len(answer) <= most


def test_serving_answers_at_its_threshold_and_evaluation_looks_deeper() -> None:
    raw = {"boxes": f32([*BOXES, [0, 5, 3, 8]]), "scores": f32([[0.5], [0.499], [0.01]])}
    plan = DetectionPlan({"boxes": "boxes", "scores": "scores"}, DetectionSettings("Grid", score_threshold=0.5))
    (found,) = detections_of(raw, [LETTERBOX], plan)
    assert (len(found), len(served(found, plan))) == (2, 1)
