"""From raw counter samples of the gateway to exact differences per tick; the judge's only source of counts.

`rate()` and `increase()` extrapolate and give fractions, so differences are taken here, per series, with the
gateway's own resets (a drop counts from 0), and summed over the gateway's pods afterwards. What cannot be
counted exactly is missing, with a reason, and never zero: missing data delays a rollout, it judges nothing.

Times are unix seconds. The value of a counter at a boundary is its last sample at or before the boundary,
not older than two scrape intervals.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from visionmodel_operator.core.names import GRPC_ROUTE, ROUTE_KINDS, envoy_cluster

REQUESTS_METRIC: Final = "envoy_cluster_upstream_rq_xx"
GRPC_METRICS: Final = "envoy_cluster_grpc_ModelInfer_"
"""With a status or a sum at its end. Over gRPC a failure is a success of HTTP, so the classes say nothing; other calls
than inference (is the server ready?) are no evidence about a model."""
BUCKETS_METRIC: Final = "envoy_cluster_upstream_rq_time_bucket"
"""Milliseconds; the external_ and internal_ twins count the same requests again and must not be queried."""

CLUSTER_LABEL: Final = "envoy_cluster_name"
CLASS_LABEL: Final = "envoy_response_code_class"
BUCKET_LABEL: Final = "le"
INSTANCE_LABEL: Final = "instance"
NAME_LABEL: Final = "__name__"
ERROR_CLASS: Final = "5"
GRPC_TOTAL: Final = "total"
GRPC_HARM: Final = ("2", "4", "13", "14", "15")
"""Unknown, DeadlineExceeded, Internal, Unavailable, DataLoss. ResourceExhausted (8) is a full queue, and a client's
fault (3, 5, ...) is nothing that a version did."""

STALE_AFTER_SCRAPES: Final = 2
JUDGE_LAG: Final = 6.0
"""Seconds: the gateway's histograms lag its counters by up to 5.5 s."""

NO_SERIES: Final = "NoSeries"
"""No counter of the slot anywhere: no request yet, or the wrong route; the caller knows the weight."""
NOT_SCRAPED: Final = "NotScraped"
BEFORE_SINCE: Final = "BeforeSince"
APPEARED_UNSEEN: Final = "AppearedUnseen"
SERIES_GONE: Final = "SeriesGone"
NOT_FINITE: Final = "NotFinite"
SEVERAL_SERIES: Final = "SeveralSeries"


@dataclass(frozen=True)
class Series:
    """One counter of one scraped target: labels, and (unix seconds, value) in time order."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class GatewaySamples:
    """What Prometheus holds about the gateway's pods for a range: two counters, and `up` of the same job."""

    requests: tuple[Series, ...]
    buckets: tuple[Series, ...]
    up: tuple[Series, ...]


@dataclass(frozen=True)
class Counts:
    """What one revision did in one tick; buckets are (upper edge in ms, requests at or below it)."""

    requests: int
    errors: int
    buckets: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Tick:
    """One interval ending at `end`; a side is None when it cannot be counted, `reason` then says why."""

    end: float
    canary: Counts | None
    stable: Counts | None
    reason: str = ""


@dataclass(frozen=True)
class Slot:
    """Where one revision's counters are: its backendRef's index and the time its weight rose from 0."""

    index: int
    since: float


@dataclass(frozen=True)
class Window:
    """Which ticks are cut: interval and scrape interval in seconds, clusters of `namespace`/`route`."""

    namespace: str
    route: str
    interval: float
    scrape_interval: float = 5.0

    @property
    def max_age(self) -> float:
        """Return how old the last sample before a boundary may be, in seconds."""
        return STALE_AFTER_SCRAPES * self.scrape_interval


class _MissingError(Exception):
    """A number that cannot be had; the argument is the reason constant. Never leaves this module."""


def tick_ends(
    start: float,
    interval: float,
    now: float,
    lag: float = JUDGE_LAG,
    last: float | None = None,
    limit: int = 500,
) -> tuple[float, ...]:
    """Return the ends of the ticks that may be judged now and were not yet, oldest first, at most `limit`.

    Ends are start + k * interval, k = 1, 2, ..., computed the same way in every pass, so that an end in
    status compares equal to itself; only those at or before now - lag and after `last`.
    """
    if interval <= 0:
        raise ValueError(f"the interval must be positive, got {interval!r}")
    first = 1 if last is None else max(1, math.floor((last - start) / interval))
    final = math.floor((now - lag - start) / interval) + 1
    ends = (start + index * interval for index in range(first, final + 1))
    due = (end for end in ends if end <= now - lag and (last is None or end > last))
    return tuple(end for end, _ in zip(due, range(limit), strict=False))


