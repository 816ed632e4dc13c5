"""Raw scores of one image to the best classes: a fixed number of rows, so that answers batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_pipeline.decoders import Arrays
from visionmodel_pipeline.labels import name_of
from visionmodel_pipeline.settings import ClassificationSettings

SCORES: Final = "scores"
"""The output that every decoder here reads, [classes]."""


@dataclass(frozen=True)
class Classes:
    """One image's answer, best first; rows beyond the classes that were kept are zeros and empty names.

    Attributes:
        scores: [K], shares between 0 and 1.
        labels: [K], names in UTF-8.
    """

    scores: NDArray[np.float32]
    labels: NDArray[Any]


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return exp(s) / sum(exp(s)) over the last axis, in float64."""
    wide = scores.astype(np.float64)
    # the largest is subtracted, or exp overflows
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _as_they_are(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities, of which several may be high where the classes do not exclude each other."""
    return np.asarray(np.clip(scores.astype(np.float64), 0, 1))


CLASSIFIERS: Final[Mapping[str, Callable[[NDArray[Any]], NDArray[np.float64]]]] = {
    "Softmax": softmax,
    "Probabilities": _as_they_are,
}
"""From raw scores to shares, by the decoder's name."""


def ranked(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the `count` best classes of each row [..., classes], best first; of equal ones the lower number."""
    return np.asarray(np.argsort(-scores.astype(np.float64), axis=-1, kind="stable")[..., :count], np.int64)


def classify(outputs: Arrays, settings: ClassificationSettings) -> Classes:
    """Return the best classes of one image; a class whose score is no number is dropped.

    Args:
        outputs: the network's raw `scores` [classes], without batch axis.
        settings: decoder, rows, threshold, labels.
    """
    shares = CLASSIFIERS[settings.decoder](outputs[SCORES])
    best = ranked(shares, settings.top_k)
    kept = best[shares[best] >= settings.score_threshold]
    answer = Classes(np.zeros(settings.top_k, np.float32), np.full(settings.top_k, b"", dtype=np.object_))
    answer.scores[: len(kept)] = shares[kept]
    answer.labels[: len(kept)] = [name_of(int(number), settings.labels) for number in kept]
    return answer
