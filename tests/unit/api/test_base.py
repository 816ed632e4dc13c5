"""Durations are read as Kubernetes' CEL reads them; what is no duration raises."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.api.base import DURATION_MAX_LENGTH, duration_delta, duration_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("1h30m", 5400.0),
        ("500us", 0.0005),
        ("500ms", 0.5),
        ("1m1ms", 60.001),
        ("2.5s", 2.5),
        ("0s", 0.0),
        ("999999h", 3599996400.0),
    ],
)
def test_duration_seconds(text: str, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "30", "30 s", "-1s", "1d", "PT30S", "1s1", "1s x", "1ns"])
def test_what_is_no_duration_raises(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_seconds(text)


@given(st.from_regex(r"\A([0-9]{1,6}(us|ms|s|m|h))+\Z").filter(lambda text: len(text) <= DURATION_MAX_LENGTH))
def test_every_accepted_duration_is_a_timedelta(text: str) -> None:
    assert duration_delta(text) >= timedelta(0)
    assert duration_seconds(text) < 292 * 365 * 86_400  # Go's time.Duration, which CEL uses
