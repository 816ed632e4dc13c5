"""Which of several precisions is published: the goals refuse, then speed chooses; pure.

From the highest precision down, each candidate that may serve has to be faster than the one chosen so far by the
improvement asked for. So INT8 ships where it beats FP16, and otherwise the sentence says by how much it did not.
"""

import math
from collections.abc import Sequence

from visionmodel_contract.precision import Precision
from visionmodel_contract.report import CandidateResult, SpeedResult


def with_choice(candidates: Sequence[CandidateResult], min_improvement_percent: float) -> tuple[CandidateResult, ...]:
    """Return the candidates with at most one marked as chosen, and a reason for every other.

    None is chosen where each has been refused; the reasons are then the failure's. A refusal that is there stays.
    """
    chosen: int | None = None
    refusals: dict[int, str] = {}
    for index in sorted(range(len(candidates)), key=lambda index: list(Precision).index(candidates[index].precision)):
        candidate = candidates[index]
        if candidate.refused is not None:
            continue
        if chosen is None:
            chosen = index
            continue
        best = candidates[chosen]
        gain = improvement_percent(best.speed, candidate.speed)
        if gain >= min_improvement_percent:
            refusals[chosen] = f"{candidate.precision} is {gain:.1f} % faster and meets every goal too"
            chosen = index
        else:
            refusals[index] = (
                f"{_gain_words(gain)} than {best.precision}; {min_improvement_percent:g} % faster is asked for"
            )
    return tuple(
        candidate.model_copy(update={"chosen": index == chosen, "refused": candidate.refused or refusals.get(index)})
        for index, candidate in enumerate(candidates)
    )


def improvement_percent(slower: Sequence[SpeedResult], faster: Sequence[SpeedResult]) -> float:
    """Return how much less time `faster` takes, in percent; negative where it takes more.

    The geometric mean over the profiles that both have of the ratio of median times, so that no batch size weighs
    more for being slow. NaN without a common profile, which is no improvement.
    """
    before = {result.batch: result.p50_ms for result in slower}
    ratios = [result.p50_ms / before[result.batch] for result in faster if before.get(result.batch, 0.0) > 0.0]
    if not ratios or any(not ratio > 0.0 for ratio in ratios):
        return math.nan
    return 100.0 * (1.0 - math.exp(sum(map(math.log, ratios)) / len(ratios)))


def _gain_words(gain: float) -> str:
    if math.isnan(gain):
        return "not measured to be faster"
    return f"{gain:.1f} % faster" if gain >= 0 else f"{-gain:.1f} % slower"
