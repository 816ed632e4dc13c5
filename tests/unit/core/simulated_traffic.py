"""Requests through the simulated gateway, and what Prometheus would say about them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from visionmodel_operator.core.counters import Counts, Tick
from visionmodel_operator.core.evidence import EvidenceRequest
from visionmodel_operator.core.snapshot import Evidence

EDGES = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, float("inf"))
WHOLE = 1_000_000


@dataclass(frozen=True)
class Total:
    """Everything one revision did until a time."""

    at: float
    requests: float
    errors: float


@dataclass
class Traffic:
    """Counters by revision, and whether anybody scrapes them.

    Attributes:
        rate: requests per second at the gateway.
        split: share in force by revision, parts per million.
        outages: (from, to) during which Prometheus did not run; `to` is None while it lasts.
        last_request: when a revision's pods last had one.
        by_header: the revision that gets, besides, the requests with its header; no counter of the split has them.
    """

    rate: float = 20.0
    split: dict[str, int] = field(default_factory=dict)
    totals: dict[str, list[Total]] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    outages: list[tuple[float, float | None]] = field(default_factory=list)
    last_request: dict[str, float] = field(default_factory=dict)
    by_header: str | None = None

    def clone(self) -> "Traffic":
        """Return an independent copy."""
        totals = {revision: list(known) for revision, known in self.totals.items()}
        return Traffic(
            self.rate,
            dict(self.split),
            totals,
            dict(self.latency_ms),
            list(self.outages),
            dict(self.last_request),
            self.by_header,
        )

    @property
    def is_scraped(self) -> bool:
        """Whether Prometheus runs."""
        return not self.outages or self.outages[-1][1] is not None

    def stop_prometheus(self, now: float) -> None:
        """Begin an outage."""
        if self.is_scraped:
            self.outages.append((now, None))

    def start_prometheus(self, now: float) -> None:
        """End the outage; what happened meanwhile was never scraped."""
        if not self.is_scraped:
            self.outages[-1] = (self.outages[-1][0], now)

    def flow(
        self,
        start: float,
        seconds: float,
        behaviour: Callable[[str], tuple[float, float]],
        count: Callable[[str, float], None],
    ) -> None:
        """Send the requests of a stretch of time by the split in force."""
        for revision, share in self.split.items():
            requests = self.rate * seconds * share / WHOLE
            errors, self.latency_ms[revision] = behaviour(revision)
            known = self.totals.setdefault(revision, [Total(start, 0.0, 0.0)])
            last = known[-1]
            known.append(Total(start + seconds, last.requests + requests, last.errors + requests * errors))
            if requests >= 0.001:
                count(revision, requests)
                self.last_request[revision] = start + seconds
        if self.by_header is not None:
            count(self.by_header, seconds)
            self.last_request[self.by_header] = start + seconds

    def evidence(self, request: EvidenceRequest, canary: str, stable: str, now: float) -> Evidence:
        """Answer what a pass asks Prometheus."""
        if not self.is_scraped:
            return Evidence(error="Prometheus did not answer")
        return Evidence(tuple(self._tick(request, end, canary, stable) for end in request.ends if end <= now))

    def _tick(self, request: EvidenceRequest, end: float, canary: str, stable: str) -> Tick:
        start = end - request.window.interval
        if any(start < (until or end) and begin < end for begin, until in self.outages):
            return Tick(end, None, None, "NotScraped")
        counts = {}
        for side, revision, since in (
            ("canary", canary, request.canary.since),
            ("stable", stable, request.stable.since),
        ):
            counts[side] = None if start < since else self._counts(revision, start, end)
        missing = [f"{side} NoSeries" for side, found in counts.items() if found is None]
        return Tick(end, counts["canary"], counts["stable"], ", ".join(missing))

    def _counts(self, revision: str, start: float, end: float) -> Counts | None:
        if revision not in self.totals:
            return None
        before, after = self._total(revision, start), self._total(revision, end)
        requests = int(after.requests) - int(before.requests)
        slow = self.latency_ms[revision]
        buckets = tuple((edge, requests if edge >= slow else 0) for edge in EDGES)
        return Counts(requests, min(requests, int(after.errors) - int(before.errors)), buckets)

    def _total(self, revision: str, at: float) -> Total:
        """Interpolate, so that ticks need not fall on the quanta of time."""
        known = self.totals[revision]
        later = next((total for total in reversed(known) if total.at <= at), known[0])
        index = known.index(later)
        if index + 1 == len(known) or at <= later.at:
            return later
        following = known[index + 1]
        part = (at - later.at) / (following.at - later.at)
        return Total(
            at,
            later.requests + part * (following.requests - later.requests),
            later.errors + part * (following.errors - later.errors),
        )