def sample_range(ends: Sequence[float], window: Window) -> tuple[float, float]:
    """Return the (from, to) times whose samples are needed to cut the ticks that end at `ends`."""
    return min(ends) - window.interval - window.max_age, max(ends)


def ticks_from_samples(
    samples: GatewaySamples, ends: Iterable[float], canary: Slot, stable: Slot, window: Window
) -> tuple[Tick, ...]:
    """Return one tick per end, in time order; pure, so the same range always gives the same ticks."""
    counters = {
        role: tuple(
            _SlotCounters.of(samples, envoy_cluster(window.namespace, window.route, slot.index, kind), kind)
            for kind in ROUTE_KINDS
        )
        for role, slot in (("canary", canary), ("stable", stable))
    }
    ticks = []
    for end in sorted(set(ends)):
        sides: dict[str, Counts | None] = {}
        reasons = []
        for role, slot in (("canary", canary), ("stable", stable)):
            try:
                sides[role] = _counted(counters[role], _Span(end, slot.since, window))
            except _MissingError as missing:
                sides[role] = None
                reasons.append(f"{role} {missing}")
        ticks.append(Tick(end, sides["canary"], sides["stable"], ", ".join(reasons)))
    return tuple(ticks)


@dataclass(frozen=True)
class _Span:
    """One tick as the counters of one slot see it."""

    end: float
    since: float
    window: Window

    @property
    def start(self) -> float:
        return self.end - self.window.interval

    def at(self, series: Series, boundary: float) -> int | None:
        """Return the index of the sample that holds at a boundary, None if there is none fresh enough."""
        index = bisect_right(series.samples, boundary, key=_time_of) - 1
        if index < 0 or boundary - series.samples[index][0] > self.window.max_age:
            return None
        return index

    def touches(self, series: Series) -> bool:
        """Return whether the series has a sample that this tick could use."""
        index = bisect_right(series.samples, self.end, key=_time_of) - 1
        return index >= 0 and series.samples[index][0] >= self.start - self.window.max_age


def _time_of(sample: tuple[float, float]) -> float:
    return sample[0]


def _counted(routes: Sequence["_SlotCounters"], span: _Span) -> Counts:
    """Return what one revision did over every protocol; a route without any counter had no request, or is not there.

    So only of a protocol that is in use can a target's counters be missed.
    """
    found = []
    for route in [route for route in routes if route.classes] or routes:
        try:
            found.append(route.counts(span))
        except _MissingError as missing:
            if str(missing) != NO_SERIES:
                raise
    if not found:
        raise _MissingError(NO_SERIES)
    edges = {tuple(edge for edge, _ in counts.buckets) for counts in found}
    columns = zip(*(counts.buckets for counts in found), strict=True) if len(edges) == 1 else ()
    return Counts(
        requests=sum(counts.requests for counts in found),
        errors=sum(counts.errors for counts in found),
        buckets=tuple((column[0][0], sum(below for _, below in column)) for column in columns),
    )


def _http_class(series: Series) -> str:
    return series.labels.get(CLASS_LABEL, "")


def _grpc_status(series: Series) -> str | None:
    """Return what the counter counts: a status, or all calls; None for one that is not of inference."""
    name = series.labels.get(NAME_LABEL, "")
    return name.removeprefix(GRPC_METRICS) if name.startswith(GRPC_METRICS) else None


def _edge(series: Series) -> str:
    return series.labels.get(BUCKET_LABEL, "")


