"""Sign betting: published vectors, the mean under exchangeability, and thinning by a seed."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.core.sequential.enumeration import hypergeometric
from visionmodel_operator.core.sequential.sign import (
    SignEvidence,
    bet,
    log_evidence,
    no_evidence,
    seed_from,
    thinned,
    update,
)


def evidence_of(differences: tuple[int, ...]) -> SignEvidence:
    state = no_evidence(0)
    for difference in differences:
        state = bet(state, difference)
    return state


@pytest.mark.parametrize(
    ("differences", "expected"),
    [((2,), 0.412110), ((2, -1, 3), 0.693250), ((2, -1, 3, 4, 0, 5, 3, 2, 6, 4), 3.292432)],
)
def test_design_vectors(differences: tuple[int, ...], expected: float) -> None:
    assert round(log_evidence(evidence_of(differences)), 6) == expected


def test_equal_sides_are_compared_as_they_are() -> None:
    state = no_evidence(7)
    for canary, stable in ((5, 3), (2, 3), (4, 1)):
        state = update(state, 100, canary, 100, stable)
    assert state.log_wealth == evidence_of((2, -1, 3)).log_wealth


@pytest.mark.parametrize("difference", [1, 5])
def test_after_zeros_alone_the_weight_is_whole(difference: int) -> None:
    wealth = bet(evidence_of((0, 0)), difference).log_wealth
    assert wealth[-1] == pytest.approx(math.log(1.95))


def test_the_mean_is_one_whatever_the_sizes_of_the_differences() -> None:
    sizes = (3, 0, 40, 1)
    signs = list(product((-1, 1), repeat=len(sizes)))
    mean = sum(
        math.exp(log_evidence(evidence_of(tuple(s * size for s, size in zip(sign, sizes, strict=True)))))
        for sign in signs
    ) / len(signs)
    assert mean == pytest.approx(1)


@pytest.mark.parametrize(("canary", "stable"), [(4, 9), (9, 4), (5, 5)])
@pytest.mark.parametrize("errors", [0, 1, 5, 9])
def test_the_mean_is_one_after_thinning(canary: int, stable: int, errors: int) -> None:
    before, size = evidence_of((2, -1)), min(canary, stable)
    mean = 0.0
    for hit, chance in hypergeometric(errors, canary, stable):
        for kept, kept_chance in hypergeometric(hit, size, canary - size):
            for other, other_chance in hypergeometric(errors - hit, size, stable - size):
                after = bet(before, kept - other)
                mean += chance * kept_chance * other_chance * math.exp(log_evidence(after) - log_evidence(before))
    assert mean == pytest.approx(1)


def test_thinning_follows_the_hypergeometric_distribution() -> None:
    steps = 2000
    found = Counter(thinned(30, 7, 10, (step + 0.5) / steps) for step in range(steps))
    expected = dict(hypergeometric(7, 10, 20))
    assert set(found) <= set(expected)
    assert all(abs(found[count] / steps - mass) <= 1 / steps for count, mass in expected.items())


@given(st.integers(1, 10**6), st.data())
def test_thinned_counts_are_possible(requests: int, data: st.DataObject) -> None:
    errors, size = data.draw(st.integers(0, requests)), data.draw(st.integers(0, requests))
    kept = thinned(requests, errors, size, data.draw(st.floats(0, 1, exclude_min=True, exclude_max=True)))
    assert max(0, size - (requests - errors)) <= kept <= min(errors, size)


def test_draws_differ_between_ticks_and_seeds_and_not_between_replays() -> None:
    def draws(seed: int) -> list[float]:
        state, seen = no_evidence(seed), []
        for _ in range(20):
            state = update(state, 10, 2, 1000, 200)
            seen.append(log_evidence(state))
        return seen

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert len({round(high - low, 6) for low, high in zip(draws(1), draws(1)[1:], strict=False)}) > 2


def test_uniform_draws_are_even() -> None:
    kept = []
    state = no_evidence(seed_from("detector-3f2a", "1", "errors"))
    for _ in range(400):
        after = update(state, 1, 0, 2, 1)
        kept.append(after.differences - state.differences)
        state = after
    assert 160 <= sum(kept) <= 240


def test_seeds_come_from_names_and_are_whole_numbers_in_json() -> None:
    assert seed_from("a", "b") != seed_from("ab")
    assert all(0 <= seed_from(str(name)) < 2**53 for name in range(100))


@pytest.mark.parametrize("tick", [(0, 0, 900, 40), (90, 40, 0, 0)])
def test_a_tick_with_an_idle_side_changes_nothing(tick: tuple[int, int, int, int]) -> None:
    state = evidence_of((2,))
    assert update(state, *tick) == state


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 80)), max_size=6))
def test_state_survives_json(errors: list[tuple[int, int]]) -> None:
    state = no_evidence(2**53 - 1)
    for canary, stable in errors:
        state = update(state, 20, canary, 80, stable)
    text = json.loads(json.dumps(asdict(state)))
    assert SignEvidence(**text | {"log_wealth": tuple(text["log_wealth"])}) == state


NONSENSE: dict[str, Callable[[], object]] = {
    "a seed that JSON rounds": lambda: no_evidence(2**53),
    "a negative seed": lambda: no_evidence(-1),
    "too few gamblers": lambda: SignEvidence(0, 0, 0, (0.0,)),
    "wealth that is no number": lambda: SignEvidence(0, 0, 0, (math.nan,) * 5),
    "negative sums": lambda: SignEvidence(0, -1),
    "more errors than requests": lambda: update(no_evidence(0), 1, 2, 1, 0),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"seed|impossible|finite"):
        NONSENSE[case]()
