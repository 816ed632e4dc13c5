"""The one-sided test of a rate: published vectors, the mean under its null, and its three uses."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.core.sequential.enumeration import binomial
from visionmodel_operator.core.sequential import paired
from visionmodel_operator.core.sequential.logarithms import log_threshold
from visionmodel_operator.core.sequential.proportion import (
    log_agreement,
    log_disagreement,
    log_evidence_above,
    log_floor_evidence,
)


@pytest.mark.parametrize(
    ("agreements", "expected"), [(950, 12.240901), (975, -3.895595)], ids=["disagrees", "agrees enough"]
)
def test_design_vectors(agreements: int, expected: float) -> None:
    assert round(log_disagreement(1000, agreements, 0.98), 6) == expected
    assert round(log_floor_evidence(1000, 1000 - agreements, 0.02), 6) == expected


@pytest.mark.parametrize("limit", [0.02, 0.1, 0.5, 0.9])
def test_mean_is_at_most_one_at_the_limit(limit: float) -> None:
    mean = sum(chance * math.exp(log_evidence_above(60, hits, limit)) for hits, chance in binomial(60, limit))
    assert mean <= 1 + 1e-9


def test_one_trial_is_the_integral_written_out() -> None:
    hit = math.log((1 - 0.2**2) / 2 / (1 - 0.2) / 0.2)
    miss = math.log((1 - 0.2) ** 2 / 2 / (1 - 0.2) / (1 - 0.2))
    assert [log_evidence_above(1, hits, 0.2) for hits in (1, 0)] == pytest.approx([hit, miss])


def test_the_certificate_asks_for_agreement_above_its_limit() -> None:
    beta = 0.05
    needed = next(pairs for pairs in range(1, 1000) if log_agreement(pairs, pairs, 0.98) >= log_threshold(beta))
    assert 200 <= needed <= 300, "the design states 250 pairs at full agreement"
    assert log_agreement(1000, 980, 0.98) < 0


@given(st.integers(0, 3000), st.data(), st.floats(0.001, 0.5))
def test_evidence_is_finite_and_grows_with_hits(trials: int, data: st.DataObject, limit: float) -> None:
    hits = data.draw(st.integers(0, trials))
    found = log_evidence_above(trials, hits, limit)
    assert math.isfinite(found)
    if hits:
        assert found >= log_evidence_above(trials, hits - 1, limit) - 1e-6


def test_no_trial_is_no_evidence() -> None:
    assert log_evidence_above(0, 0, 0.3) == pytest.approx(0)
    assert paired.log_evidence(0, 0) == pytest.approx(0)


def test_paired_mean_is_at_most_one_when_faults_are_shared_evenly() -> None:
    mean = sum(chance * math.exp(paired.log_evidence(hits, 24 - hits)) for hits, chance in binomial(24, 0.5))
    assert mean == pytest.approx(1)


@pytest.mark.parametrize(("share", "published"), [(0.8, 24), (0.7, 61)])
def test_discordant_pairs_on_the_expected_path_are_near_the_published_median(share: float, published: int) -> None:
    threshold = log_threshold(0.01)
    needed = next(
        pairs
        for pairs in range(1, 500)
        if paired.log_evidence(round(share * pairs), pairs - round(share * pairs)) >= threshold
    )
    assert needed == pytest.approx(published, rel=0.2)


NONSENSE: dict[str, Callable[[], object]] = {
    "more hits than trials": lambda: log_evidence_above(5, 6, 0.1),
    "a limit of 100 %": lambda: log_evidence_above(5, 0, 1.0),
    "a limit of 0": lambda: log_evidence_above(5, 0, 0.0),
    "negative pairs": lambda: paired.log_evidence(-1, 3),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"impossible|must"):
        NONSENSE[case]()
