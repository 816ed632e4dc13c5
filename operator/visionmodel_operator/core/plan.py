"""From the user's steps to the frozen plan of a rollout, and what a plan says at one of its steps. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import BlueGreen, CanaryScale, HeaderMatch, Rollout, Step, Strategy
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.blue_green import blue_green_plan
from visionmodel_operator.core.weights import TRACE, WHOLE, canary_replicas, ppm_from_percent


def plan_of(rollout: Rollout) -> tuple[PlanStep, ...]:
    """Return the steps that a rollout would take, whatever its strategy."""
    match rollout.strategy:
        case Strategy.CANARY:
            return plan_from_steps(rollout.steps)
        case Strategy.BLUE_GREEN:
            return blue_green_plan(rollout.blue_green or BlueGreen())
        case _:
            assert_never(rollout.strategy)


def plan_from_steps(steps: Sequence[Step]) -> tuple[PlanStep, ...]:
    """Return the observed steps: each weight with the pauses that follow it as its shortest time.

    A pause without a duration makes the step end by promotion only. A leading pause is a step at weight 0. A
    weight of 0 after a larger one keeps a trace, and 100 leaves a trace to stable. A header route or a scale of
    the canary is in force from the next weight or pause on, which is the step that brings it.
    """
    draft = _Draft()
    for step in steps:
        if step.set_weight is not None:
            draft.add(_planned_ppm(step.set_weight, draft.plan))
        elif step.set_header_route is not None:
            draft.headers = list(step.set_header_route.match)
        elif step.set_canary_scale is not None:
            draft.scale = step.set_canary_scale
        elif step.pause is not None:
            draft.wait(step.pause.duration)
    draft.settle()
    return tuple(draft.plan)


@dataclass
class _Draft:
    """A plan as far as it was read.

    Attributes:
        headers: of a header route that no step has brought yet.
        scale: of the canary, from here on.
    """

    plan: list[PlanStep] = field(default_factory=list)
    headers: list[HeaderMatch] | None = None
    scale: CanaryScale | None = None

    def add(self, weight_ppm: int) -> None:
        """Begin a step at a weight; it brings what was set since the one before."""
        step = PlanStep(weight_ppm=weight_ppm, min_seconds=0.0, headers=self.headers, **self._scaled())
        self.headers = None
        self.plan.append(step)

    def settle(self) -> None:
        """Begin a step at the weight at hand where something was set that no step brings."""
        if self.headers is not None or (self.plan and self._scaled() != _scale_of(self.plan[-1])):
            self.add(self.plan[-1].weight_ppm if self.plan else 0)

    def wait(self, duration: str | None) -> None:
        """Lengthen the step at hand."""
        self.settle()
        if not self.plan:
            self.add(0)
        waited = self.plan[-1].min_seconds
        longer = None if duration is None or waited is None else waited + duration_seconds(duration)
        self.plan[-1] = self.plan[-1].model_copy(update={"min_seconds": longer})

    def _scaled(self) -> dict[str, int]:
        if self.scale is None or self.scale.match_traffic_weight:
            return {}
        if self.scale.replicas is not None:
            return {"replicas": self.scale.replicas}
        return {"scale_ppm": ppm_from_percent(self.scale.weight or 0.0)}


def _scale_of(step: PlanStep) -> dict[str, int]:
    scale = {"replicas": step.replicas, "scale_ppm": step.scale_ppm}
    return {name: value for name, value in scale.items() if value is not None}


def _planned_ppm(percent: float, earlier: Sequence[PlanStep]) -> int:
    ppm = min(ppm_from_percent(percent), WHOLE - TRACE)
    had_traffic = any(step.weight_ppm > 0 for step in earlier)
    return max(ppm, TRACE) if percent > 0 or had_traffic else 0


def planned_replicas(full: int, step: PlanStep) -> int:
    """Return the canary's pods in a step, `full` being those of a revision with all traffic; at least one."""
    if step.replicas is not None:
        return max(1, step.replicas)
    return canary_replicas(full, step.weight_ppm if step.scale_ppm is None else step.scale_ppm)


def sets_scale(plan: Sequence[PlanStep]) -> bool:
    """Return whether the canary's pods follow the plan, also down, and not its traffic alone."""
    return any(_scale_of(step) for step in plan)


def headers_at(plan: Sequence[PlanStep], step: int) -> tuple[HeaderMatch, ...]:
    """Return the headers by which requests reach the canary in a step: what the last step that set any set."""
    given = [earlier.headers for earlier in plan[: step + 1] if earlier.headers is not None]
    return tuple(given[-1]) if given else ()
