"""Raw outputs to detections: decoders by name, suppression, fixed rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_pipeline.decoders import DECODERS, Candidates
from visionmodel_pipeline.detections import detect
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.settings import DetectionSettings
from visionmodel_pipeline.suppression import kept_indices, overlaps

SAME = Geometry(1, 1, 0, 0, 100, 100)
LABELS = ("cat", "dog")
OUTPUTS: Mapping[str, Mapping[str, Any]] = {
    "Grid": {"boxes": [[10, 20, 30, 60], [0, 0, 5, 5]], "scores": [[0.2, 0.9], [0.1, 0.1]]},
    "Triple": {"boxes": [[0, 0, 5, 5], [10, 20, 30, 60]], "scores": [0.1, 0.9], "labels": [0, 1]},
    "YOLOv8": {"predictions": [[20, 2], [40, 2], [20, 5], [40, 5], [0.2, 0.1], [0.9, 0.1]]},
}


def arrays(raw: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array(value, np.int64 if name == "labels" else np.float32) for name, value in raw.items()}


def test_every_decoder_is_tested() -> None:
    assert OUTPUTS.keys() == DECODERS.keys()
    assert {name: set(decoder.outputs) for name, decoder in DECODERS.items()} == {
        name: set(raw) for name, raw in OUTPUTS.items()
    }


@pytest.mark.parametrize("decoder", OUTPUTS)
def test_decoders_agree_on_one_object(decoder: str) -> None:
    found = detect(arrays(OUTPUTS[decoder]), SAME, DetectionSettings(decoder, max_detections=3, labels=LABELS))
    assert (found.count, found.labels.tolist()) == (1, [b"dog", b"", b""])
    np.testing.assert_allclose(found.boxes, [[10, 20, 30, 60], [0] * 4, [0] * 4], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0, 0], atol=1e-6)
    assert [one.dtype.name for one in (found.boxes, found.scores)] == ["float32", "float32"]


@pytest.mark.parametrize(
    ("boxes", "scores", "expected"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([[0, 0, 10, 10]] * 2, [[0.6, 0], [0.9, 0]], [(b"cat", 0.9)], id="same class gives way"),
        pytest.param(
            [[0, 0, 10, 10]] * 2, [[0.6, 0], [0, 0.9]], [(b"dog", 0.9), (b"cat", 0.6)], id="other class stays"
        ),
        pytest.param([[0, 0, 9, 9]], [[0.6, 0.8]], [(b"dog", 0.8), (b"cat", 0.6)], id="two classes of a box"),
        pytest.param([[0, 0, 10, 10]], [[0.29, 0]], [], id="below the threshold"),
        pytest.param([[0, 0, 10, 10]], [[0.3125, 0]], [(b"cat", 0.3125)], id="above the threshold"),
        pytest.param([[120, 0, 130, 10]], [[0.9, 0]], [], id="outside of the image"),
        pytest.param([[5, 5, 5, 9]], [[0.9, 0]], [], id="no area"),
        pytest.param([[np.nan, 0, 9, 9], [0, 0, np.inf, 9]], [[0.9, 0], [0.9, 0]], [], id="not finite"),
        pytest.param([[0, 0, 9, 9]], [[np.nan, 0.5]], [(b"dog", 0.5)], id="NaN is no score"),
    ],
)
def test_grid(boxes: Any, scores: Any, expected: list[tuple[bytes, float]]) -> None:
    raw = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32).reshape(-1, 2),
    }
    found = detect(raw, SAME, DetectionSettings("Grid", labels=LABELS))
    pairs = zip(found.labels[: found.count].tolist(), found.scores[: found.count].tolist(), strict=True)
    assert [(label, round(score, 4)) for label, score in pairs] == expected


def test_best_rows_stay_when_there_are_too_many() -> None:
    boxes = [[x, 0, x + 5, 5] for x in range(0, 60, 10)]
    scores = np.array([[s] for s in (3, 9, 5, 7, 4, 8)], np.float32) / np.float32(10)
    raw = {"boxes": np.array(boxes, np.float32), "scores": scores}
    found = detect(raw, SAME, DetectionSettings("Grid", max_detections=2))
    assert (found.count, found.labels.tolist()) == (2, [b"0", b"0"])
    np.testing.assert_allclose(found.scores, [0.9, 0.8], atol=1e-6)


def test_boxes_are_in_the_source_image_and_inside_it() -> None:
    raw = {"boxes": np.array([[0, 14, 64, 40]], np.float32), "scores": np.array([[0.9]], np.float32)}
    found = detect(raw, Geometry(0.5, 0.5, 0, 16, 128, 64), DetectionSettings("Grid"))
    assert found.boxes[0].tolist() == [0, 0, 128, 48]


@st.composite
def candidates(draw: st.DrawFn) -> Candidates:
    count = draw(st.integers(0, 12))
    corners = st.lists(st.integers(0, 20), min_size=2, max_size=2).map(sorted)
    boxes = [(*draw(corners), *draw(corners)) for _ in range(count)]
    return Candidates(
        np.array([(x1, y1, x2, y2) for x1, x2, y1, y2 in boxes], np.float64).reshape(-1, 4),
        np.array([draw(st.sampled_from([0.1, 0.5, 0.9])) for _ in range(count)], np.float64),
        np.array([draw(st.integers(0, 2)) for _ in range(count)], np.int64),
    )


@given(candidates(), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_suppression(found: Candidates, threshold: float) -> None:
    kept = kept_indices(found, threshold, limit=100).tolist()
    assert found.scores[kept].tolist() == sorted(found.scores[kept].tolist(), reverse=True)

    def beaten(loser: int, winner: int) -> bool:
        if found.classes[loser] != found.classes[winner]:
            return False
        return bool(overlaps(found.boxes[winner], found.boxes[[loser]])[0] > threshold)

    for place, index in enumerate(kept):
        assert not any(beaten(index, better) for better in kept[:place])
    for gone in set(range(len(found.scores))) - set(kept):
        assert any(beaten(gone, better) and found.scores[better] >= found.scores[gone] for better in kept)


@given(candidates(), st.integers(1, 5))
def test_a_limit_cuts_the_end_only(found: Candidates, limit: int) -> None:
    assert kept_indices(found, 0.5, limit).tolist() == kept_indices(found, 0.5, 100).tolist()[:limit]
