"""Non-maximum suppression, class by class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionmodel_pipeline.decoders import Candidates


def kept_indices(candidates: Candidates, iou_threshold: float, limit: int) -> NDArray[np.intp]:
    """Return the indices of at most `limit` candidates, best first.

    Greedy: a candidate goes when a better one of its own class overlaps it by more than `iou_threshold`. Among equal
    scores the earlier index is better, so the result never depends on the machine.
    """
    order = np.argsort(-candidates.scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < limit:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        rival = candidates.classes[rest] == candidates.classes[best]
        near = overlaps(candidates.boxes[best], candidates.boxes[rest]) > iou_threshold
        order = rest[~(rival & near)]
    return np.asarray(kept, dtype=np.intp)


def overlaps(box: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return the intersection over union of a box [4] with each of the others [n, 4]; 0 where both are empty."""
    corner = np.maximum(box[:2], others[:, :2])
    opposite = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=1)
    area = np.prod(np.clip(box[2:] - box[:2], 0, None))
    areas = np.prod(np.clip(others[:, 2:] - others[:, :2], 0, None), axis=1)
    union = area + areas - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(union), where=union > 0), dtype=np.float64)
