"""Quantities in the form the API server stores; the expected values are its own answers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.core.quantity import amount, canonical, canonical_map, smaller

SUFFIXES = ("", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [
        ("0", "0"),
        ("1", "1"),
        ("500m", "500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("2.0", "2"),
        ("0.0001", "1m"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1000M", "1G"),
        ("512Mi", "512Mi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("1000Ki", "1000Ki"),
        ("2Gi", "2Gi"),
    ],
)
def test_canonical(given_text: str, stored: str) -> None:
    assert canonical(given_text) == stored


@given(number=st.integers(0, 10**6), suffix=st.sampled_from(SUFFIXES))
def test_canonical_keeps_the_amount_and_stays(number: int, suffix: str) -> None:
    stored = canonical(f"{number}{suffix}")
    assert amount(stored) == amount(f"{number}{suffix}")
    assert canonical(stored) == stored


@pytest.mark.parametrize("quantity", ["", "1 Gi", "Gi", "-1", "1e3", "1Xi"])
def test_other_texts_are_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        amount(quantity)


def test_amount_map_and_smaller() -> None:
    assert amount("250m") == Decimal("0.25")
    assert canonical_map({"cpu": "0.25", "memory": "1024Mi"}) == {"cpu": "250m", "memory": "1Gi"}
    assert (smaller("250m", "0.1"), smaller("512Mi", "2Gi")) == ("100m", "512Mi")
