"""What the judge says: a closed set of verdicts with the numbers behind them, and their reason constants."""

from dataclasses import dataclass
from typing import Final

CANARY_ERRORS_HIGHER: Final = "CanaryErrorsHigher"
ERROR_RATE_ABOVE_SLO: Final = "ErrorRateAboveSlo"
CANARY_SLOWER: Final = "CanarySlower"
OUT_OF_RANGE: Final = "OutOfRange"
"""Reasons of Harm."""

TOO_FEW_REQUESTS: Final = "TooFewRequests"
NOT_PROVEN_SAFE: Final = "NotProvenSafe"
METRIC_SILENT: Final = "MetricSilent"
UPSTREAM_INCIDENT: Final = "UpstreamIncident"
"""Reasons of Inconclusive."""

NO_TICKS: Final = "NoTicks"
UNKNOWN: Final = "Unknown"
"""Reasons of NoData beside those of `counters`: before the first tick; a tick that did not say why."""


@dataclass(frozen=True)
class MetricReport:
    """One metric for people: what it saw, and whether it found harm (which acts only if it is gating)."""

    name: str
    gating: bool
    harmful: bool
    message: str


@dataclass(frozen=True)
class Totals:
    """What was judged so far, from the start of the rollout.

    Attributes:
        evidence: largest log evidence of the gating ErrorRate and LatencyTail metrics, 0 without one.
        threshold: log evidence at which they find harm.
        step_requests: canary requests in the current step; `needed_requests` are asked for.
        skipped: (reason, ticks) that could not be used.
        dropped: ticks of this call that were repeated or late.
        last_used: end of the newest tick with data in unix seconds, None before it.
    """

    canary_requests: int
    canary_errors: int
    stable_requests: int
    stable_errors: int
    step_requests: int
    needed_requests: int
    evidence: float
    threshold: float
    used_ticks: int
    skipped: tuple[tuple[str, int], ...]
    dropped: int
    last_used: float | None
    metrics: tuple[MetricReport, ...]


@dataclass(frozen=True)
class Pass:
    """Enough was seen in this step, by every gating metric, and no harm."""

    message: str
    totals: Totals


@dataclass(frozen=True)
class Harm:
    """A gating metric found harm at the tick ending at `tick`; stays so for the rest of the rollout."""

    metric: str
    reason: str
    message: str
    tick: float
    totals: Totals


@dataclass(frozen=True)
class Inconclusive:
    """No harm seen, and not enough to pass, or an incident that is not the canary's."""

    reason: str
    message: str
    totals: Totals


@dataclass(frozen=True)
class NoData:
    """The newest tick could not be counted; `since` is the end of the last one that could, or the start."""

    reason: str
    since: float
    totals: Totals


Verdict = Pass | Harm | Inconclusive | NoData
