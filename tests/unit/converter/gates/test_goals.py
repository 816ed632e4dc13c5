"""The words of goals: which measurement meets which limit."""

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_contract.conversion import MetricGoal, ParityRequest
from visionmodel_contract.precision import Goal, Precision
from visionmodel_contract.report import GateResult
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.goals import (
    HIGHER_IS_BETTER,
    LABELLED_METRICS,
    TENSOR_METRICS,
    Measured,
    default_goals,
    goal_met,
    goals_of,
    judge,
    refuse_impossible_goals,
    refuse_missed_goals,
)
from visionmodel_converter.gates.tasks import TaskKind
from visionmodel_operator.api import conversion
from visionmodel_operator.api.conversion import MetricName

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


KINDS = {kind.name: kind for kind in TaskKind}
FP32_GOAL = ("maxRelativeError", T, 1e-4)
FP16_GOAL = ("maxRelativeError", T, 1e-2)


@pytest.mark.parametrize(
    ("precision", "kind", "has_labels", "expected"),
    [
        ("fp32", "TENSOR", False, [FP32_GOAL]),
        ("fp32", "DETECTION", True, [FP32_GOAL]),
        ("fp16", "TENSOR", False, [FP16_GOAL]),
        ("fp16", "CLASSIFICATION", False, [FP16_GOAL]),
        ("fp16", "CLASSIFICATION", True, [FP16_GOAL, ("top1", D, 0.005)]),
        ("fp16", "DETECTION", True, [FP16_GOAL, ("map50", D, 0.005)]),
        ("fp16", "SEGMENTATION", True, [FP16_GOAL, ("maskIou", D, 0.005)]),
        ("int8", "CLASSIFICATION", True, [("top1", D, 0.01)]),
        ("int8", "DETECTION", True, [("map50", D, 0.01)]),
        ("int8", "SEGMENTATION", True, [("maskIou", D, 0.01)]),
        ("int8", "CLASSIFICATION", False, [("top1Agreement", T, 0.99)]),
        ("int8", "DETECTION", False, [("mapAgreement", T, 0.98)]),
        ("int8", "SEGMENTATION", False, [("cosine", T, 0.95)]),
        ("int8", "TENSOR", False, [("cosine", T, 0.95)]),
    ],
)
def test_default_goals(precision: str, kind: str, has_labels: bool, expected: list[tuple[str, Goal, float]]) -> None:
    goals = default_goals(Precision(precision), KINDS[kind], has_labels)
    assert [(goal.name, goal.goal, goal.value) for goal in goals] == expected


@pytest.mark.parametrize("kind", TaskKind)
@pytest.mark.parametrize("has_labels", [True, False])
def test_int8_is_never_judged_element_by_element(kind: TaskKind, has_labels: bool) -> None:
    names = {goal.name for goal in default_goals(Precision.INT8, kind, has_labels)}
    assert names
    assert names & (TENSOR_METRICS.keys() - {"cosine"}) == set()


def test_named_goals_replace_the_default() -> None:
    goal = MetricGoal(name="top1", goal=T, value=0.9)
    parity = ParityRequest(dataset_uri="s3://a/b", metrics=(goal,))
    assert goals_of(parity, Precision.INT8, TaskKind.DETECTION, has_labels=True) == (goal,)
    unnamed = goals_of(ParityRequest(), Precision.FP32, TaskKind.TENSOR, has_labels=False)
    assert unnamed == default_goals(Precision.FP32, TaskKind.TENSOR, False)


def test_a_pruned_network_may_lose_what_int8_may_and_needs_labels() -> None:
    for precision in Precision:
        (goal,) = goals_of(ParityRequest(), precision, TaskKind.DETECTION, has_labels=True, is_pruned=True)
        assert (goal.name, goal.goal, goal.value) == ("map50", Goal.MAX_DEGRADATION, 0.01)
    named = (MetricGoal(name="cosine", goal=Goal.THRESHOLD, value=0.5),)
    own = ParityRequest(metrics=named)
    assert goals_of(own, Precision.FP32, TaskKind.TENSOR, has_labels=False, is_pruned=True) == named
    with pytest.raises(ConversionFailure, match="no labels") as refusal:
        goals_of(ParityRequest(), Precision.FP32, TaskKind.TENSOR, has_labels=False, is_pruned=True)
    assert refusal.value.reason is Reason.BAD_REQUEST


def test_pruning_without_anything_to_judge_it_by_is_refused_first() -> None:
    with pytest.raises(ConversionFailure, match=r"gates\.parity\.datasetUri"):
        refuse_impossible_goals(ParityRequest(), is_pruned=True)
    refuse_impossible_goals(ParityRequest(dataset_uri="s3://a/b.npz"), is_pruned=True)
    refuse_impossible_goals(
        ParityRequest(metrics=(MetricGoal(name="cosine", goal=Goal.THRESHOLD, value=0.5),)), is_pruned=True
    )


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
        ("maskIou", 0.5, None, "MetricNotApplicable"),
        ("top1Agreement", 0.5, None, "MetricNotApplicable"),
        ("cosine", math.inf, None, "BadRequest"),
        ("cosine", math.nan, None, "BadRequest"),
    ],
)
def test_impossible_goals(metric: str, value: float, dataset: str | None, reason: str) -> None:
    parity = ParityRequest(dataset_uri=dataset, metrics=(MetricGoal(name=metric, goal=T, value=value),))
    with pytest.raises(ConversionFailure) as caught:
        refuse_impossible_goals(parity)
    assert caught.value.reason == reason


def test_calibration_samples_are_enough_for_agreement_but_not_for_labels() -> None:
    refuse_impossible_goals(
        ParityRequest(metrics=(MetricGoal(name="mapAgreement", goal=T, value=0.9),)), has_calibration=True
    )
    labelled = ParityRequest(metrics=(MetricGoal(name="map50", goal=T, value=0.9),))
    with pytest.raises(ConversionFailure, match="needs labels"):
        refuse_impossible_goals(labelled, has_calibration=True)


def test_spec_and_converter_know_the_same_metrics() -> None:
    assert set(get_args(MetricName)) == HIGHER_IS_BETTER.keys()
    assert set(conversion.LABELLED_METRICS) == LABELLED_METRICS.keys()
