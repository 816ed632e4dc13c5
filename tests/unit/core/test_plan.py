"""From the user's steps to the frozen plan: by table."""

from typing import Any

import pytest

from visionmodel_operator.api.spec import CanaryScale, HeaderMatch, HeaderRoute, Pause, Step
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.plan import headers_at, plan_from_steps, planned_replicas
from visionmodel_operator.core.weights import TRACE, WHOLE

BETA = HeaderMatch.model_validate({"headerName": "x-canary", "headerValue": {"exact": "1"}})


def weight(percent: float) -> Step:
    return Step(set_weight=percent)


def wait(duration: str | None) -> Step:
    return Step(pause=Pause(duration=duration))


PLANS = {
    "empty": ([], ()),
    "weight-and-pause": ([weight(5), wait("5m")], ((50_000, 300.0),)),
    "pauses-add-up": ([weight(5), wait("1m"), wait("30s")], ((50_000, 90.0),)),
    "weight-without-pause": ([weight(5), weight(50)], ((50_000, 0.0), (500_000, 0.0))),
    "until-promoted": ([weight(5), wait(None)], ((50_000, None),)),
    "until-promoted-stays-so": ([weight(5), wait(None), wait("5m")], ((50_000, None),)),
    "timed-then-until-promoted": ([weight(5), wait("5m"), wait(None)], ((50_000, None),)),
    "leading-pause": ([wait("1m"), weight(5)], ((0, 60.0), (50_000, 0.0))),
    "leading-zero": ([weight(0), weight(5)], ((0, 0.0), (50_000, 0.0))),
    "back-to-zero-keeps-a-trace": ([weight(5), weight(0)], ((50_000, 0.0), (TRACE, 0.0))),
    "whole-leaves-a-trace": ([weight(100)], ((WHOLE - TRACE, 0.0),)),
    "less-than-a-trace-is-a-trace": ([weight(0.000001)], ((TRACE, 0.0),)),
    "a-tenth-of-a-percent": ([weight(0.1)], ((1_000, 0.0),)),
    "a-ten-thousandth-of-a-percent": ([weight(0.0001)], ((1, 0.0),)),
    "a-percent-with-decimals": ([weight(0.0625)], ((625, 0.0),)),
}


@pytest.mark.parametrize(("steps", "expected"), PLANS.values(), ids=PLANS.keys())
def test_plan_from_steps(steps: list[Step], expected: tuple[tuple[int, float | None], ...]) -> None:
    assert plan_from_steps(steps) == tuple(PlanStep(weight_ppm=ppm, min_seconds=least) for ppm, least in expected)


def header(*matches: HeaderMatch) -> Step:
    return Step(set_header_route=HeaderRoute(match=list(matches)))


def scale(**amount: Any) -> Step:
    return Step(set_canary_scale=CanaryScale(**amount))


MATCHING = scale(match_traffic_weight=True)
SETTINGS: dict[str, tuple[list[Step], list[dict[str, Any]]]] = {
    "a header comes with the next weight": (
        [header(BETA), weight(5), wait("5m")],
        [{"weight_ppm": 50_000, "min_seconds": 300.0, "headers": [BETA]}],
    ),
    "a header comes with a pause of its own": (
        [header(BETA), wait(None), weight(5)],
        [{"weight_ppm": 0, "headers": [BETA]}, {"weight_ppm": 50_000, "min_seconds": 0.0}],
    ),
    "a header after a weight is a step at that weight": (
        [weight(5), header(BETA), wait("1m")],
        [
            {"weight_ppm": 50_000, "min_seconds": 0.0},
            {"weight_ppm": 50_000, "min_seconds": 60.0, "headers": [BETA]},
        ],
    ),
    "the last header is a step even without a pause": (
        [header(BETA)],
        [{"weight_ppm": 0, "min_seconds": 0.0, "headers": [BETA]}],
    ),
    "headers end": (
        [header(BETA), weight(5), header(), weight(10)],
        [
            {"weight_ppm": 50_000, "min_seconds": 0.0, "headers": [BETA]},
            {"weight_ppm": 100_000, "min_seconds": 0.0, "headers": []},
        ],
    ),
    "a scale stays until the next one": (
        [scale(replicas=3), weight(5), weight(10), MATCHING, weight(20)],
        [
            {"weight_ppm": 50_000, "min_seconds": 0.0, "replicas": 3},
            {"weight_ppm": 100_000, "min_seconds": 0.0, "replicas": 3},
            {"weight_ppm": 200_000, "min_seconds": 0.0},
        ],
    ),
    "a share of the full scale": (
        [scale(weight=12.5), weight(0.1)],
        [{"weight_ppm": 1_000, "min_seconds": 0.0, "scale_ppm": 125_000}],
    ),
    "a scale and a header in one step": (
        [scale(replicas=2), header(BETA), wait("1m")],
        [{"weight_ppm": 0, "min_seconds": 60.0, "headers": [BETA], "replicas": 2}],
    ),
    "a scale after a weight is a step": (
        [weight(5), scale(replicas=2), wait("1m"), MATCHING],
        [
            {"weight_ppm": 50_000, "min_seconds": 0.0},
            {"weight_ppm": 50_000, "min_seconds": 60.0, "replicas": 2},
            {"weight_ppm": 50_000, "min_seconds": 0.0},
        ],
    ),
}


@pytest.mark.parametrize(("steps", "expected"), SETTINGS.values(), ids=SETTINGS.keys())
def test_what_a_step_brings(steps: list[Step], expected: list[dict[str, Any]]) -> None:
    assert [step.model_dump(exclude_none=True) for step in plan_from_steps(steps)] == [
        PlanStep(**step).model_dump(exclude_none=True) for step in expected
    ]


REPLICAS = {
    "by traffic": (10, PlanStep(weight_ppm=250_000), 3),
    "by number": (10, PlanStep(weight_ppm=250_000, replicas=7), 7),
    "more than full": (2, PlanStep(weight_ppm=250_000, replicas=7), 7),
    "by share": (10, PlanStep(weight_ppm=1_000, scale_ppm=WHOLE), 10),
    "by no share": (10, PlanStep(weight_ppm=500_000, scale_ppm=0), 1),
    "a trace of traffic": (10, PlanStep(weight_ppm=TRACE), 1),
}


@pytest.mark.parametrize(("full", "step", "expected"), REPLICAS.values(), ids=REPLICAS.keys())
def test_planned_replicas(full: int, step: PlanStep, expected: int) -> None:
    assert planned_replicas(full, step) == expected


def test_headers_hold_until_another_step_sets_them() -> None:
    plan = plan_from_steps([weight(1), header(BETA), weight(5), weight(10), header(), weight(20)])
    assert [headers_at(plan, step) for step in range(4)] == [(), (BETA,), (BETA,), ()]
