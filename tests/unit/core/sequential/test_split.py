"""The check of the traffic split."""

import math

import pytest

from unit.core.sequential.enumeration import binomial
from visionmodel_operator.core.sequential.logarithms import log_threshold
from visionmodel_operator.core.sequential.split import DEFAULT_ALPHA, log_evidence


def test_no_request_is_no_evidence() -> None:
    assert log_evidence(0, 0, 0.1) == pytest.approx(0)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_mean_is_one_at_the_written_share(share: float) -> None:
    mean = sum(chance * math.exp(log_evidence(hits, 40 - hits, share)) for hits, chance in binomial(40, share))
    assert mean == pytest.approx(1)


@pytest.mark.parametrize(
    ("real", "published"), [(0.0, 200), (0.05, 550), (0.12, 3950), (0.11, 16000)], ids=lambda value: f"{value:g}"
)
def test_a_wrong_share_shows_after_about_the_published_requests(real: float, published: int) -> None:
    threshold = log_threshold(DEFAULT_ALPHA)
    needed = next(
        total
        for total in range(20, 40_000, 20)
        if log_evidence(round(real * total), total - round(real * total), 0.1) >= threshold
    )
    assert needed == pytest.approx(published, rel=0.25)


def test_the_written_share_never_speaks_against_itself() -> None:
    assert all(log_evidence(total // 10, total - total // 10, 0.1) < 0 for total in range(100, 100_000, 100))


@pytest.mark.parametrize(("canary", "share"), [(-1, 0.1), (1, 0.0), (1, 1.0)])
def test_nonsense_is_refused(canary: int, share: float) -> None:
    with pytest.raises(ValueError, match=r"impossible|share"):
        log_evidence(canary, 10, share)
