"""Which requests are lost, and what a run says about itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.report import Counters, Outcome, Record, outcome_of, percentile, report_of

RECORD = Record(0, 1.0, 1.25, 0.5, True, "200", "stable1")


@pytest.mark.parametrize(
    ("is_ok", "revision", "canary", "expected"),
    [
        (True, None, "canary1", Outcome.ANSWERED),
        (True, "canary1", "canary1", Outcome.ANSWERED),
        (False, "canary1", "canary1", Outcome.OWN),
        (False, "stable1", "canary1", Outcome.LOST),
        (False, None, "canary1", Outcome.LOST),
        (False, "", "canary1", Outcome.LOST),
        (False, None, None, Outcome.LOST),
        (False, "canary1", None, Outcome.LOST),
    ],
    ids=["answered", "by the canary", "canary's own", "stable's", "nobody's", "empty", "no canary", "past canary"],
)
def test_outcome(is_ok: bool, revision: str | None, canary: str | None, expected: Outcome) -> None:
    assert outcome_of(replace(RECORD, is_ok=is_ok, revision=revision), canary) is expected


RECORDS = st.builds(
    Record,
    index=st.integers(0, 100),
    scheduled=st.floats(0, 100),
    sent=st.floats(0, 100),
    latency=st.floats(0, 5),
    is_ok=st.booleans(),
    status=st.sampled_from(["200", "500", "503", "timeout"]),
    revision=st.sampled_from([None, "stable1", "canary1"]),
)


@given(st.lists(RECORDS), st.integers(0, 3), st.sampled_from([None, "canary1"]))
def test_every_request_has_one_outcome(records: list[Record], pending: int, canary: str | None) -> None:
    report = report_of(records, canary=canary, seconds=1.0, pending=pending)
    assert report.sent == len(records) + pending
    assert report.sent == report.answered + report.lost + report.own + report.pending
    assert sum(report.statuses.values()) == len(records)
    assert sum(report.revisions.values()) == report.answered
    assert len(report.losses) == min(10, report.lost)
    assert report.max_lag == max((max(0.0, one.sent - one.scheduled) for one in records), default=0.0)


def test_a_report_in_words() -> None:
    records = [
        RECORD,
        replace(RECORD, is_ok=False, status="503", revision=None),
        replace(RECORD, is_ok=False, revision="b"),
    ]
    assert str(report_of(records, canary="b", seconds=2.0, pending=1)) == (
        "sent 4 in 2.0 s: answered 1, lost 1, canary's own 1, pending 1;"
        " p50 500.0 ms, p99 500.0 ms; lag p99 250.0 ms, max 250.0 ms"
    )


@pytest.mark.parametrize(("sent", "pending_lag", "void"), [(2.0, 0.0, False), (2.01, 0.0, True), (1.0, 1.01, True)])
def test_a_late_generator_voids_the_run(sent: float, pending_lag: float, void: bool) -> None:
    report = report_of([replace(RECORD, sent=sent)], canary=None, seconds=1.0, pending_lag=pending_lag)
    assert (report.void, "VOID: the generator was late" in str(report)) == (void, void)


def test_a_run_without_requests_is_void() -> None:
    report = report_of([], canary=None, seconds=1.0)
    assert report.void
    assert "nothing was sent" in str(report)


def test_pending_is_what_is_neither_answered_nor_failed() -> None:
    assert Counters(sent=10, answered=6, failed=1).pending == 3


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 5), (0.99, 10), (1.0, 10), (0.1, 1)], ids=["p50", "p99", "max", "p10"]
)
def test_percentile(share: float, expected: float) -> None:
    assert percentile(range(1, 11), share) == expected
