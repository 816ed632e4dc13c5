"""Raw samples to tick differences: resets, appearances, gaps, and that every request is counted once."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.core.counters import (
    Counts,
    GatewaySamples,
    Series,
    Slot,
    Tick,
    Window,
    sample_range,
    tick_ends,
    ticks_from_samples,
)
from visionmodel_operator.core.names import envoy_cluster

START = 1_000.0
WINDOW = Window("shop", "shapes", interval=15.0)
CANARY, STABLE = Slot(1, 0.0), Slot(0, 0.0)
POD = "10.0.0.1:19001"
OTHER_POD = "10.0.0.2:19001"


def at(first: float, values: Sequence[float], every: float = 5.0) -> tuple[tuple[float, float], ...]:
    return tuple((first + every * index, value) for index, value in enumerate(values))


def series(slot: int, samples: tuple[tuple[float, float], ...], pod: str = POD, **labels: str) -> Series:
    return Series({"envoy_cluster_name": envoy_cluster("shop", "shapes", slot), "instance": pod, **labels}, samples)


def requests(slot: int, code: str, samples: tuple[tuple[float, float], ...], pod: str = POD) -> Series:
    return series(slot, samples, pod, envoy_response_code_class=code)


def up(samples: tuple[tuple[float, float], ...] = at(980, [1] * 9), pod: str = POD) -> Series:
    return Series({"instance": pod, "job": "gateway"}, samples)


STABLE_REQUESTS = requests(0, "2", at(980, [0, 10, 20, 30, 40, 50, 60, 70]))
STABLE_COUNTS = Counts(30, 0)


def one_tick(*canary: Series, ups: Sequence[Series] = (up(),), buckets: Sequence[Series] = ()) -> Tick:
    samples = GatewaySamples((STABLE_REQUESTS, *canary), tuple(buckets), tuple(ups))
    (tick,) = ticks_from_samples(samples, [START + 15], CANARY, STABLE, WINDOW)
    return tick


def test_cluster_name_is_the_gateways() -> None:
    assert envoy_cluster("shop", "shapes", 1) == "httproute/shop/shapes/rule/0/backend/1"


CASES: Mapping[str, tuple[tuple[Series, ...], Counts | None, str]] = {
    "two classes add up": (
        (requests(1, "2", at(1000, [5, 6, 8, 9])), requests(1, "5", at(1000, [2, 2, 3, 3]))),
        Counts(5, 1),
        "",
    ),
    "a missing class 5 is no error": ((requests(1, "2", at(1000, [5, 6, 8, 9])),), Counts(4, 0), ""),
    "client faults are requests, not errors": (
        (requests(1, "2", at(1000, [5, 6, 8, 9])), requests(1, "4", at(1000, [0, 1, 1, 7]))),
        Counts(11, 0),
        "",
    ),
    "the last sample before a boundary holds": (
        (requests(1, "2", at(996, [5, 6, 8, 9, 100])),),
        Counts(4, 0),
        "",
    ),
    "a drop counts from 0": ((requests(1, "2", at(1000, [50, 53, 2, 4])),), Counts(7, 0), ""),
    "two drops": ((requests(1, "2", at(1000, [50, 1, 3, 2])),), Counts(5, 0), ""),
    "no series at all": ((), None, "canary NoSeries"),
    "appeared under a watched target": ((requests(1, "2", at(1005, [3, 4, 4])),), Counts(4, 0), ""),
    "gone before the end": ((requests(1, "2", at(990, [1, 2, 3])),), None, "canary SeriesGone"),
    "came and went": ((requests(1, "2", at(1003, [1])),), None, "canary SeriesGone"),
    "long gone": ((requests(1, "2", at(900, [1, 2])),), None, "canary NoSeries"),
    "not a number": ((requests(1, "2", at(1000, [5, math.nan, 8, 9])),), None, "canary NotFinite"),
    "infinite": ((requests(1, "2", at(1000, [5, 6, 8, math.inf])),), None, "canary NotFinite"),
    "a bad number outside the tick is nothing": (
        (requests(1, "2", ((990.0, math.nan), *at(1000, [5, 6, 8, 9]), (1020.0, math.nan))),),
        Counts(4, 0),
        "",
    ),
    "two series where one is expected": (
        (
            requests(1, "2", at(1000, [5, 6, 8, 9])),
            series(1, at(1000, [5, 6, 8, 9]), envoy_response_code_class="2", job="twice"),
        ),
        None,
        "canary SeveralSeries",
    ),
    "other routes are not ours": (
        (
            requests(1, "2", at(1000, [5, 6, 8, 9])),
            Series(
                {
                    "envoy_cluster_name": "httproute/shop/shapes-2/rule/0/backend/1",
                    "envoy_response_code_class": "5",
                    "instance": POD,
                },
                at(1000, [0, 9, 9, 9]),
            ),
        ),
        Counts(4, 0),
        "",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_counts_of_one_tick(case: str) -> None:
    canary, expected, reason = CASES[case]
    assert one_tick(*canary) == Tick(START + 15, expected, STABLE_COUNTS, reason)


def grpc(what: str, samples: tuple[tuple[float, float], ...], pod: str = POD) -> Series:
    labels = {"__name__": f"envoy_cluster_grpc_ModelInfer_{what}", "instance": pod}
    return Series({"envoy_cluster_name": "grpcroute/shop/shapes/rule/0/backend/1", **labels}, samples)


def over_grpc(code: str, samples: tuple[tuple[float, float], ...]) -> Series:
    labels = {"__name__": "envoy_cluster_upstream_rq_xx", "envoy_response_code_class": code, "instance": POD}
    return Series({"envoy_cluster_name": "grpcroute/shop/shapes/rule/0/backend/1", **labels}, samples)


CALLS = grpc("total", at(1000, [5, 6, 8, 15]))
GRPC_CASES: Mapping[str, tuple[tuple[Series, ...], Counts | None, str]] = {
    "calls, of which none failed": ((CALLS,), Counts(10, 0), ""),
    "harm is a status": (
        (CALLS, *(grpc(status, at(1000, [0, 0, 1, 1])) for status in ("2", "4", "13", "14", "15"))),
        Counts(10, 5),
        "",
    ),
    "no harm is a client's fault or a full queue": (
        (CALLS, *(grpc(status, at(1000, [0, 1, 1, 1])) for status in ("0", "3", "5", "8"))),
        Counts(10, 0),
        "",
    ),
    "HTTP classes say nothing over gRPC": ((CALLS, over_grpc("2", at(1000, [0, 9, 9, 99]))), Counts(10, 0), ""),
    "a status without the sum is no count": ((grpc("13", at(1000, [0, 1, 1, 1])),), None, "canary NoSeries"),
    "other calls alone are no request": ((over_grpc("2", at(1000, [0, 9, 9, 99])),), None, "canary NoSeries"),
    "both protocols add up": (
        (CALLS, grpc("13", at(1000, [0, 1, 1, 1])), requests(1, "2", at(1000, [5, 6, 8, 9]))),
        Counts(14, 1),
        "",
    ),
    "what one protocol cannot say, the sum cannot": (
        (CALLS, requests(1, "2", at(1003, [1]))),
        None,
        "canary SeriesGone",
    ),
}


@pytest.mark.parametrize("case", GRPC_CASES)
def test_counts_over_grpc(case: str) -> None:
    canary, expected, reason = GRPC_CASES[case]
    assert one_tick(*canary) == Tick(START + 15, expected, STABLE_COUNTS, reason)


@pytest.mark.parametrize(
    "canary",
    [
        pytest.param(requests(1, "2", at(1000, [5, 6, 8])), id="HTTP"),
        pytest.param(grpc("total", at(1000, [5, 6, 8])), id="gRPC"),
    ],
)
def test_a_failed_scrape_says_nothing_about_a_protocol_that_nobody_uses(canary: Series) -> None:
    assert one_tick(canary, ups=(up((*at(980, [1] * 7), (1015.0, 0.0))),)).canary == Counts(3, 0)


def test_latencies_of_both_protocols_add_up_edge_by_edge() -> None:
    over_http = [series(1, at(1000, [0, 0, 0, n]), le=edge) for edge, n in (("5", 3), ("+Inf", 4))]
    over_grpc = [
        Series({**one.labels, "envoy_cluster_name": "grpcroute/shop/shapes/rule/0/backend/1"}, at(1000, [0, 0, 0, n]))
        for one, n in zip(over_http, (8, 10), strict=True)
    ]
    both = (CALLS, requests(1, "2", at(1000, [5, 6, 8, 9])))
    assert one_tick(*both, buckets=(*over_http, *over_grpc)).canary == Counts(14, 0, ((5.0, 11), (math.inf, 14)))
    coarser = (over_grpc[1],)
    assert one_tick(*both, buckets=(*over_http, *coarser)).canary == Counts(14, 0)


APPEARANCES: Mapping[str, tuple[tuple[Series, ...], Counts | None, str]] = {
    "target never scraped": ((), None, "canary AppearedUnseen"),
    "target first scraped inside the tick": ((up(at(1004, [1, 1, 1])),), None, "canary AppearedUnseen"),
    "target's last scrape failed": ((up(at(997, [0, 1, 1, 1])),), None, "canary AppearedUnseen"),
    "target's last scrape too old": ((up(at(989, [1, 1], 25)),), None, "canary AppearedUnseen"),
    "target watched": ((up(at(996, [1, 1, 1, 1])),), Counts(4, 0), ""),
}


@pytest.mark.parametrize("case", APPEARANCES)
def test_a_new_counter_counts_from_zero_only_under_a_watched_target(case: str) -> None:
    ups, expected, reason = APPEARANCES[case]
    tick = one_tick(requests(1, "2", at(1003, [3, 4, 4])), ups=ups)
    assert (tick.canary, tick.reason) == (expected, reason)


def test_a_returning_target_is_skipped_once_and_then_counted() -> None:
    canary = requests(1, "2", (*at(980, [1, 2]), *at(1025, [900, 901, 902, 903, 904, 905])))
    seen = up((*at(980, [1, 1]), *at(990, [0] * 7), *at(1025, [1] * 6)))
    ticks = ticks_from_samples(GatewaySamples((canary,), (), (seen,)), [1015.0, 1030.0, 1045.0], CANARY, STABLE, WINDOW)
    assert [(tick.canary, tick.reason) for tick in ticks] == [
        (None, "canary NotScraped, stable NotScraped"),
        (None, "canary AppearedUnseen, stable NoSeries"),
        (Counts(3, 0), "stable NoSeries"),
    ]


def test_pods_are_summed_after_their_own_resets() -> None:
    tick = one_tick(
        requests(1, "2", at(1000, [50, 53, 2, 4])),
        requests(1, "2", at(1002, [7, 8, 9, 10]), OTHER_POD),
        requests(1, "5", at(1002, [0, 1, 1, 1]), OTHER_POD),
        requests(1, "2", at(998, [100, 100, 101, 103]), "10.0.0.3:19001"),
        ups=(up(), up(pod=OTHER_POD), up(pod="10.0.0.3:19001")),
    )
    assert tick.canary == Counts(7 + 9 + 1 + 3, 1)


def test_a_pod_that_cannot_be_scraped_is_not_taken_for_idle() -> None:
    canary = requests(1, "2", at(1000, [5, 6, 8, 9]))
    assert one_tick(canary, ups=(up(), up(at(980, [0] * 9), OTHER_POD))).canary is None


def test_an_idle_pod_that_is_scraped_counts_nothing() -> None:
    canary = requests(1, "2", at(1000, [5, 6, 8, 9]))
    assert one_tick(canary, ups=(up(), up(pod=OTHER_POD))).canary == Counts(4, 0)


@pytest.mark.parametrize(
    ("since", "expected"),
    [(1000.0, Counts(4, 0)), (1000.1, None), (996.1, None), (996.0, Counts(4, 0))],
    ids=["at the start", "inside the tick", "after the sample at the start", "at that sample"],
)
def test_samples_before_the_weight_rose_are_not_evidence(since: float, expected: Counts | None) -> None:
    first = 1000.0 if since >= 1000 else 996.0
    samples = GatewaySamples((STABLE_REQUESTS, requests(1, "2", at(first, [5, 6, 8, 9]))), (), (up(),))
    (tick,) = ticks_from_samples(samples, [1015.0], Slot(1, since), STABLE, WINDOW)
    assert (tick.canary, tick.reason) == (expected, "" if expected else "canary BeforeSince")


def buckets(first: float, rows: Mapping[str, Sequence[float]], pod: str = POD) -> list[Series]:
    return [series(1, at(first, row), pod, le=edge) for edge, row in rows.items()]


REQUESTS = requests(1, "2", at(1000, [5, 6, 8, 9]))
ROWS = {"+Inf": [5, 6, 8, 9], "10": [4, 5, 6, 6], "2.5": [1, 1, 1, 2]}

BUCKET_CASES: Mapping[str, tuple[list[Series], tuple[tuple[float, int], ...]]] = {
    "sorted by edge": (buckets(1000, ROWS), ((2.5, 1), (10.0, 2), (math.inf, 4))),
    "none": ([], ()),
    "no last bucket": (buckets(1000, {"10": [4, 5, 6, 6]}), ()),
    "a new edge counts from 0": (
        buckets(1000, ROWS) + buckets(1012, {"20": [4]}),
        ((2.5, 1), (10.0, 2), (20.0, 4), (math.inf, 4)),
    ),
    "an edge is gone": (buckets(1000, {**ROWS, "2.5": [1]}), ()),
    "not cumulative": (buckets(1000, {**ROWS, "2.5": [0, 9, 9, 9]}), ()),
    "an edge that is no number": (buckets(1000, {**ROWS, "x": [1, 1, 1, 1]}), ()),
    "of a pod without counters": (buckets(1000, ROWS, OTHER_POD), ()),
}


@pytest.mark.parametrize("case", BUCKET_CASES)
def test_buckets_are_whole_or_absent(case: str) -> None:
    given_buckets, expected = BUCKET_CASES[case]
    assert one_tick(REQUESTS, buckets=given_buckets).canary == Counts(4, 0, expected)


def test_buckets_of_two_pods_add_up_only_with_the_same_edges() -> None:
    other = requests(1, "2", at(1000, [0, 1, 1, 1]), OTHER_POD)
    ups = (up(), up(pod=OTHER_POD))
    same = buckets(1000, ROWS) + buckets(1000, {"+Inf": [0, 1, 1, 1], "10": [0] * 4, "2.5": [0] * 4}, OTHER_POD)
    differ = buckets(1000, ROWS) + buckets(1000, {"+Inf": [0, 1, 1, 1], "10": [0] * 4}, OTHER_POD)
    assert one_tick(REQUESTS, other, ups=ups, buckets=same).canary == Counts(5, 0, ((2.5, 1), (10.0, 2), (math.inf, 5)))
    assert one_tick(REQUESTS, other, ups=ups, buckets=differ).canary == Counts(5, 0, ())


def test_ticks_come_once_and_in_time_order() -> None:
    samples = GatewaySamples((STABLE_REQUESTS,), (), (up(),))
    ticks = ticks_from_samples(samples, [1015.0, 1000.0, 1015.0], CANARY, STABLE, WINDOW)
    assert [(tick.end, tick.stable) for tick in ticks] == [(1000.0, STABLE_COUNTS), (1015.0, STABLE_COUNTS)]


@given(
    rises=st.lists(st.integers(0, 40), min_size=12, max_size=40),
    resets=st.sets(st.integers(1, 39), max_size=4),
    jitter=st.floats(0, 4.9),
    interval=st.sampled_from([5.0, 15.0, 20.0]),
)
def test_every_scraped_request_is_counted_exactly_once(
    rises: list[int], resets: set[int], jitter: float, interval: float
) -> None:
    values: list[float] = []
    for index, rise in enumerate(rises):
        values.append(rise if index in resets or not values else values[-1] + rise)
    # a reset that climbs past the old value within one scrape cannot be seen, by any method
    seen = [int(later - earlier if later >= earlier else later) for earlier, later in pairwise(values)]
    first = 1000.0 + jitter
    final = first + 5.0 * (len(values) - 1)
    ends = tick_ends(1005.0, interval, final, lag=0.0)
    window = Window("shop", "shapes", interval)
    counter = requests(1, "2", at(first, values))
    ticks = ticks_from_samples(
        GatewaySamples((counter,), (), (up(at(first, [1] * len(values))),)), ends, CANARY, STABLE, window
    )
    covered = [rise for index, rise in enumerate(seen, 1) if 1005.0 < first + 5.0 * index <= max(ends, default=0)]
    assert sum(tick.canary.requests for tick in ticks if tick.canary) == sum(covered)
    assert all(tick.canary is not None for tick in ticks)


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        (1020.9, None, ()),
        (1021.0, None, (1015.0,)),
        (1055.0, None, (1015.0, 1030.0, 1045.0)),
        (1055.0, 1030.0, (1045.0,)),
        (1055.0, 1045.0, ()),
        (1055.0, 1037.0, (1045.0,)),
        (900.0, None, ()),
    ],
)
def test_tick_ends(now: float, last: float | None, expected: tuple[float, ...]) -> None:
    assert tick_ends(1000.0, 15.0, now, last=last) == expected


def test_tick_ends_are_bounded_oldest_first() -> None:
    assert tick_ends(0.0, 15.0, 1e6, last=30.0, limit=2) == (45.0, 60.0)


def test_tick_ends_refuse_an_empty_interval() -> None:
    with pytest.raises(ValueError, match="positive"):
        tick_ends(0.0, 0.0, 100.0)


@given(
    start=st.floats(1e9, 2e9),
    interval=st.sampled_from([0.1, 5.0, 7.3, 15.0]),
    looks=st.lists(st.floats(0, 60), min_size=1, max_size=8),
)
def test_looking_often_gives_the_same_ends_as_looking_once(start: float, interval: float, looks: list[float]) -> None:
    times = sorted(start + look for look in looks)
    found: list[float] = []
    for now in times:
        found += tick_ends(start, interval, now, last=found[-1] if found else None, limit=10_000)
    assert tuple(found) == tick_ends(start, interval, times[-1], limit=10_000)


def test_sample_range_reaches_back_to_the_first_boundarys_sample() -> None:
    assert sample_range([1015.0, 1030.0], WINDOW) == (990.0, 1030.0)
