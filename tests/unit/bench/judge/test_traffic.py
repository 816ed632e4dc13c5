"""The simulated traffic has the means, the spread and the memory it promises."""

import numpy as np
import pytest
from bench.judge.traffic import SWING_TICKS, Counts, Noise, Scenario, simulated, steps

RUNS = 4000


def drawn(scenario: Scenario, seed: int = 1) -> list[Counts]:
    traffic = simulated(scenario, RUNS, np.random.default_rng(seed))
    return [*traffic.against_stable, *traffic.stable_groups]


def test_steps_hold_each_weight_for_the_same_time() -> None:
    assert steps(0.1, 0.5, ticks=2) == (0.1, 0.1, 0.5, 0.5)


def test_weights_divide_the_requests_and_the_baseline_is_as_large_as_the_canary() -> None:
    canary, _, stable, _, baseline, _, rest, _ = drawn(Scenario(1000, (0.1, 0.5, 0.8), 0.01))
    assert canary.mean(axis=0) == pytest.approx([100, 500, 800], rel=0.01)
    assert stable.mean(axis=0) == pytest.approx([900, 500, 200], rel=0.01)
    assert baseline.mean(axis=0) == pytest.approx([100, 500, 200], rel=0.01)
    assert np.array_equal(baseline + rest, stable)


def test_the_canary_is_worse_from_its_onset_on() -> None:
    canary, hit, stable, miss, *_ = drawn(Scenario(2000, (0.5,) * 4, 0.02, 3.0, onset=2))
    assert hit.sum(axis=0) / canary.sum(axis=0) == pytest.approx([0.02, 0.02, 0.06, 0.06], rel=0.03)
    assert miss.sum(axis=0) / stable.sum(axis=0) == pytest.approx([0.02] * 4, rel=0.03)


def test_a_quiet_metric_has_binomial_errors() -> None:
    """Poisson requests with independent failures give Poisson errors: variance = mean."""
    _, hit, *_ = drawn(Scenario(2000, (0.5,) * 4, 0.02))
    assert hit.var() / hit.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("cv", [0.25, 0.5, 1.0])
def test_own_noise_has_its_spread_and_leaves_the_mean(cv: float) -> None:
    _, hit, *_, rest, rest_errors = drawn(Scenario(20_000, (0.5,) * 4, 0.01, noise=Noise(own_cv=cv)))
    extra = (hit.var() - hit.mean()) / hit.mean() ** 2
    assert hit.mean() == pytest.approx(100, rel=0.05)
    assert extra == pytest.approx(cv**2, rel=0.15)
    assert rest.shape == rest_errors.shape


def test_own_noise_hits_groups_apart_and_shared_noise_hits_them_together() -> None:
    for noise, expected in ((Noise(own_cv=1.0), 0.0), (Noise(shared_sd=0.8), 0.9)):
        _, hit, _, miss, *_ = drawn(Scenario(20_000, (0.5,) * 2, 0.01, noise=noise))
        assert np.corrcoef(hit.ravel(), miss.ravel())[0, 1] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_memory_is_the_correlation_from_tick_to_tick(memory: float) -> None:
    _, hit, *_ = drawn(Scenario(200_000, (0.5,) * 10, 0.01, noise=Noise(own_cv=0.5, own_memory=memory)))
    found = np.corrcoef(hit[:, :-1].ravel(), hit[:, 1:].ravel())[0, 1]
    assert found == pytest.approx(memory, abs=0.04)


def test_the_swing_goes_once_round_in_its_period() -> None:
    _, hit, *_ = drawn(Scenario(20_000, (0.5,) * SWING_TICKS, 0.01, noise=Noise(swing=0.8)))
    mean = hit.mean(axis=0)
    assert mean[[0, SWING_TICKS // 4, 3 * SWING_TICKS // 4]] == pytest.approx([100, 180, 20], rel=0.03)


def test_the_same_seed_draws_the_same_traffic() -> None:
    scenario = Scenario(100, (0.3,) * 5, 0.05, noise=Noise(own_cv=0.5, shared_sd=0.5, own_memory=0.5))
    first, again, other = drawn(scenario), drawn(scenario), drawn(scenario, 2)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])