@dataclass(frozen=True)
class _SlotCounters:
    """The counters of one slot over one protocol, by (instance, class) and (instance, edge), with the targets' `up`.

    Attributes:
        is_grpc: a class is a status of gRPC, or `GRPC_TOTAL`; else it is one of HTTP, of which each counts requests.
    """

    is_grpc: bool
    classes: Mapping[tuple[str, str], tuple[Series, ...]]
    edges: Mapping[tuple[str, str], tuple[Series, ...]]
    up: Mapping[str, tuple[Series, ...]]

    @classmethod
    def of(cls, samples: GatewaySamples, cluster: str, kind: str) -> "_SlotCounters":
        is_grpc = kind == GRPC_ROUTE
        return cls(
            is_grpc,
            _grouped(samples.requests, cluster, _grpc_status if is_grpc else _http_class),
            _grouped(samples.buckets, cluster, _edge),
            {
                instance: tuple(s for s in samples.up if s.labels.get(INSTANCE_LABEL, "") == instance)
                for instance in {s.labels.get(INSTANCE_LABEL, "") for s in samples.up}
            },
        )

    def counts(self, span: _Span) -> Counts:
        """Return the slot's counts in the tick, summed over the gateway's pods; _MissingError if unknown."""
        if span.start < span.since:
            raise _MissingError(BEFORE_SINCE)
        differences = {key: self._difference(self.classes, key, span) for key in self.classes}
        known = {key: count for key, count in differences.items() if count is not None}
        requests = {key: count for key, count in known.items() if not self.is_grpc or key[1] == GRPC_TOTAL}
        harm = GRPC_HARM if self.is_grpc else (ERROR_CLASS,)
        counted = {instance for instance, _ in requests}
        for instance in self.up:
            if instance not in counted and self._is_up(instance, span, span.end) is False:
                raise _MissingError(NOT_SCRAPED)
        if not requests:
            raise _MissingError(NO_SERIES)
        errors = sum(count for (_, code_class), count in known.items() if code_class in harm)
        return Counts(sum(requests.values()), errors, self._buckets(span, counted))

    def _buckets(self, span: _Span, counted: set[str]) -> tuple[tuple[float, int], ...]:
        """Return the summed buckets, or () when they are not whole for every pod that counted requests."""
        sums: dict[str, dict[float, int]] = {}
        try:
            for key in self.edges:
                found = self._difference(self.edges, key, span)
                if found is not None:
                    sums.setdefault(key[0], {})[float(key[1])] = found
        except (_MissingError, ValueError):
            return ()
        edges = {tuple(sorted(of_pod)) for of_pod in sums.values()}
        if set(sums) != counted or len(edges) != 1:
            return ()
        total = tuple((edge, sum(of_pod[edge] for of_pod in sums.values())) for edge in edges.pop())
        is_cumulative = all(low[1] <= high[1] for low, high in pairwise(total))
        return total if is_cumulative and total[-1][0] == math.inf else ()

    def _difference(
        self, group: Mapping[tuple[str, str], tuple[Series, ...]], key: tuple[str, str], span: _Span
    ) -> int | None:
        """Return how far one counter rose in the tick, None when it did not exist then."""
        touching = [series for series in group[key] if span.touches(series)]
        if not touching:
            return None
        if len(touching) > 1:
            raise _MissingError(SEVERAL_SERIES)
        series = touching[0]
        first, last = span.at(series, span.start), span.at(series, span.end)
        if last is None:
            raise _MissingError(SERIES_GONE)
        if first is not None and series.samples[first][0] < span.since:
            raise _MissingError(BEFORE_SINCE)
        if first is None and not self._is_up(key[0], span, span.start):
            raise _MissingError(APPEARED_UNSEEN)
        begin = bisect_right(series.samples, span.start, key=_time_of)
        values = [value for _, value in series.samples[begin : last + 1]]
        return _rise(0.0 if first is None else series.samples[first][1], values)

    def _is_up(self, instance: str, span: _Span, boundary: float) -> bool | None:
        """Return whether the target's last scrape at a boundary worked; None when there was none."""
        found = [
            series.samples[index][1]
            for series in self.up.get(instance, ())
            if (index := span.at(series, boundary)) is not None
        ]
        return all(value == 1 for value in found) if found else None


def _rise(before: float, values: Sequence[float]) -> int:
    """Return the sum of increases from `before` through `values`; a drop counts from 0."""
    if not all(math.isfinite(value) and value >= 0 for value in (before, *values)):
        raise _MissingError(NOT_FINITE)
    total = 0.0
    for value in values:
        total += value - before if value >= before else value
        before = value
    return round(total)


def _grouped(
    series: Iterable[Series], cluster: str, class_of: Callable[[Series], str | None]
) -> dict[tuple[str, str], tuple[Series, ...]]:
    """Return the cluster's series by (instance, class), without those that have none."""
    groups: dict[tuple[str, str], tuple[Series, ...]] = {}
    for one in series:
        found = class_of(one)
        if found is not None and one.labels.get(CLUSTER_LABEL) == cluster:
            key = (one.labels.get(INSTANCE_LABEL, ""), found)
            groups[key] = (*groups.get(key, ()), one)
    return groups
