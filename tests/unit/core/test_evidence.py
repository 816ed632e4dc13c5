"""Which ticks a pass asks for."""

from datetime import timedelta

import pytest

from unit.core import scenarios, walks
from visionmodel_operator.core.evidence import evidence_due


@pytest.mark.parametrize(
    ("interval", "ticks"), [("1s", 500), ("15s", 240), ("2h", 1)], ids=["bounded by number", "by time", "never none"]
)
def test_a_pass_asks_for_an_hour_at_most_whatever_piled_up(interval: str, ticks: int) -> None:
    cluster = scenarios.with_candidate(rollout={"analysis": {"interval": interval}})
    cluster.advance_to(("Progressing", "Observing"))
    walks.stop_scraping(cluster)
    cluster.now += timedelta(hours=5)
    request = evidence_due(cluster.snapshot(), cluster.now.timestamp())
    assert request is not None
    assert len(request.ends) == ticks
    assert list(request.ends) == sorted(request.ends)
