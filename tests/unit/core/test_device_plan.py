"""What a rollout does about devices, by how many are free."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.core import builders
from visionmodel_operator.api.capacity import CapacityChoice
from visionmodel_operator.api.spec import Accelerator
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.device_plan import (
    Demand,
    capacity_for,
    carried_ppm,
    given_pods,
    most_pods,
    obstacle_in_spec,
    within,
)
from visionmodel_operator.core.devices import Free
from visionmodel_operator.core.weights import WHOLE, canary_replicas

L4, A10 = Accelerator(product="NVIDIA-L4"), Accelerator(product="NVIDIA-A10")
STEPS = (PlanStep(weight_ppm=100_000), PlanStep(weight_ppm=500_000))
NO = "Stable gives none."


def demand(full: int, first: int = 1, plan: tuple[PlanStep, ...] = STEPS, *accelerators: Accelerator) -> Demand:
    return Demand(accelerators or (L4,), full, first, plan)


CHOICES: dict[str, tuple[Demand, list[int], str | None, str, list[int], int | None]] = {
    "all fits": (demand(4), [4], None, "Surge", [], None),
    "all fits, and stable would give none": (demand(4), [4], NO, "Surge", [], None),
    "the step fits": (demand(4), [1], NO, "Surge", [], None),
    "nothing fits": (demand(4), [0], NO, "Wait", [], None),
    "the step does not": (demand(4, first=2), [1], NO, "Wait", [], None),
    "nothing fits, stable gives one": (demand(4), [0], None, "ShrinkByOne", [0], 1),
    "some fits, stable gives one more": (demand(4), [2], None, "ShrinkByOne", [2], 3),
    "all but one fit": (demand(4), [3], None, "ShrinkByOne", [3], 4),
    "a step asks for more than the promotion": (
        demand(2, 1, (PlanStep(weight_ppm=1, replicas=5),)),
        [4],
        NO,
        "Surge",
        [],
        None,
    ),
    "one of two products is full": (demand(4, 1, STEPS, L4, A10), [9, 0], None, "ShrinkByOne", [9, 0], 3),
    "one of two products is full, the step is on the other": (
        demand(4, 1, STEPS, L4, A10),
        [9, 0],
        NO,
        "Surge",
        [],
        None,
    ),
    "the step's product is full": (demand(4, 1, STEPS, L4, A10), [0, 9], NO, "Wait", [], None),
    "pods of two": (demand(2, 1, STEPS, Accelerator(count=2)), [3], None, "ShrinkByOne", [1], 2),
}


@pytest.mark.parametrize(
    ("asked", "free", "obstacle", "choice", "beside", "pods"), CHOICES.values(), ids=CHOICES.keys()
)
def test_the_choice(
    asked: Demand, free: list[int], obstacle: str | None, choice: str, beside: list[int], pods: int | None
) -> None:
    chosen = capacity_for(asked, [Free(devices, 10) for devices in free], obstacle)
    assert (chosen.choice, chosen.beside, chosen.pods) == (choice, beside, pods)


def test_each_choice_says_its_numbers() -> None:
    assert capacity_for(demand(2), [Free(5, 8)], NO).message == "Beside stable: 2 NVIDIA-L4, 5 free of 8."
    assert capacity_for(demand(2), [Free(0, 8)], NO).message == f"Needs 1 NVIDIA-L4, 0 free of 8. {NO}"
    assert capacity_for(demand(2), [Free(1, 8)], NO).message == (
        "Beside stable: 1 NVIDIA-L4, 1 free of 8. The promotion needs 2 NVIDIA-L4, 1 free of 8."
    )
    assert capacity_for(demand(2), [Free(0, 8)], None).message == (
        "Needs 2 NVIDIA-L4, 0 free of 8: stable gives one of its 2 pods, and others one at a time when the canary is"
        " promoted."
    )
    assert capacity_for(demand(4), [Free(0, 8)], None).message.endswith("Weights above 25 % wait for the promotion.")


OBSTACLES: dict[str, tuple[dict[str, Any], int, str | None]] = {
    "nobody asked": ({}, 2, "Stable gives no pod (rollout.whenFull: Wait)."),
    "blue-green": (
        {"rollout": {"whenFull": "ShrinkByOne", "strategy": "BlueGreen"}},
        2,
        "Stable gives no pod: both revisions of a blue-green rollout are at full scale.",
    ),
    "one pod": ({"rollout": {"whenFull": "ShrinkByOne"}}, 1, "Stable has one pod, and gives none."),
    "no gateway": (
        {"rollout": {"whenFull": "ShrinkByOne"}, "gateway": False},
        2,
        "Stable gives no pod, because nothing splits the traffic.",
    ),
    "none": ({"rollout": {"whenFull": "ShrinkByOne"}}, 2, None),
}


@pytest.mark.parametrize(("sections", "full", "said"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_keeps_stable_from_giving(sections: dict[str, Any], full: int, said: str | None) -> None:
    document = builders.spec_document(1, **sections)
    if "strategy" in document["rollout"]:
        del document["rollout"]["steps"]
    assert obstacle_in_spec(builders.parsed(document), full) == said


rooms = st.lists(st.integers(0, 6), min_size=1, max_size=4)


@given(full=st.integers(1, 12), beside=rooms)
def test_stable_keeps_its_last_pod_and_gives_only_for_pods_without_room(full: int, beside: list[int]) -> None:
    most = most_pods(full, beside)
    assert sum(given_pods(most, beside)) < full
    for pods in range(most):
        now, more = sum(given_pods(pods, beside)), sum(given_pods(pods + 1, beside))
        assert more - now in (0, 1), "one at a time"
    assert sum(given_pods(full, beside)) > 0 or most == full


@given(full=st.integers(1, 12), pods=st.integers(1, 12), weight=st.integers(0, WHOLE))
def test_a_capped_step_needs_no_more_pods_than_there_are(full: int, pods: int, weight: int) -> None:
    step = within(PlanStep(weight_ppm=weight), pods, full)
    assert canary_replicas(full, step.weight_ppm) <= pods
    assert step.weight_ppm in (weight, carried_ppm(pods, full))


def test_a_step_that_sets_the_scale_is_capped_too() -> None:
    by_number = within(PlanStep(weight_ppm=10, replicas=5), 2, 4)
    assert (by_number.weight_ppm, by_number.replicas, by_number.scale_ppm) == (10, 2, None)
    assert within(PlanStep(weight_ppm=10, scale_ppm=900_000), 2, 4).scale_ppm == 500_000
    assert within(PlanStep(weight_ppm=900_000, replicas=5), 4, 4).replicas == 5


def test_choices_are_the_words_of_the_api() -> None:
    assert [str(choice) for choice in CapacityChoice] == ["Surge", "ShrinkByOne", "Wait", "Uncounted"]
