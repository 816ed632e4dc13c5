"""What a rollout does about devices, by how many are free: arithmetic on numbers, for the operator and for `plan`.

`full` is the number of pods of a revision with all traffic, `beside` the canary's pods of each accelerator that have
room beside all of stable's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from visionmodel_operator.api.capacity import CapacityChoice, CapacityStatus, WhenFull
from visionmodel_operator.api.spec import Accelerator, Strategy, VisionModelSpec
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.devices import Free, lack_in_words, pods_by_accelerator
from visionmodel_operator.core.plan import planned_replicas
from visionmodel_operator.core.weights import WHOLE

MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class Demand:
    """What a rollout asks for.

    Attributes:
        first: the canary's pods in its first step, or in the one at hand.
    """

    accelerators: tuple[Accelerator, ...]
    full: int
    first: int
    plan: tuple[PlanStep, ...]

    @property
    def largest(self) -> int:
        """Return the canary's pods at its largest: in a step, or promoted."""
        return max(self.full, *(planned_replicas(self.full, step) for step in self.plan), self.first)


def capacity_for(demand: Demand, free: Sequence[Free], obstacle: str | None) -> CapacityStatus:
    """Choose by what is free for each accelerator; `obstacle` says why stable may give no pod, None where it may."""
    beside = tuple(there.devices // one.count for one, there in zip(demand.accelerators, free, strict=True))
    if sum(given_pods(demand.largest, beside)) == 0:
        return _said(CapacityChoice.SURGE, f"Beside stable: {_needs(demand, demand.largest, free)}.")
    if obstacle is None:
        return _shrink(demand, free, beside)
    if sum(given_pods(demand.first, beside)) == 0:
        later = f"The promotion needs {_needs(demand, demand.full, free)}."
        return _said(CapacityChoice.SURGE, f"Beside stable: {_needs(demand, demand.first, free)}. {later}")
    return _said(CapacityChoice.WAIT, f"Needs {_needs(demand, demand.first, free)}. {obstacle}")


def obstacle_in_spec(spec: VisionModelSpec, full: int) -> str | None:
    """Return why stable may give no pod, as far as the spec tells; None where it may."""
    if spec.rollout.when_full is not WhenFull.SHRINK_BY_ONE:
        return "Stable gives no pod (rollout.whenFull: Wait)."
    if spec.rollout.strategy is not Strategy.CANARY:
        return "Stable gives no pod: both revisions of a blue-green rollout are at full scale."
    if full < 2:
        return "Stable has one pod, and gives none."
    if not spec.traffic.gateway_refs:
        return "Stable gives no pod, because nothing splits the traffic."
    return None


def given_pods(pods: int, beside: Sequence[int]) -> tuple[int, ...]:
    """Return how many pods of each accelerator stable gives for so many pods of the canary.

    A device of another product is no use to it, so each accelerator gives for itself.
    """
    wanted = pods_by_accelerator(pods, len(beside))
    return tuple(max(0, mine - there) for mine, there in zip(wanted, beside, strict=True))


def most_pods(full: int, beside: Sequence[int]) -> int:
    """Return the canary's pods when stable is down to its last one; 0 where it has no other to give."""
    return max((pods for pods in range(1, full + 1) if sum(given_pods(pods, beside)) < full), default=0)


def carried_ppm(pods: int, full: int) -> int:
    """Return the share of the traffic for which so many pods are as many as a full revision has for it."""
    return WHOLE * pods // full


def within(step: PlanStep, pods: int, full: int) -> PlanStep:
    """Return the step with no more traffic than so many pods carry, and no more pods."""
    if pods >= full:
        return step
    limits = {"weight_ppm": carried_ppm(pods, full), "scale_ppm": carried_ppm(pods, full), "replicas": pods}
    asked = {name: getattr(step, name) for name in limits}
    return step.model_copy(update={name: min(asked[name], limits[name]) for name in limits if asked[name] is not None})


def _shrink(demand: Demand, free: Sequence[Free], beside: tuple[int, ...]) -> CapacityStatus:
    """Stable gives one pod for the steps, and the rest of them one by one for the promotion."""
    full = demand.full
    pods = max(pods for pods in range(1, full + 1) if sum(given_pods(pods, beside)) <= 1)
    is_capped = any(within(step, pods, full).weight_ppm < step.weight_ppm for step in demand.plan)
    share = f" Weights above {100 * pods / full:.3g} % wait for the promotion." if is_capped else ""
    message = (
        f"Needs {_needs(demand, full, free)}: stable gives one of its {full} pods, and others one at a time when the"
        f" canary is promoted.{share}"
    )
    chosen = _said(CapacityChoice.SHRINK_BY_ONE, message)
    return chosen.model_copy(update={"beside": list(beside), "pods": pods})


def _needs(demand: Demand, pods: int, free: Sequence[Free]) -> str:
    each = pods_by_accelerator(pods, len(demand.accelerators))
    return lack_in_words(demand.accelerators, each, free)


def _said(choice: CapacityChoice, message: str) -> CapacityStatus:
    return CapacityStatus(choice=choice, message=message[:MESSAGE_LIMIT])
