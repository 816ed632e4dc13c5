"""Plans, replica counts and slots: arithmetic, by table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.api.spec import Pause, Step
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.weights import (
    TRACE,
    WHOLE,
    canary_replicas,
    plan_from_steps,
    slots_with,
    weight_of,
    weights_with,
)


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
}


@pytest.mark.parametrize(("steps", "expected"), PLANS.values(), ids=PLANS.keys())
def test_plan_from_steps(steps: list[Step], expected: tuple[tuple[int, float | None], ...]) -> None:
    assert plan_from_steps(steps) == tuple(PlanStep(weight_ppm=ppm, min_seconds=least) for ppm, least in expected)


REPLICAS = {
    "one-is-enough": (10, 50_000, 1),
    "share-rounded-up": (10, 250_000, 3),
    "half": (2, 500_000, 1),
    "a-trace": (3, TRACE, 1),
    "no-traffic-yet": (3, 0, 1),
    "nearly-all": (3, WHOLE - TRACE, 3),
    "none-asked-for": (0, 500_000, 1),
}


@pytest.mark.parametrize(("full", "ppm", "expected"), REPLICAS.values(), ids=REPLICAS.keys())
def test_canary_replicas(full: int, ppm: int, expected: int) -> None:
    assert canary_replicas(full, ppm) == expected


SLOTS = {
    "first-of-all": ((), None, "a", ("a",)),
    "first-canary": (("a",), "a", "b", ("a", "b")),
    "keeps-its-slot": (("a", "b"), "a", "b", ("a", "b")),
    "stable-keeps-its-slot": (("a", "b"), "a", "a", ("a", "b")),
    "next-takes-the-free-slot": (("a", "b"), "b", "c", ("c", "b")),
    "next-takes-a-refused-one's-slot": (("a", "b"), "a", "c", ("a", "c")),
    "stable-without-a-slot": (("a", "b"), "c", "c", ("c", "b")),
}


@pytest.mark.parametrize(("slots", "stable", "candidate", "expected"), SLOTS.values(), ids=SLOTS.keys())
def test_slots_with(slots: tuple[str, ...], stable: str | None, candidate: str, expected: tuple[str, ...]) -> None:
    assert slots_with(slots, stable, candidate) == expected


@given(st.integers(0, WHOLE))
def test_weights_are_shares_of_the_whole(ppm: int) -> None:
    weights = weights_with(("a", "b"), "b", ppm)
    assert weights == (WHOLE - ppm, ppm)
    assert weight_of(("a", "b"), weights, "b") == ppm
    assert weight_of(("a", "b"), weights, "c") == 0
