"""Replica counts and slots: arithmetic, by table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.core.weights import (
    TRACE,
    WHOLE,
    canary_replicas,
    slots_with,
    weight_of,
    weights_with,
)

REPLICAS = {
    "one-is-enough": (10, 50_000, 1),
    "share-rounded-up": (10, 250_000, 3),
    "half": (2, 500_000, 1),
    "a-trace": (3, TRACE, 1),
    "no-traffic-yet": (3, 0, 1),
    "nearly-all": (3, WHOLE - TRACE, 3),
    "none-asked-for": (0, 500_000, 1),
}


@pytest.mark.parametrize(("full", "ppm", "expected"), REPLICAS.values(), ids=REPLICAS.keys())
def test_canary_replicas(full: int, ppm: int, expected: int) -> None:
    assert canary_replicas(full, ppm) == expected


SLOTS = {
    "first-of-all": ((), None, "a", ("a",)),
    "first-canary": (("a",), "a", "b", ("a", "b")),
    "keeps-its-slot": (("a", "b"), "a", "b", ("a", "b")),
    "stable-keeps-its-slot": (("a", "b"), "a", "a", ("a", "b")),
    "next-takes-the-free-slot": (("a", "b"), "b", "c", ("c", "b")),
    "next-takes-a-refused-one's-slot": (("a", "b"), "a", "c", ("a", "c")),
    "stable-without-a-slot": (("a", "b"), "c", "c", ("c", "b")),
}


@pytest.mark.parametrize(("slots", "stable", "candidate", "expected"), SLOTS.values(), ids=SLOTS.keys())
def test_slots_with(slots: tuple[str, ...], stable: str | None, candidate: str, expected: tuple[str, ...]) -> None:
    assert slots_with(slots, stable, candidate) == expected


@given(st.integers(0, WHOLE))
def test_weights_are_shares_of_the_whole(ppm: int) -> None:
    weights = weights_with(("a", "b"), "b", ppm)
    assert weights == (WHOLE - ppm, ppm)
    assert weight_of(("a", "b"), weights, "b") == ppm
    assert weight_of(("a", "b"), weights, "c") == 0
