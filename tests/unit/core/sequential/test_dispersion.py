"""The dispersion of two equal groups."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.core.sequential.dispersion import Dispersion, estimate, is_quiet, update


def test_prior_before_the_first_tick() -> None:
    assert (estimate(Dispersion()), is_quiet(Dispersion())) == (2.0, False)


def test_one_tick_by_hand() -> None:
    state = update(Dispersion(), 100, 8, 300, 4)
    assert state == Dispersion(1, round((8 - 3) ** 2 / (12 * 0.25 * 0.75), 9))
    assert estimate(state) == pytest.approx((10 + 25 / 2.25) / 6)


def test_even_groups_become_quiet_after_twenty_ticks_and_phi_stays_at_least_one() -> None:
    state, quiet = Dispersion(), []
    for _ in range(30):
        state = update(state, 100, 5, 100, 7)
        quiet.append(is_quiet(state))
    assert quiet.index(True) == 19
    for _ in range(500):
        state = update(state, 100, 6, 100, 6)
    assert estimate(state) == 1.0


def test_bursts_in_one_group_are_not_quiet() -> None:
    state = Dispersion()
    for tick in range(200):
        state = update(state, 100, 30 if tick % 10 == 0 else 0, 100, 30 if tick % 10 == 5 else 0)
    assert estimate(state) > 20


@pytest.mark.parametrize("tick", [(0, 0, 10, 3), (10, 3, 0, 0), (10, 0, 10, 0)])
def test_a_tick_that_compares_nothing_changes_nothing(tick: tuple[int, int, int, int]) -> None:
    assert update(Dispersion(3, 4.5), *tick) == Dispersion(3, 4.5)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 80)), max_size=8))
def test_state_survives_json(errors: list[tuple[int, int]]) -> None:
    state = Dispersion()
    for first, second in errors:
        state = update(state, 50, first, 80, second)
    assert Dispersion(**json.loads(json.dumps(asdict(state)))) == state


@pytest.mark.parametrize("sums", [(-1, 0.0), (0, -1.0), (1, float("nan"))])
def test_nonsense_is_refused(sums: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Dispersion(*sums)
