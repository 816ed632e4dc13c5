"""Raw scores to the best classes: shares, order, fixed rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visionmodel_pipeline.answers import answers
from visionmodel_pipeline.classification import CLASSIFIERS, classify, ranked, softmax
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.settings import ClassificationSettings

LABELS = ("cat", "dog", "Bär")
SAME = Geometry(1, 1, 0, 0, 9, 9)
LOGITS = st.integers(1, 12).flatmap(
    lambda size: arrays(np.float32, size, elements=st.floats(-(2.0**99), 2.0**99, width=32))
)


def f32(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("decoder", "raw", "fields", "expected"),
    [
        pytest.param(
            "Softmax", (0.0, np.log(3), 0.0), {}, [(b"dog", 0.6), (b"cat", 0.2), (b"B\xc3\xa4r", 0.2)], id="all"
        ),
        pytest.param("Softmax", (1e4, 0, -1e4), {"top_k": 1}, [(b"cat", 1.0)], id="far apart"),
        pytest.param(
            "Softmax", (0.0, 0.0), {"score_threshold": 0.5}, [(b"cat", 0.5), (b"dog", 0.5)], id="at threshold"
        ),
        pytest.param("Softmax", (0.0, 0.0), {"score_threshold": 0.51}, [], id="below threshold"),
        pytest.param(
            "Probabilities", (0.9, 0.1, 0.8), {"score_threshold": 0.5}, [(b"cat", 0.9), (b"B\xc3\xa4r", 0.8)], id="two"
        ),
        pytest.param("Probabilities", (1.001, -0.001), {}, [(b"cat", 1.0), (b"dog", 0.0)], id="rounded beyond"),
        pytest.param("Probabilities", (np.nan, 0.5), {}, [(b"dog", 0.5)], id="NaN is no score"),
        pytest.param("Softmax", (np.nan, 0.5), {}, [], id="NaN spoils a softmax"),
        pytest.param("Probabilities", (0.1,) * 3 + (0.7,), {"top_k": 1}, [(b"3", 0.7)], id="a class without a name"),
    ],
)
def test_classes(
    decoder: str, raw: tuple[float, ...], fields: dict[str, Any], expected: list[tuple[bytes, float]]
) -> None:
    settings = ClassificationSettings(decoder, **{"top_k": 4, "labels": LABELS, **fields})
    found = classify({"scores": f32(*raw)}, settings)
    rest = settings.top_k - len(expected)
    assert found.labels.tolist() == [label for label, _ in expected] + [b""] * rest
    np.testing.assert_allclose(found.scores, [score for _, score in expected] + [0] * rest, atol=1e-6)
    assert found.scores.dtype == np.float32


@given(LOGITS)
def test_a_softmax_is_shares_in_the_order_of_the_scores(scores: np.ndarray[Any, Any]) -> None:
    shares = softmax(scores)
    assert shares.sum() == pytest.approx(1)
    assert ((shares >= 0) & (shares <= 1)).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(shares[order]) >= 0).all()


@given(LOGITS, st.floats(-100, 100))
def test_a_softmax_does_not_see_a_shift(scores: np.ndarray[Any, Any], shift: float) -> None:
    small = np.clip(scores, -50, 50).astype(np.float64)
    np.testing.assert_allclose(softmax(small + shift), softmax(small), atol=1e-9)


@given(LOGITS, st.sampled_from(sorted(CLASSIFIERS)), st.integers(1, 15), st.floats(0, 1))
def test_rows_are_best_first_and_then_empty(
    scores: np.ndarray[Any, Any], decoder: str, rows: int, threshold: float
) -> None:
    found = classify({"scores": scores}, ClassificationSettings(decoder, rows, threshold))
    kept = [label for label in found.labels.tolist() if label]
    assert found.scores.shape == found.labels.shape == (rows,)
    assert len(kept) <= min(rows, len(scores))
    assert len(set(kept)) == len(kept)
    assert found.labels.tolist() == kept + [b""] * (rows - len(kept))
    assert not found.scores[len(kept) :].any()
    assert (np.diff(found.scores) <= 0).all()
    shares = CLASSIFIERS[decoder](scores)
    assert [np.float32(shares[int(label)]) for label in kept] == found.scores[: len(kept)].tolist()
    assert len(kept) == min(rows, int((shares >= threshold).sum()))


def test_of_equal_scores_the_lower_class_is_better() -> None:
    assert ranked(np.array([[1, 3, 3, 0]], np.float32), 3).tolist() == [[1, 2, 0]]


def test_a_batch_is_answered_image_by_image() -> None:
    found = answers({"scores": np.stack([f32(0, 9), f32(9, 0)])}, [SAME] * 2, ClassificationSettings("Softmax", 1))
    assert found.keys() == {"scores", "labels"}
    assert found["labels"].tolist() == [[b"1"], [b"0"]]
    assert found["scores"].shape == (2, 1)
