"""The words of goals: which measurement meets which limit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_contract.conversion import MetricGoal, ParityRequest
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import GateResult
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.gates.parity import (
    DEFAULT_GOAL,
    HIGHER_IS_BETTER,
    Measured,
    goal_met,
    goals_of,
    judge,
    refuse_impossible_goals,
    refuse_missed_goals,
)

T, D = Goal.THRESHOLD, Goal.MAX_DEGRADATION
PD, MI, PI = Goal.PERCENT_MAX_DEGRADATION, Goal.MIN_IMPROVEMENT, Goal.PERCENT_MIN_IMPROVEMENT


@pytest.mark.parametrize(
    ("metric", "goal", "limit", "value", "source", "met"),
    [
        ("top1", T, 0.9, 0.9, 0.95, True),
        ("top1", T, 0.9, 0.8999, 0.95, False),
        ("map50", D, 0.01, 0.95, 0.96, True),
        ("map50", D, 0.01, 0.94, 0.96, False),
        ("map50", D, 0.01, 0.99, 0.96, True),
        ("cosine", T, 0.999, 0.9995, 1.0, True),
        ("cosine", D, 0.001, 0.9985, 1.0, False),
        ("maxAbsError", T, 0.1, 0.1, 0.0, True),
        ("maxAbsError", T, 0.1, 0.11, 0.0, False),
        ("maxAbsError", D, 0.1, 0.11, 0.0, False),
        ("maxRelativeError", T, 1e-4, 1e-6, 0.0, True),
        ("map50", PD, 1.0, 0.792, 0.8, True),
        ("map50", PD, 1.0, 0.791, 0.8, False),
        ("map50", PD, 1.0, 0.0, 0.0, False),
        ("top1", MI, 0.01, 0.96, 0.95, True),
        ("top1", MI, 0.01, 0.959, 0.95, False),
        ("top1", PI, 10.0, 0.55, 0.5, True),
        ("top1", PI, 10.0, 0.54, 0.5, False),
    ],
)
def test_goal(metric: str, goal: Goal, limit: float, value: float, source: float, met: bool) -> None:
    assert goal_met(MetricGoal(name=metric, goal=goal, value=limit), Measured(value, source, 10)) is met


@given(
    st.sampled_from(sorted(HIGHER_IS_BETTER)),
    st.sampled_from(list(Goal)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["value", "source", "samples"]),
)
def test_fails_closed(metric: str, goal: Goal, limit: float, broken: str) -> None:
    measured = Measured(
        math.nan if broken == "value" else 0.5,
        math.nan if broken == "source" else 0.5,
        0 if broken == "samples" else 10,
    )
    if broken == "source" and goal is T:
        return  # the source's value plays no part in a threshold
    assert goal_met(MetricGoal(name=metric, goal=goal, value=limit), measured) is False


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_better_artifact_never_loses_a_goal(limit: float, source: float, value: float, better: float) -> None:
    low, high = sorted((value, better))
    for goal in Goal:
        top1 = MetricGoal(name="top1", goal=goal, value=limit)
        assert goal_met(top1, Measured(high, source, 1)) >= goal_met(top1, Measured(low, source, 1))
        error = MetricGoal(name="maxAbsError", goal=goal, value=limit)
        assert goal_met(error, Measured(low, 0.0, 1)) >= goal_met(error, Measured(high, 0.0, 1))


def test_default_is_agreement_with_the_source() -> None:
    assert goals_of(ParityRequest()) == (DEFAULT_GOAL,)
    assert MetricGoal(name="maxRelativeError", goal=T, value=1e-4) == DEFAULT_GOAL


def test_named_goals_replace_the_default() -> None:
    goal = MetricGoal(name="top1", goal=T, value=0.9)
    assert goals_of(ParityRequest(dataset_uri="s3://a/b", metrics=(goal,))) == (goal,)


def test_judge_keeps_order_and_numbers() -> None:
    goals = (MetricGoal(name="top1", goal=D, value=0.02), MetricGoal(name="cosine", goal=T, value=0.9))
    measured = {"cosine": Measured(0.5, 1.0, 4), "top1": Measured(0.88, 0.89, 100)}
    assert judge(goals, measured) == (
        GateResult(metric="top1", goal=D, limit=0.02, value=0.88, source_value=0.89, passed=True, samples=100),
        GateResult(metric="cosine", goal=T, limit=0.9, value=0.5, source_value=1.0, passed=False, samples=4),
    )


@pytest.mark.parametrize(
    ("goals", "reason", "words"),
    [
        ((("top1", T, 0.9),), "GateFailed", "top1 is 0.5 over 8 samples, the goal is >= 0.9"),
        ((("top1", D, 0.1),), "GateFailed", "at most 0.1 worse than the source's 0.75"),
        ((("top1", T, 0.9), ("cosine", T, 0.9)), "ParityFailed", "cosine is 0.5"),
        ((("maxAbsError", T, 0.1),), "ParityFailed", "<= 0.1"),
    ],
    ids=["threshold", "degradation", "disagreement-first", "lower-is-better"],
)
def test_missed_goals(goals: tuple[tuple[str, Goal, float], ...], reason: str, words: str) -> None:
    asked = tuple(MetricGoal(name=name, goal=goal, value=value) for name, goal, value in goals)
    gates = judge(asked, {goal.name: Measured(0.5, 0.75, 8) for goal in asked})
    with pytest.raises(ConversionFailure) as caught:
        refuse_missed_goals(gates)
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert caught.value.gates == gates


@pytest.mark.parametrize(
    ("metric", "value", "dataset", "reason"),
    [
        ("accuracy", 0.5, "s3://a/b", "UnknownMetric"),
        ("top1", 0.5, None, "MetricNotApplicable"),
        ("map50", 0.5, None, "MetricNotApplicable"),
        ("cosine", math.inf, None, "BadRequest"),
        ("cosine", math.nan, None, "BadRequest"),
    ],
)
def test_impossible_goals(metric: str, value: float, dataset: str | None, reason: str) -> None:
    parity = ParityRequest(dataset_uri=dataset, metrics=(MetricGoal(name=metric, goal=T, value=value),))
    with pytest.raises(ConversionFailure) as caught:
        refuse_impossible_goals(parity)
    assert caught.value.reason == reason
