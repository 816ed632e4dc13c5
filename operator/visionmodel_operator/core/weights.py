"""From the user's steps to a frozen plan, and from a plan step to weights and replica counts. Pure arithmetic.

Weights are parts per million, because Gateway API weights are integers up to 1,000,000. Neither side of a
split ever jumps between 0 and everything in one write (the gateway would name a backend that it is just
removing): a revision that leaves is first set to one part per million.
"""

from collections.abc import Sequence
from math import ceil

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import Step
from visionmodel_operator.api.status import PlanStep

WHOLE = 1_000_000
TRACE = 1
"""Share of a revision that is leaving or still arriving: it has a cluster in the gateway and hardly any traffic."""


def plan_from_steps(steps: Sequence[Step]) -> tuple[PlanStep, ...]:
    """Return the observed steps: each weight with the pauses that follow it as its shortest time.

    A pause without a duration makes the step end by promotion only. A leading pause is a step at weight 0. A
    weight of 0 after a larger one keeps a trace, and 100 leaves a trace to stable.
    """
    plan: list[PlanStep] = []
    for step in steps:
        if step.set_weight is not None:
            plan.append(PlanStep(weight_ppm=_planned_ppm(step.set_weight, plan), min_seconds=0.0))
            continue
        if not plan:
            plan.append(PlanStep(weight_ppm=0, min_seconds=0.0))
        duration = step.pause.duration if step.pause is not None else None
        waited = plan[-1].min_seconds
        longer = None if duration is None or waited is None else waited + duration_seconds(duration)
        plan[-1] = plan[-1].model_copy(update={"min_seconds": longer})
    return tuple(plan)


def _planned_ppm(percent: float, earlier: Sequence[PlanStep]) -> int:
    ppm = min(round(percent * WHOLE / 100), WHOLE - TRACE)
    had_traffic = any(step.weight_ppm > 0 for step in earlier)
    return max(ppm, TRACE) if percent > 0 or had_traffic else 0


def canary_replicas(full: int, weight_ppm: int) -> int:
    """Return the pods that a canary needs for a share of the traffic: its share of the full scale, at least one."""
    return max(1, min(full, ceil(full * weight_ppm / WHOLE)))


def slots_with(slots: Sequence[str], stable: str | None, candidate: str) -> tuple[str, ...]:
    """Return the backend slots with a place for the candidate: the one it has, or the one stable does not hold.

    The gateway names its counters by slot, so a revision keeps its slot for life.
    """
    if candidate in slots:
        return tuple(slots)
    if stable is None or stable not in slots:
        return (candidate, *slots[1:])
    free = 1 - tuple(slots).index(stable)
    return (candidate, stable) if free == 0 else (stable, candidate)


def weights_with(slots: Sequence[str], candidate: str, weight_ppm: int) -> tuple[int, ...]:
    """Return the weights by slot that give the candidate its share and the other slot the rest."""
    return tuple(weight_ppm if revision == candidate else WHOLE - weight_ppm for revision in slots)


def weight_of(slots: Sequence[str], weights_ppm: Sequence[int], revision: str) -> int:
    """Return the recorded share of a revision in parts per million; 0 when it has no slot."""
    return next((w for r, w in zip(slots, weights_ppm, strict=True) if r == revision), 0)
