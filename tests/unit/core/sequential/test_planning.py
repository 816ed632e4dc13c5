"""What a judgement takes: the formula, and the simulated figures it must be near."""

from collections.abc import Callable

import pytest

from visionmodel_operator.core.sequential.planning import (
    certificate_requests,
    high_requests,
    median_requests,
    min_samples,
)

SIMULATED = {
    0.01: {1.5: 6200, 2.0: 1660, 3.0: 490, 5.0: 154, 10.0: 51},
    0.001: {1.5: 59900, 2.0: 15600, 3.0: 4360, 5.0: 1540, 10.0: 450},
    0.05: {1.5: 1280, 2.0: 340, 3.0: 103, 5.0: 32, 10.0: 12},
}


@pytest.mark.parametrize("base_rate", SIMULATED)
def test_medians_are_near_the_simulated_ones(base_rate: float) -> None:
    for ratio, simulated in SIMULATED[base_rate].items():
        assert median_requests(0.01, base_rate, ratio) == pytest.approx(
            simulated, rel=0.28 if (base_rate, ratio) == (0.001, 3.0) else 0.2
        )


def test_median_by_hand() -> None:
    assert median_requests(0.01, 0.01, 2.0) == pytest.approx(1865.2, abs=0.1)
    assert high_requests(0.01, 0.01, 2.0) == pytest.approx(2.1 * 1865.2, abs=0.3)


def test_alpha_over_four_metrics_costs_about_eighteen_percent() -> None:
    assert median_requests(0.0025, 0.01, 2) / median_requests(0.01, 0.01, 2) == pytest.approx(1.18, abs=0.02)


@pytest.mark.parametrize(("max_ratio", "simulated"), [(2.0, 1100), (1.5, 3550), (1.25, 14000)])
def test_certificates_are_near_the_simulated_ones(max_ratio: float, simulated: int) -> None:
    assert certificate_requests(0.05, 0.01, max_ratio) == pytest.approx(simulated, rel=0.1)


def test_steps_share_what_nine_of_ten_need() -> None:
    assert [min_samples(0.01, 0.01, 2.0, steps) for steps in (1, 4)] == [3917, 980]


NONSENSE: dict[str, Callable[[], object]] = {
    "base rate 0": lambda: median_requests(0.01, 0.0, 2.0),
    "base rate 1": lambda: certificate_requests(0.05, 1.0, 2.0),
    "ratio 1": lambda: high_requests(0.01, 0.01, 1.0),
    "no step": lambda: min_samples(0.01, 0.01, 2.0, 0),
    "alpha 1": lambda: median_requests(1.0, 0.01, 2.0),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match="must"):
        NONSENSE[case]()
