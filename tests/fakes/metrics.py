"""The Metrics port in memory: a gateway that counts requests, scraped every five seconds."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from visionmodel_operator.core.counters import (
    BUCKET_LABEL,
    BUCKETS_METRIC,
    CLASS_LABEL,
    CLUSTER_LABEL,
    INSTANCE_LABEL,
    REQUESTS_METRIC,
    Series,
)
from visionmodel_operator.core.names import envoy_cluster
from visionmodel_operator.errors import Retry

EDGES = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, math.inf)
INSTANCE = "gateway-0:19001"


@dataclass(frozen=True)
class Load:
    """Steady load on one backend slot from `start` to `end` (unix seconds)."""

    slot: int
    start: float
    end: float
    per_second: float
    error_share: float = 0.0
    milliseconds: float = 4.0

    def requests(self, time: float) -> float:
        """Requests answered until a time."""
        return self.per_second * max(0.0, min(time, self.end) - self.start)


@dataclass
class FakeMetrics:
    """What Prometheus answers.

    Attributes:
        route: (namespace, name) of the HTTPRoute whose backends are loaded.
        loads: everything the gateway has carried; append to it as time goes on.
        started: unix seconds of the gateway's first scrape.
        values: answers of Threshold metrics, by query; a function of the query when callable.
        outage: Prometheus does not answer.
        queries: what was asked, in order.
    """

    route: tuple[str, str] = ("default", "model")
    loads: list[Load] = field(default_factory=list)
    started: float = 0.0
    scrape_interval: float = 5.0
    lookback: float = 3600.0
    values: dict[str, float | None] | Callable[[str], float | None] = field(default_factory=dict)
    outage: bool = False
    queries: list[str] = field(default_factory=list)

    async def samples(self, query: str, at: datetime) -> tuple[Series, ...]:
        """As `Metrics.samples`; the query is recognised by the metric it names."""
        self._ask(query)
        now = at.timestamp()
        if REQUESTS_METRIC in query:
            return tuple(s for slot in self._slots() for s in self._requests(slot, now))
        if query.startswith(BUCKETS_METRIC):
            return tuple(s for slot in self._slots() for s in self._buckets(slot, now))
        up = tuple((time, 1.0) for time in self._scrapes(now, self.started))
        return (Series({INSTANCE_LABEL: INSTANCE, "job": "envoy"}, up),) if up else ()

    async def value(self, query: str, at: datetime) -> float | None:
        """As `Metrics.value`."""
        self._ask(query)
        return self.values(query) if callable(self.values) else self.values.get(query)

    def _ask(self, query: str) -> None:
        self.queries.append(query)
        if self.outage:
            raise Retry("Prometheus does not answer")

    def _slots(self) -> list[int]:
        return sorted({load.slot for load in self.loads})

    def _scrapes(self, now: float, first: float) -> list[float]:
        step = self.scrape_interval
        begin = max(first, now - self.lookback)
        return [k * step for k in range(math.ceil(begin / step), math.floor(now / step) + 1)]

    def _series(self, slot: int, now: float, label: tuple[str, str], count: Callable[[Load, float], float]) -> Series:
        mine = [load for load in self.loads if load.slot == slot]
        times = self._scrapes(now, min(load.start for load in mine))
        cluster = envoy_cluster(*self.route, slot)
        labels = {CLUSTER_LABEL: cluster, INSTANCE_LABEL: INSTANCE, label[0]: label[1]}
        return Series(labels, tuple((t, float(sum(math.floor(count(load, t)) for load in mine))) for t in times))

    def _requests(self, slot: int, now: float) -> list[Series]:
        good = self._series(slot, now, (CLASS_LABEL, "2"), lambda load, t: load.requests(t) * (1 - load.error_share))
        bad = self._series(slot, now, (CLASS_LABEL, "5"), lambda load, t: load.requests(t) * load.error_share)
        return [series for series in (good, bad) if any(value > 0 for _, value in series.samples)]

    def _buckets(self, slot: int, now: float) -> list[Series]:
        def below(edge: float) -> Callable[[Load, float], float]:
            return lambda load, t: load.requests(t) if load.milliseconds <= edge else 0.0

        return [self._series(slot, now, (BUCKET_LABEL, "+Inf" if e == math.inf else f"{e:g}"), below(e)) for e in EDGES]
