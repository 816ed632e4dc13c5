"""Each numpy twin of the benchmark against the product's own test, on thousands of random ticks."""

from collections.abc import Callable

import numpy as np
import pytest
from bench.judge import measure, product, twins
from bench.judge.cells import Method
from bench.judge.traffic import Arms, Counts, Floats, Scenario, Traffic, simulated

TICKS = 60
RUNS = 40
SEEDS = range(3)
SAME = 1e-7


def traffic_of(seed: int) -> Traffic:
    """Return 2,400 ticks of every size: idle sides, no errors, nothing but errors."""
    random = np.random.default_rng(seed)

    def requests() -> Counts:
        return random.poisson(10.0 ** random.uniform(-1, 3.5, (RUNS, TICKS)))

    def errors(
        count: Counts,
    ) -> Counts:
        return random.binomial(count, random.choice([0.0, 0.001, 0.02, 0.3, 1.0], (RUNS, TICKS)))

    counts = [requests() for _ in range(3)]
    failed = [errors(count) for count in counts]
    return Traffic(counts[0], failed[0], counts[1], failed[1], counts[2], failed[2])


def gap(twin: Floats, own: list[list[float]]) -> float:
    return float(np.abs(twin - np.array(own)).max())


def by_run(judge: Callable[[int], list[float]]) -> list[list[float]]:
    return [judge(run) for run in range(RUNS)]


@pytest.mark.parametrize("seed", SEEDS)
def test_counts(seed: int) -> None:
    arms = traffic_of(seed).against_stable
    assert gap(twins.plain(arms), by_run(lambda run: product.plain(arms, run))) < SAME


@pytest.mark.parametrize("planned", [1, 20, TICKS, 200])
def test_late_faults(planned: int) -> None:
    arms = traffic_of(planned).against_stable
    own = by_run(lambda run: product.with_late_faults(arms, run, planned))
    assert gap(twins.with_late_faults(arms, planned), own) < SAME


@pytest.mark.parametrize("seed", SEEDS)
def test_tempered(seed: int) -> None:
    traffic = traffic_of(seed)
    own = by_run(lambda run: product.tempered(traffic.against_stable, traffic.stable_groups, run))
    assert gap(twins.tempered(traffic), own) < SAME


@pytest.mark.parametrize("seed", SEEDS)
def test_sign(seed: int) -> None:
    differences, counted = twins.differences(traffic_of(seed), np.random.default_rng(seed))
    own = by_run(lambda run: product.sign_of(differences[run].tolist(), counted[run].tolist()))
    assert not counted.all()
    assert gap(twins.sign_of(differences, counted), own) < SAME


@pytest.mark.parametrize("ratio", [1.1, 1.25, 1.5, 2.0])
def test_certificate(ratio: float) -> None:
    arms = traffic_of(5).against_stable
    own = by_run(lambda run: product.certificate(arms, run, ratio))
    assert gap(twins.certificate(arms, ratio), own) < SAME


def test_latency() -> None:
    requests, slow, others, other_slow = traffic_of(6).against_stable
    edges: list[Arms] = [(requests, slow, others, other_slow), (requests, slow // 2, others, other_slow // 3)]
    assert gap(twins.latency(edges), by_run(lambda run: product.latency(edges, run))) < SAME


@pytest.mark.parametrize(("alpha", "limit"), [(0.01, 0.9), (0.05, 0.98), (0.05, 0.3)])
def test_graded(alpha: float, limit: float) -> None:
    random = np.random.default_rng(7)
    scores = np.where(random.random((RUNS, 200)) < 0.4, random.random((RUNS, 200)), 1.0)
    own = [product.graded(scores[run].tolist(), alpha, limit) for run in range(RUNS)]
    above, below = twins.graded(scores, alpha, limit)
    assert gap(above, [known for known, _ in own]) < SAME
    assert gap(below, [known for _, known in own]) < SAME


def test_thinning_keeps_groups_of_equal_size() -> None:
    """The twin's draw has the mean and the variance of the product's: as many requests of either side."""
    shape = (4000, 1)
    full = [np.full(shape, count) for count in (100, 20, 400, 40, 0, 0)]
    random = np.random.default_rng(8)
    differences, counted = twins.differences(Traffic(*full), random)
    assert counted.all()
    # 20 of 100 on the canary's side, and 40 of 400 thinned to 100: hypergeometric, mean 10, variance 6.77.
    assert differences.mean() == pytest.approx(10, abs=0.2)
    assert differences.var() == pytest.approx(100 * 0.1 * 0.9 * 300 / 399, rel=0.15)


def test_sign_with_its_own_thinning_starts_as_many_seeds_as_runs() -> None:
    traffic = traffic_of(9)
    first, second = product.sign_itself(traffic, 0), product.sign_itself(traffic, RUNS)
    assert first.shape == (RUNS, TICKS)
    assert (first != second).any()
    assert np.array_equal(first, product.sign_itself(traffic, 0))


def test_a_twin_that_differs_from_the_product_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "START", -2.0)
    arms = simulated(Scenario(100, (0.5,) * 5, 0.1), 2, np.random.default_rng(1)).against_stable
    with pytest.raises(measure.TwinDiffers, match="counts"):
        measure._same(Method.COUNTS, twins.plain(arms), [product.plain(arms, run) for run in range(2)])
