"""Transitions that any test of the core made, collected for the table's own test."""

from collections import Counter
from collections.abc import Iterator

import pytest

from unit.core.simulated_cluster import State
from unit.core.transition_table import rows_of_the_slice

Seen = Counter[tuple[State, State]]


@pytest.fixture(scope="session")
def seen() -> Seen:
    """What was seen so far."""
    return Counter()


@pytest.fixture(scope="session", autouse=True)
def _report(seen: Seen) -> Iterator[None]:
    yield
    if seen:
        for row in rows_of_the_slice():
            count = sum(times for (before, after), times in seen.items() if row.allows(before, after))
            print(f"{count:6d}  {row.text}")
